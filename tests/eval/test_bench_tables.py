"""The scripts that make tables for measurements: recovered users, splits by group."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

BENCH = Path(__file__).parents[2] / "eval" / "bench"


def script(name: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCH / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def windows(user: str, ratings: int, size: int, seed: int) -> list[dict[str, str]]:
    """Windows that slide over a user's ratings, as recommendation sets are made."""
    rng = random.Random(seed)
    rated = [(f"{user} film {i}", rng.random() < 0.5) for i in range(ratings)]
    rows = []
    for i in range(size, ratings):
        past = rated[i - size : i]
        rows.append(
            {
                "liked": json.dumps([title for title, liked in past if liked]),
                "disliked": json.dumps([title for title, liked in past if not liked]),
                "target": rated[i][0],
                "label": "Yes" if rated[i][1] else "No",
                "who": user,
            }
        )
    return rows


def test_users_are_found_again(tmp_path: Path) -> None:
    sizes = {"ann": 33, "bob": 14, "cyd": 22}
    rows = [row for i, (u, n) in enumerate(sizes.items()) for row in windows(u, n, 5, i)]
    pd.DataFrame(rows).to_csv(tmp_path / "in.csv", index=False)
    said = script("tallrec_lists.py", tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert "54 rows, 3 users of 9 to 28 rows (median 17), 4 lists" in said
    out = pd.read_csv(tmp_path / "out.csv")
    same = [name for name in rows[0] if name not in ("liked", "disliked")]
    assert out[same].equals(pd.DataFrame(rows)[same])
    # A list is made at one moment: later rows do not show the answers of those before them.
    assert (out.groupby("list")[["liked", "disliked"]].nunique() == 1).all(axis=None)
    first = out.groupby("list").head(1)
    assert first["liked"].tolist() == pd.DataFrame(rows)["liked"][first.index].tolist()
    assert (out.groupby("who")["user"].nunique() == 1).all()
    assert (out.groupby("user")["who"].nunique() == 1).all()
    assert out.groupby("list").size().tolist() == [10, 18, 9, 17]


def test_rows_out_of_order_are_still_one_user(tmp_path: Path) -> None:
    rows = windows("ann", 20, 5, 0)
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "in.csv", index=False)
    said = script("tallrec_lists.py", tmp_path / "in.csv", "-o", tmp_path / "out.csv")
    assert "1 users of 15 to 15 rows" in said


@pytest.mark.parametrize("group", [False, True])
def test_a_split_tears_nothing_and_loses_nothing(tmp_path: Path, group: bool) -> None:
    data = pd.DataFrame({"id": range(60), "query": [f"q{i % 13}" for i in range(60)], "note": "NA"})
    data.to_csv(tmp_path / "in.csv", index=False)
    options = ["--group", "query"] if group else []
    for folder in ("a", "b"):
        script(
            "split.py", tmp_path / "in.csv", "--pool-rows", "20", "-o", tmp_path / folder, *options
        )
    pool, test = (
        pd.read_csv(tmp_path / "a" / f"{name}.csv", keep_default_na=False)
        for name in ("pool", "test")
    )
    assert sorted([*pool["id"], *test["id"]]) == list(range(60))
    assert set(pool["note"]) == {"NA"}
    if group:
        assert not set(pool["query"]) & set(test["query"])
        assert 20 <= len(pool) < 20 + 5
    else:
        assert len(pool) == 20
    assert (tmp_path / "a/pool.csv").read_bytes() == (tmp_path / "b/pool.csv").read_bytes()
