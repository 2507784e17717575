"""MultiLabelClassifier: every row may have several labels, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecomfs import aio
from ecomfs.assemble import build_retriever, spoken_languages
from ecomfs.data import Examples, Rows, as_rows, row_ids
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import shared_engine
from ecomfs.errors import ConfigError, InputError
from ecomfs.multilabel.cells import read_labels
from ecomfs.multilabel.fit import fit_thresholds
from ecomfs.multilabel.labelled import as_labelled, label_space
from ecomfs.multilabel.prediction import MultiLabelPrediction, answer
from ecomfs.multilabel.prompts import label_prompts
from ecomfs.multilabel.reader import Reader, Speaker
from ecomfs.options import LanguageChoice, Options, SimilarityChoice
from ecomfs.pipeline import ANSWER_TOKENS
from ecomfs.pool import Embedder, open_embedder
from ecomfs.pool.sample import sample_queries
from ecomfs.progress import LOADING, Progress, showing
from ecomfs.read import words
from ecomfs.task import TaskCard, load_task
from ecomfs.task.rows import Rendering

MOST = 32
"""Most demonstrations that ``k=None`` shows."""


class MultiLabelClassifier:
    """Finds the labels of each row by one yes/no reading a label.

    The prompts of a row differ in their last line only, where the label stands, and all labels of
    all rows are read in one batch. The examples that stand in them are like the row and, as far as
    ``k`` allows, show every label; each label is told of as many that have it as of ones that
    lack it. The readings are calibrated together, and each label has a threshold of its own with
    the best F1 leave-one-out, drawn towards 0.5 where few examples have the label.

    Args:
        task: task name, folder or card. With a closed label space the labels are the card's.
        engine, embedder, language, similarity, rendering, budget, seed, fields: as for
            :class:`~ecomfs.classifier.FewShotClassifier`.
        k: examples a row's prompts show; ``None``: the task's default, and at least one a label
            (up to 32); 0: zero-shot.
        calibration_size: examples read leave-one-out, each once a label; 0: none, every
            threshold is 0.5, and the model answers alone.
        fusion: whether the neighbours' labels count beside the model, as far as the examples that
            are read leave-one-out bear them out.

    Attributes (after ``fit``):
        classes_: the labels, sorted; the columns of ``predict_proba``.
        thresholds_: label → :class:`~ecomfs.multilabel.threshold.LabelThreshold`.
        notes_: what the user should know of the fit, one line each.

    Example (reads the packaged demo model)::

        clf = MultiLabelClassifier("customer_intent")
        clf.fit(["Where is it? I want my money back", …], [{"track order", "refund"}, …])
        clf.predict(["Cancel it, and send me the invoice"])  # sets of labels
    """

    def __init__(
        self,
        task: str | Path | TaskCard = "customer_intent",
        engine: str | Engine = "auto",
        *,
        k: int | None = None,
        embedder: str | Embedder = "auto",
        language: LanguageChoice | None = None,
        similarity: SimilarityChoice = "auto",
        rendering: Rendering = "words",
        budget: int | None = None,
        seed: int = 0,
        calibration_size: int = 32,
        fusion: bool = True,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.task = task
        self.engine = engine
        self.embedder = embedder
        self.options = Options(
            k=k, language=language, similarity=similarity, rendering=rendering, budget=budget,
            seed=seed,
        )  # fmt: skip
        self.calibration_size = calibration_size
        self.fusion = fusion
        self.fields = fields

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Store the labelled examples and find each label's threshold.

        Args:
            X: rows with ``y``; or a DataFrame with a label column; or ``Example`` objects or a
                ``Pool`` whose labels are such cells. A pool is read once.
            y: the labels of each row, see :func:`ecomfs.multilabel.cells.read_labels`.
            progress: as for :meth:`FewShotClassifier.fit`.

        Raises:
            InputError: rows and labels differ in number, an empty cell (``[]`` is a row with none
                of the labels), a label that a closed task does not know.
            ConfigError: only one label.
            PoolError: no example has any label, and the task names none.
            EngineError: the engine cannot be opened.
        """
        card = self.task if isinstance(self.task, TaskCard) else load_task(self.task)
        version, examples, cells = as_labelled(X, y, card, self.fields)
        labels, sets = label_space(card, examples, cells)
        with showing(progress) as report:
            report(LOADING)
            engine = shared_engine(self.engine) if isinstance(self.engine, str) else self.engine
            embedder = (
                open_embedder(self.embedder) if isinstance(self.embedder, str) else self.embedder
            )
            rows, retriever = build_retriever(
                card, examples, embedder, self.options, progress=report
            )
        by_id = {e.id: own for e, own in zip(examples, sets, strict=True)}
        spoken = spoken_languages(card, self.options)
        speakers = {
            language: Speaker.of(
                label_prompts(card, labels, words(labels, language).answers, by_id, language, rows),
                engine,
            )
            for language in spoken
        }
        k, limit = self.options.k, engine.capabilities.context_tokens - ANSWER_TOKENS
        reader = Reader(
            card=card,
            labels=labels,
            engine=engine,
            rows=rows,
            retriever=retriever,
            sets=tuple(sets),
            k=max(card.default_k, min(len(labels), MOST)) if k is None else k,
            budget=limit if self.options.budget is None else min(self.options.budget, limit),
            speakers=speakers,
            language=spoken[0] if len(spoken) == 1 else None,
            listens=self.fusion,
        )
        chosen = sample_queries(examples, self.calibration_size, self.options.seed)
        with showing(progress) as report:
            fitted = aio.run(fit_thresholds(reader, chosen, by_id, report))
        self.reader_, self.thresholds_, self.notes_ = fitted
        self.engine_, self.pool_version_ = engine, version
        self.classes_ = np.empty(len(labels), dtype=object)
        self.classes_[:] = sorted(labels.names)
        return self

    def classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[MultiLabelPrediction]:
        """One :class:`MultiLabelPrediction` a row, in order."""
        return aio.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[MultiLabelPrediction]:
        """:meth:`classify` for callers that have an event loop."""
        return await aio.bridge(self._classify(X, ids))

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """The labels of each row as a frozenset, shape (n,), dtype object; ``None`` for a row
        that could not be read."""
        found = self.classify(X)
        out = np.empty(len(found), dtype=object)
        out[:] = [None if p.labels is None else frozenset(p.labels) for p in found]
        return out

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each label by itself, shape (n, len(classes_)), columns in the order
        of ``classes_``; NaN for a row that could not be read."""
        found = self.classify(X)
        table = [[p.probabilities.get(name, np.nan) for name in self.classes_] for p in found]
        return np.array(table, dtype=np.float64).reshape(len(found), len(self.classes_))

    def score(self, X: Rows, y: Iterable[Any]) -> float:  # noqa: N803
        """Subset accuracy: the share of rows with exactly the right labels (scikit-learn's
        ``accuracy_score`` for sets); rows that could not be read count as wrong."""
        truth = [frozenset(read_labels(cell, f"row {at}")) for at, cell in enumerate(y)]
        predicted = self.predict(X)
        if len(truth) != len(predicted):
            raise InputError(f"{len(predicted)} rows but {len(truth)} sets of labels")
        return float(np.mean([p == t for p, t in zip(predicted, truth, strict=True)]))

    async def _classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None,
    ) -> list[MultiLabelPrediction]:
        if not hasattr(self, "reader_"):
            raise ConfigError("the classifier has no examples yet", hint="call fit first")
        rows = await asyncio.to_thread(as_rows, X, self.reader_.card, self.fields)
        values = {name: threshold.value for name, threshold in self.thresholds_.items()}
        return [
            replace(answer(self.reader_, asked, read, values), pool_version=self.pool_version_)
            for asked, read in await self.reader_.read(rows, row_ids(rows, ids))
        ]

    def __repr__(self) -> str:
        name = self.task.name if isinstance(self.task, TaskCard) else self.task
        return f"MultiLabelClassifier({str(name)!r}, k={self.options.k})"


__all__ = ["MOST", "MultiLabelClassifier"]
