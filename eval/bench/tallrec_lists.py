"""Ranked lists from sliding windows over users' ratings: who the users are, and which rows are
one list.

    python eval/bench/tallrec_lists.py DATA/tallrec_movie_preference_en/test.csv -o lists.csv
    ecomfs rank lists.csv -t product_preference -e DATA/tallrec_movie_preference_en/train.csv \\
        --group list --resample user --gold-column label --shots 64

The table (columns liked, disliked, target, label) names no user. Its rows are windows over the
ratings of one user after another: the next row of the same user has this row's target in its own
history, on the side its label says, and loses the oldest entry. Rows that follow each other so
are one user; a user whose ratings stop and go on again would count as two. A list is ``--size``
neighbouring rows of a user, that is the next ratings they gave; what is left at the end of a user
joins the last list. The columns ``user`` and ``list`` are added, nothing else is changed.

Mind what such lists are: each row shows the ratings before its own target, so that rows of one
list have different histories, and all candidates were rated by the user. NDCG over them is high
for any order; compare it with the random order that the table prints beside it. Intervals resample
users, because the rows of a user resemble each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from ecomfs.io import AtomicWriter, TableReader, added_columns

YES = "yes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--size", type=int, default=10, help="rows of a list, at least")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    reader = TableReader(options.table)
    reader.require("liked", "disliked", "target", "label")
    rows = [row.cells for row in reader.rows()]
    users: list[list[int]] = []
    for i, row in enumerate(rows):
        if i and follows(rows[i - 1], row):
            users[-1].append(i)
        else:
            users.append([i])
    added = added_columns(reader.header, ["user", "list"])
    with AtomicWriter(options.output, [*reader.header, *added]) as out:
        lists = 0
        for number, positions in enumerate(users, 1):
            most = max(1, len(positions) // options.size)
            for place, i in enumerate(positions):
                at = min(place // options.size, most - 1)
                name = f"u{number:04d}"
                cells = [rows[i][column] for column in reader.header]
                out.write([[*cells, name, f"{name}.{at + 1}"]])
            lists += most
    sizes = sorted(len(positions) for positions in users)
    print(
        f"{len(rows)} rows, {len(users)} users of {sizes[0]} to {sizes[-1]} rows "
        f"(median {sizes[len(sizes) // 2]}), {lists} lists: {options.output}"
    )


def follows(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether a row is the next window of the same user."""
    liked = before["label"].strip().casefold() == YES
    old, new = _history(before), _history(after)
    own = (before["target"], liked)
    return own in new and new - {own} <= old


def _history(row: Mapping[str, str]) -> set[tuple[str, bool]]:
    sides = ((row["liked"], True), (row["disliked"], False))
    return {(title, liked) for cell, liked in sides for title in json.loads(cell or "[]")}


if __name__ == "__main__":
    main()
