"""The shipped sample files: enough rows, unique ids, no leakage, both languages."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
HAN = re.compile(r"[\u4e00-\u9fff]")


class Sample(NamedTuple):
    """What a task's two files promise. ``zh`` is a share range of rows with Han characters."""

    task: str
    inputs: tuple[str, ...]
    labels: int
    zh: tuple[float, float] | None


SAMPLE_SETS = [
    Sample("review_sentiment", ("text",), 2, (0.45, 0.55)),
    Sample("product_category", ("title",), 8, (0.2, 0.3)),
]
every_task = pytest.mark.parametrize("sample", SAMPLE_SETS, ids=lambda s: s.task)
every_part = pytest.mark.parametrize("part", ["pool", "test"])


def read(task: str, part: str) -> pd.DataFrame:
    return pd.read_csv(SAMPLES / task / f"{part}.csv", dtype=str, keep_default_na=False)


def folded(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[str]:
    """One comparison key a row: NFKC, lower case, letters and digits only."""
    joined = frame[list(columns)].agg(" | ".join, axis=1)
    keys = []
    for text in joined:
        normal = unicodedata.normalize("NFKC", text).lower()
        keys.append("".join(c for c in normal if c.isalnum() or c == "|"))
    return keys


@every_part
@every_task
def test_columns_counts_and_ids(sample: Sample, part: str) -> None:
    frame = read(sample.task, part)
    assert list(frame.columns) == ["id", *sample.inputs, "label"]
    assert len(frame) >= 60
    assert frame["id"].is_unique
    assert not (frame == "").any(axis=None)
    assert not frame.apply(lambda column: column != column.str.strip()).any(axis=None)


@every_task
def test_labels(sample: Sample) -> None:
    pool, test = read(sample.task, "pool"), read(sample.task, "test")
    assert pool["label"].nunique() == sample.labels
    assert set(test["label"]) <= set(pool["label"])


@every_task
def test_no_test_row_is_in_the_pool(sample: Sample) -> None:
    pool, test = read(sample.task, "pool"), read(sample.task, "test")
    pool_keys, test_keys = folded(pool, sample.inputs), folded(test, sample.inputs)
    assert len(set(pool_keys)) == len(pool_keys)
    assert len(set(test_keys)) == len(test_keys)
    assert not set(pool_keys) & set(test_keys)
    assert not set(pool["id"]) & set(test["id"])


@every_part
@pytest.mark.parametrize("sample", [s for s in SAMPLE_SETS if s.zh], ids=lambda s: s.task)
def test_both_languages(sample: Sample, part: str) -> None:
    frame = read(sample.task, part)
    chinese = frame[list(sample.inputs)].agg(" ".join, axis=1).str.contains(HAN)
    assert sample.zh is not None
    low, high = sample.zh
    assert low <= chinese.mean() <= high
    # Each label is seen in each language, so a model cannot read the label off the script.
    assert set(frame.loc[chinese, "label"]) == set(frame["label"])
    assert set(frame.loc[~chinese, "label"]) == set(frame["label"])


def test_files_are_plain_utf8_with_lf() -> None:
    files = sorted(SAMPLES.rglob("*.csv"))
    assert files
    for path in files:
        raw = path.read_bytes()
        assert b"\r" not in raw, path.name
        assert not raw.startswith(b"\xef\xbb\xbf"), path.name
        assert raw.endswith(b"\n"), path.name
        assert "\ufffd" not in raw.decode("utf-8"), path.name
