"""Would another order of fields and rows save tokens on a server with a prefix cache?

    python eval/bench/ordering.py TOKENIZER.json

Prompts of real tables, with the shared demonstrations first (``--layout shared``), are counted by
the simulator of ``ecomfs plan``, whose cache is never full. With such a cache the order of the rows
has no effect, and the saving by another order of the fields is an upper bound for both with a
smaller cache. Up to four fields are put into every order; of more, those with the fewest different
values come first, as in GGR (Liu et al. 2024, arXiv:2403.05821).
Also prints what each row's own demonstrations (``retrieved``) would cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ecomfs.embed import HashedEmbedder
from ecomfs.engine import Capabilities
from ecomfs.engine.vllm.served_model import FileTokenizer
from ecomfs.pipeline import Options, build_pipeline
from ecomfs.retrieve import Layout, simulate_prefix_cache
from ecomfs.suites import load_suite, plan
from ecomfs.suites.data import data_folder, read_data, task_of

SETS = ("multicpr_query_item_zh", "tallrec_movie_preference_en")
"""Sets whose rows stand on several lines; others have one text, or all fields on one line."""
EVERY = 4
"""Most lines of a row of which every order is tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--suite", default="tasks")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    options = parser.parse_args()
    tokenizer = FileTokenizer(options.tokenizer)
    print(
        "| data | rows | tokens per row | block of the cache | left to compute per row: retrieved ",
        end="",
    )
    print("| shared | fields in the best order | saved of shared |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for cell in plan(load_suite(options.suite), only=options.only):
        data = read_data(cell.dataset, data_folder(None))
        pool = data.examples(cell.shots, cell.seed)
        shown = {e.id for e in pool}
        rows = [*data.test, *(e for e in data.pool if e.id not in shown)][: options.rows]
        own = prompts(cell, data, pool, rows, "retrieved", tokenizer)
        shared = prompts(cell, data, pool, rows, "shared", tokenizer)
        parts = [split(text) for text in shared]
        for block in (1, 16):
            now = left(tokenizer, shared, block)
            best = min(
                left(tokenizer, [joined(*part, order) for part in parts], block)
                for order in orders(parts)
            )
            mean = sum(map(len, tokenizer.encode_all(shared))) / len(shared)
            print(
                f"| {cell.dataset.name} | {len(rows)} | {mean:.0f} | {block} "
                f"| {left(tokenizer, own, block):.1f} | {now:.1f} | {best:.1f} "
                f"| {(now - best) / now:.1%} |",
                flush=True,
            )


def prompts(
    cell: Any, data: Any, pool: Any, rows: Any, layout: Layout, tokenizer: FileTokenizer
) -> list[str]:
    """The prompts of rows, in their order."""
    engine: Any = SimpleNamespace(  # nothing is read: it only says what it can do
        spec="count",
        fingerprint="count",
        tokenizer=tokenizer,
        capabilities=Capabilities(True, True, False, context_tokens=1 << 15),
    )
    pipeline = build_pipeline(
        data.card,
        pool,
        engine,
        HashedEmbedder(),
        Options(layout=layout, language="zh" if cell.dataset.name.endswith("_zh") else "en"),
        task=task_of(cell.dataset),
    )
    states = pipeline.prepare([e.fields for e in rows], [e.id for e in rows])
    return [s.prompt.text for s in states if s.prompt is not None]


def split(text: str) -> tuple[str, list[str], str]:
    """The text before the row's own lines, these lines, and the question."""
    head, row = text.rsplit("\n\n", 1)
    *lines, question = row.split("\n")
    return f"{head}\n\n", lines, question


def joined(head: str, lines: Sequence[str], question: str, order: Sequence[str]) -> str:
    """The prompt with the lines of the row in the given order."""
    named = {name(line): line for line in lines}
    mine = [named[n] for n in order if n in named]
    return head + "\n".join([*mine, question])


def name(line: str) -> str:
    """Of a line ``NAME: VALUE``."""
    return line.replace("：", ":").split(":", 1)[0]


def orders(parts: Sequence[tuple[str, list[str], str]]) -> list[tuple[str, ...]]:
    """Orders of the lines, by name."""
    values: dict[str, set[str]] = {}
    for _, lines, _ in parts:
        for line in lines:
            values.setdefault(name(line), set()).add(line)
    if len(values) <= EVERY:
        return list(permutations(values))
    return [tuple(values), tuple(sorted(values, key=lambda n: len(values[n])))]


def left(tokenizer: FileTokenizer, texts: Sequence[str], block: int) -> float:
    """Tokens per row that remain to be computed."""
    found = simulate_prefix_cache(tokenizer.encode_all(texts), block_size=block)
    return (found.tokens - found.cached_tokens) / len(texts)


if __name__ == "__main__":
    main()
