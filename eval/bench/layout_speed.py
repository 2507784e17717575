"""Speed and accuracy of shared demonstrations on a real vLLM server.

    ecomfs up --model FOLDER --port 8011 &
    python eval/bench/layout_speed.py TEST.csv TRAIN.csv --task review_sentiment --url http://127.0.0.1:8011

All layouts classify the same rows with the same labelled examples, alternating in parts so that
noise affects all. Prints for each: rows/s, the share of prompt tokens that the server counted as
cached, the share that the simulator expects for the same prompts in the same order, and accuracy
with its paired difference from ``retrieved``. The cache of readings is off: every prompt is
computed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.core import event_loop
from ecomfs.engine.factory import open_engine
from ecomfs.engine.vllm.engine import VllmEngine
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import random_examples, sample_examples
from ecomfs.retrieve import simulate_prefix_cache
from ecomfs.task import load_task
from ecomfs_eval import Predictions, compare

LAYOUTS = ("retrieved", "both", "shared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--task", default="review_sentiment")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--part", type=int, default=32, help="rows of a turn")
    parser.add_argument("--block-size", type=int, default=32, help="of the server's cache")
    parser.add_argument("--fusion", action="store_true", help="let the experts speak too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    card = load_task(options.task)
    pool = sample_examples(
        read_examples(options.examples, card, label_column="label"), options.shots, options.seed
    )
    test = random_examples(
        read_examples(options.data, card, label_column="label"), options.rows, options.seed
    )
    engine = open_engine(f"vllm:{options.url}")
    if not isinstance(engine, VllmEngine):
        parser.error(f"{options.url} is no vLLM server")
    # The server keeps what the fits below ask: the simulator must know it too.
    sent: list[tuple[int, ...]] = []
    read = engine.read

    async def told(prompts, questions):  # type: ignore[no-untyped-def]
        sent.extend(p.token_ids for p in prompts)
        return await read(prompts, questions)

    engine.read = told  # type: ignore[method-assign]
    classifiers = {
        layout: FewShotClassifier(
            options.task,
            engine,
            k=options.k,
            layout=layout,
            seed=options.seed,
            calibration_size=32,
            fusion=options.fusion,
        ).fit(pool)
        for layout in LAYOUTS
    }
    seconds = dict.fromkeys(LAYOUTS, 0.0)
    counted = {layout: [0, 0] for layout in LAYOUTS}
    expected = {layout: [0, 0] for layout in LAYOUTS}
    answers: dict[str, list[object]] = {layout: [] for layout in LAYOUTS}
    engine.read = read  # type: ignore[method-assign]
    for start in range(0, len(test), options.part):
        part = test[start : start + options.part]
        rows, ids = [e.fields for e in part], [e.id for e in part]
        # Who comes later finds more in the cache: each layout is first in its turn.
        first = start // options.part % len(LAYOUTS)
        for layout in LAYOUTS[first:] + LAYOUTS[:first]:
            clf = classifiers[layout]
            cases = clf.pipeline_.prepare(rows, ids)
            prompts = sorted((p.text, p.token_ids) for c in cases if (p := c.prompt) is not None)
            before = simulate_prefix_cache(sent, block_size=options.block_size)
            sent += [tokens for _, tokens in prompts]
            after = simulate_prefix_cache(sent, block_size=options.block_size)
            expected[layout][0] += after.cached_tokens - before.cached_tokens
            expected[layout][1] += after.tokens - before.tokens
            hits = event_loop.run(_counters(engine))
            began = time.perf_counter()
            answers[layout] += [p for _, _, p in event_loop.run(clf.pipeline_.answer(cases))]
            seconds[layout] += time.perf_counter() - began
            now = event_loop.run(_counters(engine))
            counted[layout][0] += now[0] - hits[0]
            counted[layout][1] += now[1] - hits[1]
    print(
        f"{options.data.parent.name}: {len(pool)} labelled examples, {len(test)} rows, "
        f"k = {options.k}, {engine.spec}, blocks of {options.block_size} tokens"
    )
    systems = {
        layout: _predictions(classifiers[layout], test, answers[layout], layout)
        for layout in LAYOUTS
    }
    for layout in LAYOUTS:
        p = systems[layout]
        right = np.mean([a == b for a, b in zip(p.gold, p.predicted, strict=True)])
        print(
            f"  {layout:9} {len(test) / seconds[layout]:6.2f} rows/s "
            f"({seconds['none'] / seconds[layout]:.2f} x)  cached: server "
            f"{counted[layout][0] / max(counted[layout][1], 1):.1%}, simulator "
            f"{expected[layout][0] / max(expected[layout][1], 1):.1%}  accuracy {right:.1%}"
        )
    for layout in LAYOUTS[1:]:
        print(
            compare(
                systems["retrieved"], systems[layout], metrics=["accuracy", "log_loss"]
            ).to_text()
        )
    event_loop.run(engine.aclose())


async def _counters(engine: VllmEngine) -> tuple[int, int]:
    await asyncio.sleep(0.2)  # the server counts a moment after it answered
    return await engine.cache_counters() or (0, 0)


def _predictions(clf, test, found, name):  # type: ignore[no-untyped-def]
    labels = list(clf.pipeline_.space.names)
    return Predictions.of(
        [e.label for e in test],
        [p.label for p in found],
        [[p.probabilities.get(label, 0.0) for label in labels] for p in found],
        labels=labels,
        ids=[e.id for e in test],
        name=name,
    )


if __name__ == "__main__":
    main()
