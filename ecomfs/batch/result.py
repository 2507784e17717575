"""What a run gives: counts, true labels with predictions, and where the tables are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecomfs.batch.paths import Output
from ecomfs.batch.runner import Tally
from ecomfs.pipeline import DECIDED
from ecomfs.types import Prediction, Row


@dataclass(frozen=True, slots=True)
class Gold:
    """Rows with true labels and their predictions, for metrics; one entry per row.

    >>> gold = Gold()
    >>> gold.add(Prediction("r1", "yes", {"yes": 1.0}), {"text": "fits"}, "yes")
    >>> gold.ids, gold.labels
    (['r1'], ['yes'])
    """

    ids: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)

    def add(self, prediction: Prediction, row: Row, label: str) -> None:
        """Add a row; an empty label is kept and not scored."""
        self.ids.append(prediction.id)
        self.rows.append(row)
        self.labels.append(label)
        self.predictions.append(prediction)


@dataclass(slots=True)
class AnswerCounts:
    """Counts over the answers of a run.

    Attributes
    ----------
    labels : Counter
        Label → rows that were given it.
    confident : int
        Rows that have a confidence; ``total_confidence`` is their sum.
    review : int
        Rows without a label, which need review.
    suspicious : int
        Rows that look like an attack on the model.
    decided : int
        Rows that were not read, because the model could not change their label.

    Examples
    --------
    >>> from ecomfs.types import Status
    >>> answers = AnswerCounts()
    >>> answers.add(Prediction("1", "yes", {"yes": 0.9, "no": 0.1}))
    >>> answers.add(Prediction("2", None, {"yes": 0.6, "no": 0.4}, Status.ABSTAINED))
    >>> answers.labels, answers.confidence, answers.review
    (Counter({'yes': 1}), 0.75, 1)
    """

    labels: Counter[str] = field(default_factory=Counter)
    confident: int = 0
    total_confidence: float = 0.0
    review: int = 0
    suspicious: int = 0
    decided: int = 0

    def add(self, prediction: Prediction) -> None:
        """Count a row."""
        self.suspicious += bool(prediction.suspicious)
        self.decided += DECIDED in prediction.note
        if prediction.label is None:
            self.review += 1
        elif prediction.labels is not None:
            self.labels.update(prediction.labels)
        else:
            self.labels[prediction.label] += 1
        confidence = prediction.confidence
        if confidence is not None:
            self.confident += 1
            self.total_confidence += confidence

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the rows that have one; ``None`` where none has."""
        return self.total_confidence / self.confident if self.confident else None

    def unread(self, rows: int) -> str:
        """How many of the rows of the run the model could not change, in words; empty: none.

        >>> AnswerCounts(decided=312).unread(1000)
        '312 of 1,000 rows were not read: the model could not change their label'
        """
        if not self.decided:
            return ""
        return (
            f"{self.decided:,} of {rows:,} rows were not read: the model could not change their "
            "label"
        )


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Outcome of :func:`ecomfs.batch.score_table`.

    Attributes
    ----------
    output : Path or SqlTable
        The result table.
    tally : Tally
        Counts of the run.
    answers : AnswerCounts
        Counts over the answers.
    gold : Gold, optional
        True labels and predictions, when the input names its true labels.
    failed : Path, optional
        Table of the rows that failed or whose answer is invalid; ``None`` without any.
    numbers : mapping
        Column → decimal mark of its numbers, in words, where it makes a difference.

    Examples
    --------
    >>> tally = Tally(rows=2, status={"ok": 1, "failed": 1})
    >>> failed = Path("scored.failed.csv")
    >>> result = ScoreResult(Path("scored.csv"), tally, AnswerCounts(), None, failed)
    >>> result.tally.status["failed"], result.failed.name
    (1, 'scored.failed.csv')
    """

    output: Output
    tally: Tally
    answers: AnswerCounts
    gold: Gold | None
    failed: Path | None = None
    numbers: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """What a notebook shows: counts of status and labels, and where the tables are."""
        from ecomfs_eval.html_view import bars, paragraph, table, view

        tally, answers = self.tally, self.answers
        counted = [[name, n] for name, n in tally.status.items() if n]
        labels = dict(answers.labels.most_common())
        given = max(sum(labels.values()), 1)
        sure = answers.confidence
        return view(
            f"{tally.rows:,} rows, written to {self.output}",
            table(["status", "rows"], counted) if counted else "",
            bars({name: n / given for name, n in labels.items()}, None) if labels else "",
            paragraph("" if sure is None else f"mean confidence {sure:.3f}"),
            paragraph(f"{answers.review:,} need review" if answers.review else ""),
            paragraph(answers.unread(tally.rows), note=True),
            paragraph(f"failed rows, with the reason: {self.failed}" if self.failed else ""),
            *(paragraph(f"{name}: {mark}", note=True) for name, mark in self.numbers.items()),
        )
