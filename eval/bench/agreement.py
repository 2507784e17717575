"""How often engines give the same label for the same prompts.

    python eval/bench/agreement.py TEST.csv POOL.csv --task review_sentiment \
        --engine transformers:FOLDER --engine vllm:http://127.0.0.1:8000 --engine gguf:demo

Prompts are built once, as text, and read by every engine with its own tokenizer. The labels of each
engine are compared with those of the first one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean

from ecomfs.batch import read_examples
from ecomfs.core import event_loop
from ecomfs.engine.factory import open_engine
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import sample_examples
from ecomfs.task import load_task
from ecomfs_eval import wilson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--task", default="review_sentiment")
    parser.add_argument("--engine", action="append", required=True)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    card = load_task(options.task)
    pool = sample_examples(read_examples(options.examples, card), options.shots, options.seed)
    rows = sample_examples(read_examples(options.data, card), options.rows, options.seed)
    answers: dict[str, list[tuple[str | None, float]]] = {}
    for spec in options.engine:
        engine = open_engine(spec)
        clf = FewShotClassifier(
            options.task, engine, k=options.k, seed=options.seed, calibration_size=0
        ).fit(pool)
        started = time.monotonic()
        predictions = clf.classify([e.fields for e in rows], [e.id for e in rows])
        seconds = time.monotonic() - started
        event_loop.run(engine.aclose())
        answers[spec] = [(p.label, p.confidence or 0.0) for p in predictions]
        space = clf.pipeline_.space
        right = [
            p.label == space.names[space.require(e.label, e.id)]
            for p, e in zip(predictions, rows, strict=True)
        ]
        cached = sum(p.cached_tokens for p in predictions)
        tokens = sum(p.prompt_tokens for p in predictions)
        interval = wilson(sum(right), len(right))
        print(
            f"{spec}: accuracy {mean(right):.3f} [{interval.low:.3f}, {interval.high:.3f}], "
            f"{len(rows) / seconds:.2f} rows/s, {cached / max(tokens, 1):.0%} of tokens cached, "
            f"failed {sum(p.label is None for p in predictions)}"
        )
    reference = options.engine[0]
    for spec in options.engine[1:]:
        pairs = list(zip(answers[reference], answers[spec], strict=True))
        same = sum(a[0] == b[0] for a, b in pairs)
        interval = wilson(same, len(pairs))
        largest = max(abs(a[1] - b[1]) for a, b in pairs if a[0] == b[0])
        print(
            f"{spec} agrees with {reference} on {same} of {len(pairs)} rows "
            f"[{interval.low:.3f}, {interval.high:.3f}]; "
            f"largest difference of confidence where they agree {largest:.4f}"
        )


if __name__ == "__main__":
    main()
