"""Why do demonstrations help or hurt the model's raw probabilities?

    python eval/bench/demonstrations.py DATA --engine gguf:qwen2.5-coder-0.5b

The pool is the 32 labelled rows of EPRSTMT's first fold. Rows of the other folds are read without
demonstrations, with similar ones in two orders, with a fixed label of the last one (for each of the
two labels), with random ones, and with one shared block. Prints for each: accuracy and log loss as
read, and after a bias and a temperature estimated on other rows. Then a least-squares fit explains
the log-odds as read by the log-odds without demonstrations, the label of the last demonstration,
and the label of the nearest one.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import cross_calibrated
from ecomfs.core import event_loop
from ecomfs.embed import open_embedder
from ecomfs.engine.shared import shared_engine
from ecomfs.pipeline import Options, Pipeline, build_pipeline
from ecomfs.pool import random_examples
from ecomfs.prompt import PromptInput
from ecomfs.task import load_task
from ecomfs.types import Demonstration, Example, Posterior

TASK = "review_sentiment"
Values = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="names of some conditions")
    options = parser.parse_args()
    pool, others = read(options.data / "eprstmt_zh")
    test = random_examples(others, options.rows, options.seed)
    engine = shared_engine(options.engine)
    given = Options(k=options.k, language="zh", layout="retrieved", seed=options.seed)
    pipeline = build_pipeline(
        load_task(TASK), pool, engine, open_embedder("auto"), given, task=TASK
    )
    truth = np.array([pipeline.space.require(e.label, e.id) for e in test])
    shown = conditions(pipeline, test, options.k, options.seed)
    found: dict[str, Values] = {}
    print(f"eprstmt_zh: {len(pool)} labelled, {len(test)} rows, k = {options.k}, {engine.spec}")
    for name, demonstrations in shown.items():
        if options.only and name not in options.only:
            continue
        p = found[name] = ask(pipeline, test, demonstrations)
        calibrated = cross_calibrated(p.tolist(), truth.tolist())
        print(
            f"{name:18} as read {right(p, truth):.3f} / {loss(p, truth)}   "
            f"calibrated {right(calibrated, truth):.3f} / {loss(calibrated, truth)}   "
            f"mean of the first label {p[:, 0].mean():.2f}",
            flush=True,
        )
    for name, p in found.items():
        if name in ("none", "shared") or "none" not in found:
            continue
        explained(name, logit(p), logit(found["none"]), shown[name], pipeline)


def read(folder: Path) -> tuple[list[Example], list[Example]]:
    """The pool, and all other texts of the training and the development file."""
    kept: dict[str, Example] = {}
    pool: list[Example] = []
    for file in ("train.csv", "dev.csv"):
        with (folder / file).open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines):
                one = Example(row["id"], {"text": row["text"]}, row["label"])
                if file == "train.csv" and row["fold"] == "0":
                    pool.append(one)
                kept.setdefault(row["text"], one)
    held = {e.fields["text"] for e in pool}
    return pool, [e for text, e in kept.items() if text not in held]


def conditions(
    pipeline: Pipeline, test: Sequence[Example], k: int, seed: int
) -> dict[str, list[list[Demonstration]]]:
    """Name → demonstrations of each row, in prompt order."""
    states = pipeline.prepare([e.fields for e in test], [e.id for e in test])
    similar = [list(state.demonstrations) for state in states]
    retriever = pipeline.retriever
    assert retriever is not None
    labels = pipeline.space.names
    rng = np.random.default_rng(seed)
    by_label = [[e for e in retriever.examples if e.label == label] for label in labels]

    def drawn() -> list[Demonstration]:
        chosen = [
            group[i]
            for group in by_label
            for i in rng.choice(len(group), k // len(labels), replace=False)
        ]
        return [Demonstration(chosen[i], "", float("nan")) for i in rng.permutation(len(chosen))]

    block = drawn()
    return {
        "none": [[] for _ in test],
        "similar last": similar,
        "shared": [block for _ in test],
        "similar first": [found[::-1] for found in similar],
        **{f"last {label}": [ending(found, label) for found in similar] for label in labels},
        "random": [drawn() for _ in test],
    }


def ending(shown: Sequence[Demonstration], label: str) -> list[Demonstration]:
    """The same demonstrations, with the nearest one of a label moved to the end."""
    last = max(i for i, d in enumerate(shown) if d.example.label == label)
    return [d for i, d in enumerate(shown) if i != last] + [shown[last]]


def ask(
    pipeline: Pipeline, test: Sequence[Example], shown: Sequence[Sequence[Demonstration]]
) -> Values:
    """Probabilities as read, shape (n, L)."""
    setup = pipeline.setups["zh"]
    asked = [PromptInput(e.fields, d) for e, d in zip(test, shown, strict=True)]
    prompts: Any = setup.prompts(asked, pipeline.engine, None)
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].text)
    posteriors = event_loop.run(setup.readout.read(pipeline.engine, [prompts[i] for i in order]))
    out = np.empty((len(prompts), len(pipeline.space)))
    for place, posterior in zip(order, posteriors, strict=True):
        if not isinstance(posterior, Posterior):
            raise posterior
        out[place] = posterior.probabilities
    return out


def explained(
    name: str,
    odds: Values,
    alone: Values,
    shown: Sequence[Sequence[Demonstration]],
    pipeline: Pipeline,
) -> None:
    """Least-squares fit of the log-odds of the first label, with standard errors."""
    first = pipeline.space.names[0]
    sign = [[1.0 if d.example.label == first else -1.0 for d in found] for found in shown]
    nearest = [
        s[max(range(len(s)), key=lambda i: d[i].similarity)]
        for s, d in zip(sign, shown, strict=True)
    ]
    columns = {
        "constant": np.ones(len(odds)),
        "alone": alone,
        "last": np.array([s[-1] for s in sign]),
    }
    if "random" not in name:
        columns["nearest"] = np.array(nearest)
        if np.array_equal(columns["last"], columns["nearest"]) or np.ptp(columns["last"]) == 0:
            columns.pop("last")
    table = np.stack(list(columns.values()), axis=1)
    found, *_ = np.linalg.lstsq(table, odds, rcond=None)
    rest = odds - table @ found
    spread = rest @ rest / (len(odds) - len(found)) * np.linalg.inv(table.T @ table)
    said = ", ".join(
        f"{column} {value:+.2f} ± {error:.2f}"
        for column, value, error in zip(columns, found, np.sqrt(np.diag(spread)), strict=True)
    )
    print(f"{name:18} log-odds of {first}: {said}")


def logit(p: Values) -> Values:
    """Log-odds of the first label, clipped to ±12."""
    return np.clip(np.log(np.maximum(p[:, 0], 1e-9)) - np.log(np.maximum(p[:, 1], 1e-9)), -12, 12)


def right(p: Values, truth: NDArray[np.int64]) -> float:
    """Accuracy."""
    return float((p.argmax(axis=1) == truth).mean())


def loss(p: Values, truth: NDArray[np.int64]) -> str:
    """Mean log loss with its standard error."""
    rows = -np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-9))
    return f"{rows.mean():.3f} ± {rows.std(ddof=1) / len(rows) ** 0.5:.3f}"


if __name__ == "__main__":
    main()
