"""Recovers the users of TALLRec's sliding windows, and makes ranked lists from their rows.

    D=DATA/tallrec_movie_preference_en
    python eval/bench/tallrec_lists.py $D/test.csv -o lists.csv \
        --pool $D/train.csv --pool-output pool.csv
    ecomfs rank lists.csv -t product_preference -e pool.csv --group list --resample user \
        --gold-column label --shots 512 --engine none

The table (columns liked, disliked, target, label) has no user column. Its rows are windows over the
ratings of users: the next row of the same user has this row's target in its history, on the side
given by its label, and loses the oldest entry. Rows that share ``--common`` ratings (a title and
whether it was liked) or more belong to one user, and so do rows linked through others. A list has
``--size`` neighbouring rows of a user in file order; the remaining rows of a user join the last
list. The columns ``user`` and ``list`` are added, nothing else is changed. With ``--pool`` the
users of the labelled examples are found together with those of the lists, so that a user has the
same name in both.

All rows of a list show the history of its first row, which is what is known when the list is made.
With the original windows a row would show the answers of the rows before it, and the share of likes
in a window would reveal how many likes are left in the list.

All candidates of such a list were rated by the user, so NDCG is high for any order; compare it with
the random order in the same table. Intervals resample users, because the rows of a user are
correlated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecomfs.io import AtomicWriter, TableReader, added_columns

YES = "yes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--size", type=int, default=10, help="rows of a list, at least")
    parser.add_argument("--common", type=int, default=5, help="ratings that link two rows")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pool", type=Path, help="table of labelled examples")
    parser.add_argument("--pool-output", type=Path, help="the same with the column user")
    options = parser.parse_args()
    if (options.pool is None) != (options.pool_output is None):
        parser.error("--pool and --pool-output belong together")
    tables = [path for path in (options.table, options.pool) if path is not None]
    readers = [TableReader(path) for path in tables]
    for reader in readers:
        reader.require("liked", "disliked", "target", "label")
    cells = [[row.cells for row in reader.rows()] for reader in readers]
    rows, pool = cells[0], cells[-1] if options.pool else []
    found = users_of([*rows, *pool], options.common)
    names = {place: f"u{n:04d}" for n, places in enumerate(found, 1) for place in places}
    users = [own for places in found if (own := [p for p in places if p < len(rows)])]
    lists = 0
    with writer(readers[0], options.output, "user", "list") as out:
        for positions in users:
            most = max(1, len(positions) // options.size)
            for place, i in enumerate(positions):
                at = min(place // options.size, most - 1)
                first = rows[positions[at * options.size]]
                shown = {**rows[i], "liked": first["liked"], "disliked": first["disliked"]}
                out.write([[*shown.values(), names[i], f"{names[i]}.{at + 1}"]])
            lists += most
    sizes = sorted(len(positions) for positions in users)
    print(
        f"{len(rows)} rows, {len(users)} users of {sizes[0]} to {sizes[-1]} rows "
        f"(median {sizes[len(sizes) // 2]}), {lists} lists: {options.output}"
    )
    if options.pool is not None:
        with writer(readers[1], options.pool_output, "user") as out:
            out.write([[*row.values(), names[len(rows) + i]] for i, row in enumerate(pool)])
        shared = {names[i] for i in range(len(rows))} & {
            names[len(rows) + i] for i in range(len(pool))
        }
        print(f"{len(pool)} labelled examples, {len(shared)} users in both: {options.pool_output}")


def writer(reader: TableReader, path: Path, *added: str) -> AtomicWriter:
    """A table with the columns of another one and some more."""
    return AtomicWriter(path, [*reader.header, *added_columns(reader.header, added)])


def users_of(rows: Sequence[Mapping[str, str]], common: int) -> list[list[int]]:
    """Positions of the rows of each user, in the order of their first rows."""
    ratings = [_ratings(row) for row in rows]
    root = list(range(len(rows)))

    def find(place: int) -> int:
        while root[place] != place:
            place = root[place]
        return place

    for i in range(len(rows)):
        for j in range(i):
            if len(ratings[i] & ratings[j]) >= common:
                first, second = sorted((find(i), find(j)))
                root[second] = first
    users: dict[int, list[int]] = {}
    for place in range(len(rows)):
        users.setdefault(find(place), []).append(place)
    return list(users.values())


def _ratings(row: Mapping[str, str]) -> set[tuple[str, bool]]:
    sides = ((row["liked"], True), (row["disliked"], False))
    shown = {(title, liked) for cell, liked in sides for title in json.loads(cell or "[]")}
    return shown | {(row["target"], row["label"].strip().casefold() == YES)}


if __name__ == "__main__":
    main()
