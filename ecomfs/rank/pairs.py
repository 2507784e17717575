"""Ranks tables whose rows are pairs of a user and an item, list by list, with metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecomfs.batch import Gold, read_marks
from ecomfs.core.progress import Progress, silent
from ecomfs.errors import InputError
from ecomfs.evaluation.evaluate import RULE, systems
from ecomfs.io import TableReader, TableRow
from ecomfs.pipeline import Pipeline
from ecomfs.rank.order import predict
from ecomfs.rank.users_and_items import history_keys, item_keys
from ecomfs.task import FieldMap, TaskCard, column_labels
from ecomfs.types import Example, Prediction, Row
from ecomfs_eval import Predictions

METRICS = {
    "ndcg@5": "NDCG@5",
    "ndcg@10": "NDCG@10",
    "hit@1": "Hit@1",
    "mrr": "MRR",
    "query_auc": "AUC in lists",
    "roc_auc": "AUC of all",
}
"""Metric of the harness → its title in a table."""

RANDOM = "random order"
POPULARITY = "item popularity"


@dataclass(frozen=True, slots=True)
class PairTable:
    """A table of pairs; each attribute but ``header`` has one entry per row.

    Attributes:
        header: columns of the table.
        rows: the rows as read.
        fields: the card's fields of each row.
        lists: the list that each row belongs to.
        units: the sampling unit of each row (such as a user with several lists); by default the
            list.
        truth: true label as spelt in the table, empty if missing; ``None`` without such a column.

    >>> row = TableRow(2, {"user": "u1", "item": "Mug"})
    >>> pairs = PairTable(("user", "item"), [row], [{"item": "Mug"}], ["u1"], ["u1"], truth=None)
    >>> pairs.lists, pairs.fields
    (['u1'], [{'item': 'Mug'}])
    """

    header: tuple[str, ...]
    rows: list[TableRow]
    fields: list[Row]
    lists: list[str]
    units: list[str]
    truth: list[str] | None


def read_pairs(
    source: str | Path,
    card: TaskCard,
    *,
    group: str,
    gold: str | None = None,
    unit: str | None = None,
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    encoding: str | None = None,
) -> PairTable:
    """Read a table of pairs.

    Args:
        group: column with the list of a row (a user, a session, a query).
        gold: column with true labels.
        unit: column with the unit that the bootstrap resamples; ``group`` by default.
        fields: card field → column, where names differ.
        limit: read only the first rows.
        encoding: encoding of a table that is not UTF-8; detected by default.

    Raises:
        InputError: the file cannot be read, or a row belongs to no list.
        ColumnError: a column is missing.

    >>> import tempfile
    >>> from ecomfs.task import load_task
    >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
    >>> _ = path.write_text('user,liked,item\\nu1,"[""Go""]",Mug\\nu1,"[""Go""]",Chess\\n')
    >>> pairs = read_pairs(path, load_task("product_preference"), group="user")
    >>> pairs.lists, pairs.truth
    (['u1', 'u1'], None)
    """
    reader = TableReader(source, encoding=encoding)
    reader.require(*(name for name in (group, gold, unit) if name is not None))
    mapping = read_marks(FieldMap.resolve(card, reader.header, fields, reader.name), card, reader)
    rows: list[TableRow] = []
    for row in reader.rows():
        if limit is not None and len(rows) >= limit:
            break
        for column in (group, unit or group):
            if not row.error and not row.cells[column].strip():
                raise InputError(
                    f"{reader.name}, line {row.line}: column {column!r} is empty",
                    hint="fill it in: every row belongs to a list",
                )
        rows.append(row)
    truth = None
    if gold is not None:
        where = [f"{reader.name}, line {row.line}" for row in rows]
        labels = column_labels([row.cells[gold] for row in rows], where, gold)
        truth = [text or "" for text in labels]
    return PairTable(
        header=tuple(reader.header),
        rows=rows,
        fields=[mapping.fields(row.cells, card) for row in rows],
        lists=[row.cells[group].strip() for row in rows],
        units=[row.cells[unit or group].strip() for row in rows],
        truth=truth,
    )


def score_pairs(
    pipeline: Pipeline,
    pairs: PairTable,
    *,
    progress: Progress = silent,
) -> list[Prediction]:
    """One prediction per pair, in order; a row that cannot be read fails.

    Raises:
        EngineError: the engine is unavailable.

    A row that cannot be read fails without a model:

    >>> from ecomfs import FewShotClassifier
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {"liked": "", "item": "Mug"}, "Yes"),
    ...         Example("2", {"liked": "", "item": "Rug"}, "No")]
    >>> clf = FewShotClassifier("product_preference", None, embedder="hashed", calibration_size=0)
    >>> pipeline = clf.fit(pool).pipeline_
    >>> row = TableRow(2, {"user": "u1", "item": "Mug"}, error="line 2: 3 cells")
    >>> pairs = PairTable(("user", "item"), [row], [{"item": "Mug"}], ["u1"], ["u1"], truth=None)
    >>> [(str(p.status), p.error) for p in score_pairs(pipeline, pairs)]
    [('failed', 'line 2: 3 cells')]
    """
    ids, errors = [str(i) for i in range(len(pairs.rows))], [row.error for row in pairs.rows]
    return predict(pipeline, ids, pairs.fields, errors, progress)


def rankings(
    pairs: PairTable, predictions: Sequence[Prediction], pipeline: Pipeline, positive: str
) -> dict[str, Predictions]:
    """Predictions of each system on the pairs with a true label, as two classes (positive or
    not), with their lists and the units to resample.

    The systems are the model, the neighbours' vote (not for zero-shot), the item's popularity
    among the labelled examples (:func:`popularity`), and the random order, in which all rows are
    tied: the metrics use the expected value over ties.

    Raises:
        EmptyInputError: no pair has a true label.

    >>> from ecomfs import FewShotClassifier
    >>> from ecomfs.types import Example
    >>> pool = [Example("1", {"liked": "", "item": "Mug"}, "Yes"),
    ...         Example("2", {"liked": "", "item": "Rug"}, "No")]
    >>> clf = FewShotClassifier("product_preference", None, embedder="hashed", calibration_size=0)
    >>> pipeline = clf.fit(pool).pipeline_
    >>> rows = [TableRow(i, {"user": "u1", "item": name}) for i, name in enumerate(["Go", "Ludo"])]
    >>> fields = [{"liked": "", "item": row.cells["item"]} for row in rows]
    >>> pairs = PairTable(("user", "item"), rows, fields, ["u1"] * 2, ["u1"] * 2, ["yes", "no"])
    >>> answers = [Prediction("0", "Yes", {"Yes": 0.9, "No": 0.1}),
    ...            Prediction("1", "No", {"Yes": 0.3, "No": 0.7})]
    >>> found = rankings(pairs, answers, pipeline, "Yes")
    >>> list(found)
    ['without LLM', 'kNN only', 'item popularity', 'random order']
    >>> found["without LLM"].probabilities[:, 1].tolist(), found["without LLM"].queries
    ([0.9, 0.3], ('u1', 'u1'))
    """
    space = pipeline.space
    names = [space.true_label(text) for text in pairs.truth or []]
    kept = [i for i, name in enumerate(names) if name]
    gold = Gold(
        ids=[str(i) for i in kept],
        rows=[pairs.fields[i] for i in kept],
        labels=[names[i] for i in kept],
        predictions=[predictions[i] for i in kept],
    )
    lists = tuple(pairs.lists[i] for i in kept)
    units = tuple(pairs.units[i] for i in kept)
    found = {
        name: _two_classes(p, positive, name)
        for name, p in systems(gold, pipeline).items()
        if name != "majority" and not name.startswith(RULE)
    }
    model = next(iter(found.values()))
    scores = {RANDOM: [0.5] * len(model)}
    if pipeline.retriever is not None:
        counts = popularity(
            pipeline.retriever.examples, [pairs.fields[i] for i in kept], pipeline.card, positive
        )
        most = max(counts) + 1
        scores = {POPULARITY: [n / most for n in counts], **scores}
    for name, score in scores.items():
        found[name] = Predictions.of(
            model.gold,
            None,
            np.column_stack([1 - np.array(score), score]),
            labels=model.labels,
            ids=model.ids,
            positive=positive,
            name=name,
        )
    return {name: replace(p, queries=lists, groups=units) for name, p in found.items()}


def popularity(
    examples: Sequence[Example], rows: Sequence[Row], card: TaskCard, positive: str
) -> list[int]:
    """For each row, the number of labelled examples that have its item in a history, or that are
    about the item and have the positive label. A recommender should beat this baseline.

    >>> from ecomfs.task import load_task
    >>> card = load_task("product_preference")
    >>> pool = [Example("1", {"liked": '["Go", "Mug"]', "item": "Chess"}, "Yes"),
    ...         Example("2", {"liked": '["Go"]', "item": "Chess"}, "No")]
    >>> popularity(pool, [{"item": "Go"}, {"item": "chess"}, {"item": "Rug"}], card, "Yes")
    [2, 1, 0]
    """
    texts = [spec.name for spec in card.fields if spec.kind == "text"]

    def own(row: Row) -> frozenset[str]:
        return item_keys("", [str(row.get(name, "")) for name in texts])

    counts: Counter[str] = Counter()
    for example in examples:
        held = history_keys(example.fields, card)
        counts.update(held | own(example.fields) if example.label == positive else held)
    nothing = item_keys("", [])  # of an item without an id
    return [max((counts[key] for key in own(row) - nothing), default=0) for row in rows]


def _two_classes(p: Predictions, positive: str, name: str) -> Predictions:
    """The positive label against all others."""
    if p.probabilities is None:
        table = np.full((len(p), 2), np.nan)
    else:
        score = p.probabilities[:, p.labels.index(positive)]
        table = np.column_stack([1 - score, score])
    other = f"not {positive}"
    return Predictions.of(
        [positive if g == positive else other for g in p.gold],
        [None if a is None else positive if a == positive else other for a in p.predicted],
        table,
        labels=[other, positive],
        ids=p.ids,
        status=p.status,
        positive=positive,
        name=name,
    )
