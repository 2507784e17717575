"""How the cost of batch scoring grows with rows, pool, demonstrations and labels.

    python eval/bench/growth.py                        some minutes
    python eval/bench/growth.py --largest              rows and pool to a million, too
    python eval/bench/growth.py --axes k labels        only these
    python eval/bench/growth.py --structureless        titles of random words
    python eval/bench/growth.py --out docs             writes bench-growth.svg and .json there

One of the four quantities grows; the others stay at 2,000 rows, 1,000 examples, k = 4 and 10
labels. Each point runs in its own process after a warm-up run, against a loopback server that
answers at once and has no model, so only the client is measured. CPU time (user and system) is that
of the client's process; vectors are hashed n-grams in 256 dimensions. Titles are artificial: 300
kinds, to which the labels are assigned in turn, and 30,000 products. Above 20 labels the default
applies: the prompt has only a shortlist of them.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from batch import WORDS, environment, server
from loopback import make_tokenizer

DIMENSIONS = 256
KINDS, PRODUCTS = 300, 30_000


@dataclass(frozen=True)
class Point:
    """The settings of a run."""

    rows: int = 2_000
    pool: int = 1_000
    k: int = 4
    labels: int = 10
    structure: bool = True


AXES: dict[str, tuple[int, ...]] = {
    "rows": (100, 1_000, 10_000, 100_000),
    "pool": (100, 1_000, 10_000, 100_000),
    "k": (0, 1, 2, 4, 8, 16, 32),
    "labels": (2, 5, 10, 20, 50, 100, 150),
}
TITLES = {
    "rows": "rows",
    "pool": "labelled examples",
    "k": "demonstrations (k)",
    "labels": "labels",
}


def titles(count: int, seed: int, *, structure: bool = True) -> Iterator[tuple[str, int]]:
    """Artificial product titles, all different, and the number of the kind of each. Without
    structure they are random words, so that none is nearer to another than to the rest.
    """
    draw = random.Random(seed)
    for n in range(count):
        product = draw.randrange(PRODUCTS)
        said = draw.choices(WORDS, k=2 if structure else 8)
        if structure:
            said = [*_words(product % KINDS, 4), *_words(KINDS + product, 2), *said]
        yield f"item {n}: {' '.join(said)}", product % KINDS


@functools.cache
def _words(seed: int, count: int) -> tuple[str, ...]:
    return tuple(random.Random(seed).choices(WORDS, k=count))


def label_names(count: int) -> list[str]:
    """This many label names of one or two words."""
    return [first if not n else f"{first} {WORDS[n]}" for n in range(6) for first in WORDS][:count]


# -- one point, in a process of its own ----------------------------------------------------------


def measure(point: Point, url: str, folder: Path) -> dict[str, Any]:
    """Fit, warm up, score."""
    from ecomfs.batch import score_table
    from ecomfs.core import event_loop
    from ecomfs.embed import HashedEmbedder
    from ecomfs.engine.cached import CachedEngine, ReadingCache
    from ecomfs.engine.vllm.engine import VllmEngine
    from ecomfs.estimators import FewShotClassifier

    names = label_names(point.labels)
    clf = FewShotClassifier(
        "product_category",
        CachedEngine(VllmEngine(url), ReadingCache.open()),
        k=point.k,
        embedder=HashedEmbedder(DIMENSIONS),
        language="en",
        calibration_size=0,
        similarity="text",
    )
    pool = list(titles(point.pool, seed=2, structure=point.structure))
    labels = [names[kind % len(names)] for _, kind in pool]
    began = time.perf_counter()
    made = clf.fit([title for title, _ in pool], labels).pipeline_
    fitted = time.perf_counter() - began
    warm = _table(folder / "warm.csv", replace(point, rows=300), seed=3)
    score_table(warm, folder / "warm.out.csv", made)
    source = _table(folder / "in.csv", point, seed=4)
    cpu, wall = _cpu(), time.perf_counter()
    result = score_table(source, folder / "out.csv", made)
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    event_loop.run(made.engine.aclose())
    ok = result.tally.status["ok"]
    if ok != point.rows:
        raise SystemExit(f"{point}: {ok} of {point.rows} rows ok")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    index = made.retriever.index.description if made.retriever else ""
    return {"wall": wall, "cpu": cpu, "fit": fitted, "peak": peak, "index": index}


def _table(path: Path, point: Point, seed: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["title"])
        made = titles(point.rows, seed, structure=point.structure)
        writer.writerows([title] for title, _ in made)
    return path


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run(point: Point, folder: Path) -> dict[str, Any]:
    """Measure a point in a separate process."""
    with server(0, folder) as url, tempfile.TemporaryDirectory(dir=folder) as own:
        done = subprocess.run(
            [sys.executable, __file__, "--point", json.dumps(asdict(point)), url, own],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(Path(own)),
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return asdict(point) | found


# -- what is shown of them -----------------------------------------------------------------------


def markdown(found: dict[str, list[dict[str, Any]]]) -> str:
    """One table per quantity."""
    lines: list[str] = []
    for axis, rows in found.items():
        lines += [
            f"| {TITLES[axis]} | rows/s | CPU per row | fit | peak memory |",
            "|--:|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {r[axis]:,} | {r['rows'] / r['wall']:,.0f} | {1e3 * r['cpu'] / r['rows']:.2f} ms"
            f" | {r['fit']:.1f} s | {r['peak'] / 1e6:,.0f} MB |"
            for r in rows
        ]
        lines.append("")
    return "\n".join(lines)


def plot(found: dict[str, list[dict[str, Any]]]) -> str:
    """Wall and CPU milliseconds per row, one panel per quantity."""
    from svg_file import svg_file

    from ecomfs_eval.report.svg import Axis, Series, chart, round_ticks

    names = ("CPU per row", "wall per row")
    charts = []
    for axis, rows in found.items():
        xs = [float(r[axis]) for r in rows]
        lines = [
            [1e3 * r["cpu"] / r["rows"] for r in rows],
            [1e3 * r["wall"] / r["rows"] for r in rows],
        ]
        log = xs[0] > 0 and xs[-1] / xs[0] > 40
        high = round_ticks(0, 1.1 * max(max(line) for line in lines))
        top = high[-1] + (high[-1] - high[-2])
        series = [
            Series(name, xs, ys, style=n)
            for n, (name, ys) in enumerate(zip(names, lines, strict=True))
        ]
        x = Axis(
            TITLES[axis], xs[0], xs[-1], "log" if log else "linear", ticks=tuple(xs) if log else ()
        )
        charts.append(
            chart(
                f"Cost of a row by {TITLES[axis]}",
                f"Milliseconds a row against {TITLES[axis]}, without a model",
                x,
                Axis("ms a row", 0, top, ticks=round_ticks(0, top)),
                series,
            )
        )
    return svg_file(charts, names, columns=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--largest", action="store_true", help="a million rows and examples too")
    parser.add_argument(
        "--structureless", action="store_true", help="titles of random words, not of kinds"
    )
    parser.add_argument("--out", type=Path, help="folder for bench-growth.svg and .json")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        point, url, folder = arguments.point
        print(json.dumps(measure(Point(**json.loads(point)), url, Path(folder))), flush=True)
        os._exit(0)  # the engine of this process needs no farewell
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = Point(structure=not arguments.structureless)
        make_tokenizer(folder / "tokenizer", [title for title, _ in titles(2000, seed=1)])
        for axis in arguments.axes:
            sizes = AXES[axis]
            if arguments.largest and axis in ("rows", "pool"):
                sizes = (*sizes, 1_000_000)
            found[axis] = []
            for size in sizes:
                found[axis].append(run(replace(base, **{axis: size}), folder))
                print(f"{axis} {size:,}: {found[axis][-1]}", file=sys.stderr, flush=True)
    print(markdown(found))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "bench-growth.svg").write_text(plot(found))
        (arguments.out / "bench-growth.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
