"""compare(): an A/B test in one call, on examples and rows of any form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scripted import ScriptedEngine

from ecomfs import Pool, compare
from ecomfs.errors import ConfigError, EcomfsError
from ecomfs.types import Example

TASK = "review_sentiment"
VARIANTS: dict[str, dict[str, Any]] = {"few": {"k": 1}, "many": {"k": 4, "readout": "codes"}}


def table(n: int, offset: int = 0) -> pd.DataFrame:
    places = range(offset, offset + n)
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in places],
            "text": [f"thing {i} {'broke at once' if i % 2 else 'works well'}" for i in places],
            "label": [("positive", "negative")[i % 2] for i in places],
        }
    )


def found(examples: Any, data: Any, variants: Any = VARIANTS, **options: Any) -> dict[str, Any]:
    options = {"embedder": "hashed", "calibration_size": 0, "engine": ScriptedEngine(), **options}
    out = compare(variants, examples, data, task=TASK, **options)
    assert out.decision
    told: dict[str, Any] = json.loads(json.dumps(out.to_dict()))
    return told


def test_tables_frames_examples_and_pools_give_the_same_comparison(tmp_path: Path) -> None:
    pool, data = table(16), table(12, 100)
    pool.to_csv(tmp_path / "pool.csv", index=False)
    data.to_csv(tmp_path / "data.csv", index=False)

    def examples(frame: pd.DataFrame) -> list[Example]:
        return [Example(r.id, {"text": r.text}, r.label) for r in frame.itertuples()]

    expected = found(tmp_path / "pool.csv", str(tmp_path / "data.csv"))
    assert [s["name"] for s in expected["systems"]] == ["few", "many"]
    assert [s["k"] for s in expected["systems"]] == [1, 4]
    assert expected["rows"] == 12
    assert found(pool, data) == expected
    assert found(examples(pool), examples(data)) == expected
    assert found(Pool.in_memory(examples(pool)), data) == expected


@pytest.mark.parametrize(
    ("variants", "options", "message"),
    [
        ({"one": {}}, {}, "1 variants to compare"),
        ({"a": {"k": 1}, "b": {"k": 1}}, {}, "'a' and 'b' are the same"),
        ({"a": {"kk": 1}, "b": {}}, {}, "a: no option 'kk'"),
        ({"a": {"k": -1}, "b": {}}, {}, "a: k = -1"),
        ({"a": {"seed": 1}, "b": {}}, {}, "a: no option 'seed'"),
        (VARIANTS, {"passes": 0}, "options: passes = 0"),
        (VARIANTS, {"alpha": 2}, "alpha 2"),
    ],
)
def test_wrong_variants_and_options_are_refused_before_an_engine_is_opened(
    variants: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        found(table(8), table(4, 50), variants, engine="no such engine", **options)


@pytest.mark.parametrize(
    ("examples", "data", "message"),
    [
        (table(0), table(4), "no labelled examples"),
        (table(8), table(4).assign(label="meh"), "unknown label 'meh'"),
        (table(8), table(4).drop(columns="label"), "label"),
        (table(8), table(4).assign(id="same"), "two examples have the id 'same'"),
    ],
)
def test_wrong_examples_and_rows_are_one_line(examples: Any, data: Any, message: str) -> None:
    with pytest.raises(EcomfsError, match=message):
        found(examples, data)
