"""Does rendering help? Raw cells, rendered text, and rendered text with chosen neighbours.

    python eval/bench/rendering.py "$ECOMFS_DATA" --rows 200 --shots 64

For the three tabular tasks the language model reads the same test rows with the same labelled
examples in three ways: cells as `name=value`, neighbours by text; cells in words, neighbours by
text; cells in words, neighbours by the similarity chosen on the pool (`--similarity auto`).
Prints the metrics of each, the tokens per prompt, and the paired tests between them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ecomfs.batch import read_examples
from ecomfs.estimators import FewShotClassifier
from ecomfs.pool import sample_examples
from ecomfs.task import load_task
from ecomfs_eval import METRICS, Bootstrap, Predictions, compare, scores

TASKS = {
    "uci_online_shoppers_intention": "purchase_intent",
    "ifood_campaign_response": "ad_response",
    "eshop_next_category": "next_category",
}
VARIANTS = {
    "raw": {"rendering": "raw", "similarity": "text"},
    "rendered": {"rendering": "words", "similarity": "text"},
    "rendered + auto": {"rendering": "words", "similarity": "auto"},
}
PAIRS = (("raw", "rendered"), ("rendered", "rendered + auto"), ("raw", "rendered + auto"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", nargs="+", choices=list(TASKS.values()), default=None)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--shots", type=int, default=64)
    parser.add_argument("--k", type=int, default=None, help="demonstrations a prompt")
    parser.add_argument("--engine", default="gguf:demo")
    parser.add_argument("--embedder", default="auto")
    parser.add_argument("--language", default="en")
    parser.add_argument("--calibration-size", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for folder, task in TASKS.items():
        if options.only is None or task in options.only:
            measure(folder, task, options)


def measure(folder: str, task: str, options: argparse.Namespace) -> None:
    """One task, all variants."""
    everything = read_examples(options.data / folder / "train.csv", load_task(task))
    order = np.random.default_rng(options.seed).permutation(len(everything))
    test = [everything[place] for place in order[: options.rows]]
    rest = [everything[place] for place in sorted(order[options.rows :])]
    pool = sample_examples(rest, options.shots, options.seed)
    print(f"\n{task}: {len(test)} rows, {len(pool)} labelled examples, engine {options.engine}")
    found: dict[str, Predictions] = {}
    for name, settings in VARIANTS.items():
        clf = FewShotClassifier(
            task,
            options.engine,
            k=options.k,
            embedder=options.embedder,
            language=options.language,
            calibration_size=options.calibration_size,
            seed=options.seed,
            **settings,
        ).fit(pool)
        predictions = clf.classify([e.fields for e in test], [e.id for e in test])
        names = list(clf.pipeline_.space.names)
        truth = [names[clf.pipeline_.space.require(e.label, e.id)] for e in test]
        rows = [[p.probabilities.get(label, np.nan) for label in names] for p in predictions]
        found[name] = Predictions.of(
            truth,
            [p.label for p in predictions],
            rows,
            labels=names,
            ids=[e.id for e in test],
            status=[str(p.status) for p in predictions],
            prompt_tokens=np.array([p.prompt_tokens for p in predictions], dtype=np.float64),
            name=name,
        )
        retriever = clf.pipeline_.retriever
        choice = None if retriever is None else retriever.choice
        tokens = np.mean([p.prompt_tokens for p in predictions])
        shown = scores(
            {m: METRICS[m] for m in ("accuracy", "f1_macro", "roc_auc", "log_loss")},
            found[name],
            Bootstrap(seed=options.seed),
        )
        line = "  ".join(f"{key} {score.text()}" for key, score in shown.items())
        by = "" if choice is None else f"  neighbours: {choice.mode} {choice.weight:g}"
        print(f"  {name}: {line}  tokens {tokens:.0f}{by}", flush=True)
    for first, second in PAIRS:
        print(compare(found[first], found[second], metrics=["accuracy", "log_loss"]).to_text())


if __name__ == "__main__":
    main()
