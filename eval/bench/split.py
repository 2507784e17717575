"""Splits a table into rows to label from and rows to test on.

    python eval/bench/split.py TABLE.csv --pool-rows 500 -o FOLDER
    python eval/bench/split.py TABLE.csv --pool-rows 90 --group query -o FOLDER

Writes FOLDER/pool.csv and FOLDER/test.csv with all columns unchanged. Rows are drawn with a seed;
with ``--group`` all rows with the same value stay together, and the pool has at least
``--pool-rows`` rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ecomfs.io import read_frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--pool-rows", type=int, required=True)
    parser.add_argument("--group", help="column whose values are not torn apart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args()
    frame = read_frame(options.table)
    if frame.errors:
        parser.error(f"{frame.name}: {next(iter(frame.errors.values()))}")
    data = frame.data.reset_index(drop=True)
    if not 0 < options.pool_rows < len(data):
        parser.error(f"--pool-rows {options.pool_rows} of {len(data)} rows")
    units = np.arange(len(data)) if options.group is None else data.groupby(options.group).ngroup()
    order = np.random.default_rng(options.seed).permutation(int(np.max(units)) + 1)
    sizes = np.bincount(units)[order].cumsum()
    chosen = order[: int(np.searchsorted(sizes, options.pool_rows)) + 1]
    in_pool = np.isin(units, chosen)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, part in (("pool", data[in_pool]), ("test", data[~in_pool])):
        part.to_csv(options.output / f"{name}.csv", index=False)
        print(f"{options.output / name}.csv: {len(part)} rows")


if __name__ == "__main__":
    main()
