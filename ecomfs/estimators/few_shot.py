"""FewShotClassifier: calibrated labels from a few labelled examples, without training.

It is a scikit-learn classifier (see :mod:`ecomfs.estimators.base`) and works in pipelines,
hyperparameter searches, cross-validation and ensembles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from ecomfs.core import event_loop
from ecomfs.core.options import NO_MODEL, FewShotOptions, documented
from ecomfs.core.progress import LOADING, Progress, showing
from ecomfs.errors import ConfigError
from ecomfs.estimators.inputs import (
    Examples,
    Rows,
    as_rows,
    columns,
    given_examples,
    row_ids,
)
from ecomfs.estimators.integer_labels import LabelReading, numbered_by_sklearn
from ecomfs.estimators.one_label import OneLabelClassifier
from ecomfs.fit import FitPlan, Guarantees, Profile, fit_pipeline
from ecomfs.pipeline import (
    DECIDED,
    Explanation,
    Pipeline,
    StoredPipeline,
    check_templates,
    facts,
    influences,
    refreshed,
)
from ecomfs.pool import Pool
from ecomfs.task import InputLabels, LabelSpace, TaskCard, label_text
from ecomfs.types import Prediction, Row


@documented
@dataclass(eq=False, repr=False)
class FewShotClassifier(FewShotOptions, OneLabelClassifier[Pipeline]):
    """Classifies rows by showing a language model the k most similar labelled examples.

    A scikit-learn classifier. ``fit`` stores and indexes the examples and reads some of them
    leave-one-out for calibration; no weights are trained.

    Parameters
    ----------
    task : str, Path or TaskCard, default "review_sentiment"
        Task name, path of a task folder, or a card.
    {options}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels as given (integers stay integers), sorted by NumPy; the columns of
        ``predict_proba``.
    meanings_ : dict
        Label → the label of the card that it stands for, or its own text.
    pool_ : Pool
        The labelled examples. Examples that are added, relabelled or retired take effect at the
        next call; the calibration stays as ``fit`` made it.
    pipeline_ : Pipeline
        The fitted pipeline.
    engine_ : Engine
        The open engine.
    profile_ : Profile or None
        The fitted parameters (``profile_.save(path)``); ``None`` if nothing was fitted.

    Examples
    --------
    Reads the packaged demo model:

    >>> from ecomfs import FewShotClassifier
    >>> clf = FewShotClassifier("review_sentiment", k=2)
    >>> clf.get_params()["k"]
    2
    >>> texts, labels = ["Lovely, fits well", "Broke after a day"], ["positive", "negative"]
    >>> clf.fit(texts, labels).predict(["Stopped working within a week"])  # doctest: +SKIP
    array(['negative'], dtype='<U8')
    >>> print(clf.explain("Stopped working within a week"))  # doctest: +SKIP

    Without a model, the experts answer alone:

    >>> FewShotClassifier(engine=None).fit(texts, labels).predict(["It broke"]).tolist()
    ['negative']
    """

    task: str | Path | TaskCard = "review_sentiment"
    profile: str | Path | Profile | None = field(default=None, kw_only=True)

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
        **refused: Any,
    ) -> Self:
        """Store and index the labelled examples, open the engine, and calibrate on leave-one-out
        readings of some examples.

        Args:
            X: rows with ``y``; or a table with a label column; or ``Example`` objects; or a
                ``Pool``. An empty list without ``y`` is zero-shot.
            y: labels, one per row.
            progress: called with the progress (:mod:`ecomfs.core.progress`); ``True``: show it;
                ``None``: show it in notebooks only.

        Raises:
            InputError: see :func:`ecomfs.estimators.inputs.given_examples`.
            ConfigError: a guarantee that cannot be fitted, such as without examples.
            EngineError: the engine cannot be opened.
            ArgumentError: an argument that ``fit`` does not take, such as ``sample_weight``.
        """
        self._check_fit_arguments(X, y, refused)
        card, options, plan = self._card(), self._options(), self._plan()
        task = card.name if isinstance(self.task, TaskCard) else self.task
        # Errors that need no model are found before it is loaded.
        if card.multi_label:
            raise ConfigError(
                f"task {card.name!r} has several labels per row", hint="use MultiLabelClassifier"
            )
        check_templates(card, options, task)
        header = columns(X)
        if isinstance(X, Pool):
            pool, labels = X, LabelReading(card, InputLabels())
        else:
            examples, given = given_examples(X, y, card, fields=self.fields)
            labels = LabelReading.of(
                card, given, self.label_names, by_position=numbered_by_sklearn(y)
            )
            pool = Pool.in_memory(labels.of_examples(examples))
        card = labels.card
        version, stored = pool.snapshot()
        LabelSpace.resolve(card, (e.label for e in stored))
        with showing(progress) as report:
            if self.engine not in (None, NO_MODEL):
                report(LOADING)
            embedder = self._open_embedder(self.embedder)
            pipeline, options, profile = fit_pipeline(
                card,
                stored,
                self._open_engine(),
                embedder,
                options,
                plan,
                task=task,
                pool_version=version,
                progress=report,
            )
        # Replace the fitted state only now, all at once: a service may still be using the old one.
        with self._process_lock():
            self.pool_, self.profile_ = pool, profile
            self._embedder, self._built_with, self._task = self.embedder, options, task
            self._labels = labels
            self._set_feature_names(header, labelled=y is None)
            self._adopt(pipeline)
        return self

    def _refit(self, before: Pipeline) -> None:
        embedder = self._open_embedder(self._embedder)
        self._adopt(refreshed(before, self.pool_, embedder, self._built_with, self._task))

    def _adopt(self, pipeline: Pipeline) -> None:
        # By label in the label space, in the order of ``classes_``.
        self._classes = self._labels.given.classes(pipeline.space.names)
        self._kept = StoredPipeline.of(pipeline)
        self.classes_ = self._labels.given.array(list(self._classes.values()))
        self.meanings_ = {
            self._classes[label.name]: label.spec.name if label.spec else label.name
            for label in pipeline.space.labels
        }
        self._set_pipeline(pipeline)

    def _rebuild(self) -> Pipeline:
        return self._kept.pipeline(
            self.pool_,
            self._open_engine(),
            self._open_embedder(self._embedder),
            self._built_with,
            self._task,
        )

    def classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> list[Prediction]:
        """One :class:`Prediction` per row, in order, with status, error and demonstrations;
        ``progress`` as in :meth:`fit`."""
        return event_loop.run(self._classify(X, ids, progress))

    async def _classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None,
        progress: Progress | bool | None = None,
    ) -> list[Prediction]:
        # Embedding new examples takes CPU time, so it runs outside the event loop.
        pipeline = await asyncio.to_thread(self.refresh)
        rows = as_rows(X, pipeline.card, self.fields)
        with showing(progress) as report:
            return await pipeline.classify(rows, row_ids(rows, ids), progress=report)

    def explain(self, row: str | Row, *, influence: bool = False) -> Explanation:
        """How one row is classified: demonstrations, prompt, and each step from the reading to the
        prediction. The model reads the row even if it could not change the label, but not if it
        could and ``max_loss`` lets the experts answer.

        Args:
            influence: also read the row once without each demonstration (in one engine call), to
                see which of them changed the answer.
        """
        pipeline = self.refresh()
        rows = as_rows(cast(Rows, [row]), pipeline.card, self.fields)
        [(case, posterior, prediction)] = event_loop.run(pipeline.trace(rows, ["row"]))
        if case.unread == DECIDED:
            # Without the cascade the label is the same, and all steps are shown.
            pipeline = replace(pipeline, cascade=False)
            [(case, posterior, prediction)] = event_loop.run(pipeline.trace(rows, ["row"]))
        moved = None
        if influence:
            moved = event_loop.run(influences(pipeline, rows[0], case, posterior, prediction))
        names = pipeline.space.names
        said = facts(pipeline, rows[0], case)
        return Explanation(case, posterior, prediction, names, influences=moved, facts=said)

    def _plan(self) -> FitPlan:
        profile = self.profile
        guarantees = Guarantees(
            self.fusion, self.max_loss, self.precision, self.coverage, self.novel_below
        )
        return FitPlan(
            guarantees,
            self.calibration_size,
            self.tune,
            profile=Profile.load(profile) if isinstance(profile, str | Path) else profile,
        )

    def _text_of(self, label: Any, where: str) -> str | None:
        """The spelling in the pool of a label that the caller gave; ``None``: missing."""
        return self._labels.text(label_text(label, where))

    def _pool_label(self, text: str) -> str | None:
        return self.pipeline_.space.true_label(self._labels.text(text))
