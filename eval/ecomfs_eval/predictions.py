"""The predictions of a system for rows with gold labels: the input of every metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecomfs_eval import _check
from ecomfs_eval._labels import aligned, label_order, label_text
from ecomfs_eval.errors import DataError
from ecomfs_eval.structure import LabelKind, LabelStructure

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs_eval.reading import ColumnNames

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of one system for n rows over L labels; validated on construction.

    Attributes:
        ids: n row ids, each unique.
        labels: the label space, in a fixed order.
        gold: n gold labels, each in ``labels``.
        predicted: n predicted labels; ``None`` where the system gave none.
        status: n of ``ok``, ``abstained`` (the system declined), ``invalid`` (the answer is not a
            label) and ``failed`` (no answer). A row that is not ok counts as wrong in accuracy, F1
            and MCC.
        probabilities: n × L; each row sums to one, or is all NaN where the system gave no
            distribution. ``None`` when no row has one.
        positive: the positive class of binary metrics. By default the label that sorts last
            (``yes``, ``positive``, ``1``), as in scikit-learn.
        groups: n names of the sampled unit (user, query, item), where rows of one unit resemble
            each other. Intervals then resample whole groups.
        queries: n names of the list a row belongs to, for ranking metrics.
        slices: name of a slicing (language, category, length) → n values.
        extra: any other text column (prompt, demonstrations, input) → n values.
        latency: n seconds; NaN where not measured.
        prompt_tokens, completion_tokens, cached_tokens: n token counts; NaN where unknown.
        cost: n costs in ``currency``; NaN where unknown.
        currency: of the costs.
        structure: parts of the labels, if they are a hierarchy or stand for sets of labels;
            ``None`` for labels of a flat list.
        name: the name of the system in reports.
        source: where the rows came from, for error messages.

    Raises:
        EmptyDataError: no rows.
        DataError: a column of the wrong length, an id that occurs twice, a label outside
            ``labels``, probabilities that are not a distribution, or a negative measurement.

    >>> p = Predictions.of(["yes", "no", "no"], ["yes", "no", None])
    >>> len(p), p.labels, p.positive, p.status
    (3, ('no', 'yes'), 'yes', ('ok', 'ok', 'invalid'))
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    gold: tuple[str, ...]
    predicted: tuple[str | None, ...]
    status: tuple[str, ...]
    probabilities: FloatArray | None = None
    positive: str | None = None
    groups: tuple[str, ...] | None = None
    queries: tuple[str, ...] | None = None
    slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    latency: FloatArray | None = None
    prompt_tokens: FloatArray | None = None
    completion_tokens: FloatArray | None = None
    cached_tokens: FloatArray | None = None
    cost: FloatArray | None = None
    currency: str = "USD"
    structure: LabelStructure | None = None
    name: str = "system"
    source: str = "predictions"

    def __post_init__(self) -> None:
        _check.shape(self)
        _check.labels(self)
        _check.measurements(self)
        object.__setattr__(self, "probabilities", _check.distribution(self))
        if self.positive is None and len(self.labels) == 2 and self.kind != "sets":
            object.__setattr__(self, "positive", label_order(self.labels)[-1])

    @classmethod
    def of(
        cls,
        gold: Sequence[object],
        predicted: Sequence[object | None] | None = None,
        probabilities: Any = None,
        *,
        labels: Sequence[object] | None = None,
        ids: Sequence[object] | None = None,
        status: Sequence[str] | None = None,
        **columns: Any,
    ) -> Predictions:
        """Predictions from plain sequences.

        Args:
            gold: n gold labels: text, numbers (a whole float is its integer) or booleans.
            predicted: n labels or ``None`` (NaN counts as ``None``). Without it, the most probable
                label of each row (the first of ``labels`` on a tie).
            probabilities: n × L numbers in the order of ``labels``.
            labels: the label space; by default every label seen, sorted (numbers by value).
            ids: by default ``1`` … ``n``.
            status: by default ``ok``, and ``invalid`` where ``predicted`` is ``None``.
            columns: the other attributes, by name.

        Raises:
            DataError: a row without a gold label, or as for the class.

        >>> p = Predictions.of([0, 1], probabilities=[[0.9, 0.1], [0.2, 0.8]])
        >>> p.predicted
        ('0', '1')
        """
        names = [label_text(g, f"gold label {n}") for n, g in enumerate(gold, 1)]
        if "" in names:
            raise DataError(
                f"row {names.index('') + 1} has no gold label",
                hint="label the row, or leave it out",
            )
        answers: list[str | None] | None = None
        space = None if labels is None else tuple(label_text(x, "labels") for x in labels)
        if space is not None:
            names = aligned(names, space)
        if predicted is not None:
            said = [label_text(a, f"predicted label {n}") for n, a in enumerate(predicted, 1)]
            answers = [a or None for a in aligned(said, space or names)]
        if space is None:
            space = tuple(label_order({*names, *(a for a in answers or () if a is not None)}))
        matrix = None if probabilities is None else np.array(probabilities, dtype=np.float64)
        if answers is None:
            answers = _check.most_probable(matrix, space)
        if status is None:
            status = ["ok" if a is not None else "invalid" for a in answers]
        return cls(
            ids=tuple(str(i) for i in (ids if ids is not None else range(1, len(names) + 1))),
            labels=space,
            gold=tuple(names),
            predicted=tuple(answers),
            status=tuple(status),
            probabilities=matrix,
            **columns,
        )

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, columns: ColumnNames | None = None, **options: Any
    ) -> Predictions:
        """Predictions from a frame with one row per prediction.

        Args:
            frame: the rows. A whole float is its integer (``1.0`` is label ``1``), because pandas
                turns a column of integers with a gap into floats; text ``1.0`` too, unless both
                spellings are labels. Other labels are compared as exact text.
            columns: which column holds what.
            options: ``labels``: the label space; by default that of the probability columns, else
                every gold and predicted label, sorted (numbers by value). ``unknown_predicted``:
                ``"error"`` (default), or ``"invalid"`` to count an answer that is not a label as
                invalid and keep its text in ``extra["answer"]``. ``positive``, ``currency``,
                ``name``, ``source``: as the attributes.

        Raises:
            EmptyDataError: no rows.
            DataError: a column is missing, or a row cannot be used; the message names row and
                column.

        >>> import pandas as pd
        >>> frame = pd.DataFrame({"id": ["r1", "r2"], "label": ["no", "yes"],
        ...                       "p_no": [0.8, 0.6], "p_yes": [0.2, 0.4]})
        >>> Predictions.from_frame(frame).predicted
        ('no', 'no')
        """
        from ecomfs_eval import reading

        return reading.from_frame(frame, columns, **options)

    @classmethod
    def from_file(
        cls, path: str | Path, columns: ColumnNames | None = None, **options: Any
    ) -> Predictions:
        """Predictions from a CSV, JSON-lines or Parquet file (Parquet needs pyarrow).

        Args:
            path: the file. Its name without folder and suffix is the default ``name``.
            columns: which column holds what.
            options: ``kind``: ``"csv"``, ``"jsonl"`` or ``"parquet"``; by default from the suffix.
                Others as for :meth:`from_frame`.

        Raises:
            NoSuchFileError, EmptyDataError, DataError: the message names the file, and row and
                column where there are any.
            MissingLibraryError: Parquet without pyarrow.

        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("id,gold,predicted\\n1,yes,no\\n")
        ...     file.flush()
        ...     Predictions.from_file(file.name).predicted
        ('no',)
        """
        from ecomfs_eval import reading

        return reading.from_file(path, columns, **options)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> LabelKind:
        """``flat``, ``hierarchy`` or ``sets``."""
        return "flat" if self.structure is None else self.structure.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes for per-class counts: the labels, or for sets the labels that they hold."""
        if self.structure is None or self.structure.kind != "sets":
            return self.labels
        return self.structure.classes

    @property
    def gold_index(self) -> IntArray:
        """n positions of the gold labels in ``labels``."""
        where = {label: i for i, label in enumerate(self.labels)}
        return np.array([where[g] for g in self.gold], dtype=np.int64)

    @property
    def predicted_index(self) -> IntArray:
        """n positions of the answers in ``labels``; -1 where the row is not ok."""
        where = {label: i for i, label in enumerate(self.labels)}
        return np.array(
            [
                where[a] if s == "ok" and a is not None else -1
                for a, s in zip(self.predicted, self.status, strict=True)
            ],
            dtype=np.int64,
        )

    @property
    def answered(self) -> NDArray[np.bool_]:
        """n flags: the row is ok."""
        return np.array([s == "ok" for s in self.status], dtype=np.bool_)

    @property
    def has_distribution(self) -> NDArray[np.bool_]:
        """n flags: the row has probabilities."""
        if self.probabilities is None:
            return np.zeros(len(self), dtype=np.bool_)
        return ~np.isnan(self.probabilities[:, 0])

    def take(self, rows: Iterable[int]) -> Predictions:
        """The same system on some of the rows, in the order given.

        >>> Predictions.of(["a", "b", "a"], ["a", "b", "b"]).take([2, 0]).ids
        ('3', '1')
        """
        keep = np.array(list(rows), dtype=np.int64)

        def pick(values: Any) -> Any:
            if isinstance(values, Mapping):
                return {k: pick(v) for k, v in values.items()}
            if values is None or isinstance(values, np.ndarray):
                return None if values is None else values[keep]
            return tuple(values[i] for i in keep)

        per_row = ("ids", *_check.COLUMNS, "slices", "extra")
        return replace(self, **{name: pick(getattr(self, name)) for name in per_row})

    def with_labels(
        self,
        labels: Sequence[str],
        positive: str | None = None,
        structure: LabelStructure | None = None,
    ) -> Predictions:
        """The same predictions over a larger label space; added labels have probability 0.

        Args:
            labels: the new space; it holds every label of the old one.
            positive: the positive class in it; if the space is not larger, by default as before.
            structure: what the labels are made of; by default as before.

        >>> p = Predictions.of(["a", "b"], probabilities=[[0.9, 0.1], [0.2, 0.8]])
        >>> p.with_labels(["b", "a", "c"]).probabilities.tolist()
        [[0.1, 0.9, 0.0], [0.8, 0.2, 0.0]]
        """
        structure = structure or self.structure
        if self.labels == tuple(labels):
            wanted = positive or self.positive
            if (structure, wanted) == (self.structure, self.positive):
                return self
            return replace(self, structure=structure, positive=wanted)
        table = self.probabilities
        if table is not None:
            table = _check.widen(table, self.labels, labels, rows=len(self))
            table[~self.has_distribution] = np.nan
        return replace(
            self,
            labels=tuple(labels),
            probabilities=table,
            positive=positive,
            structure=structure,
        )

    def to_frame(self) -> pd.DataFrame:
        """The rows as a frame that :meth:`from_frame` reads back (``p_<label>`` columns).

        Raises:
            DataError: a slicing or extra column has the name of a column of another meaning.
        """
        from ecomfs_eval import reading

        return reading.to_frame(self)
