"""MultiLabelClassifier: every row may have several labels, or none."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import Blend, Calibration, Threshold
from ecomfs.core import event_loop
from ecomfs.core.options import NO_MODEL, CommonOptions, documented
from ecomfs.core.progress import LOADING, Progress, showing, silent
from ecomfs.embed import Embedder
from ecomfs.engine.protocol import Engine, has_model
from ecomfs.errors import ConfigError, InputError
from ecomfs.estimators.answers import weighted_mean
from ecomfs.estimators.base import Estimator
from ecomfs.estimators.following import PoolFollower
from ecomfs.estimators.inputs import Examples, Rows, as_rows, columns, refuse_other_labels, row_ids
from ecomfs.estimators.multilabel.examples import as_labelled, as_sets, label_space
from ecomfs.estimators.multilabel.explain import MultiLabelExplanation, explanation
from ecomfs.estimators.multilabel.fit import fit_acceptance, fit_thresholds
from ecomfs.estimators.multilabel.prediction import MultiLabelPrediction, answer
from ecomfs.estimators.multilabel.profile import MultiLabelProfile
from ecomfs.estimators.multilabel.prompts import label_prompts
from ecomfs.estimators.multilabel.reader import Reader, YesNoSetup
from ecomfs.estimators.multilabel.rows import MultiLabelRows
from ecomfs.estimators.multilabel.threshold import LabelThreshold
from ecomfs.fit import NEVER, ProfileWarning
from ecomfs.pipeline import (
    ANSWER_TOKENS,
    Options,
    build_retriever,
    prompt_languages,
    same_engine,
)
from ecomfs.pool import Pool, sample_queries
from ecomfs.readout import words
from ecomfs.screen import Mask, Screen
from ecomfs.task import LabelSpace, TaskCard, label_text, read_labels
from ecomfs.types import Example, Language, Row

MOST = 32
"""Most demonstrations that ``k=None`` shows."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a reader is made of, without what belongs to one process: it can be stored."""

    card: TaskCard
    examples: list[Example]
    labels: LabelSpace
    sets: list[frozenset[int]]
    options: Options
    embedder: str | Embedder
    votes: bool
    fingerprint: str = ""
    calibrations: Mapping[Language, Calibration | None] | None = None
    blend: Blend | None = None

    def reader(self, engine: Engine, progress: Progress = silent) -> Reader:
        """The reader, with what was fitted."""
        card, labels, options = self.card, self.labels, self.options
        embedder = Estimator._own_embedder(self.embedder)
        mask, examples = Mask.of(options.mask), self.examples
        if mask is not None:
            examples = mask.examples(examples, card)
        rows, retriever = build_retriever(card, examples, embedder, options, progress=progress)
        if retriever is None and not has_model(engine):
            raise ConfigError(
                "no model (--engine none) and no labelled examples: nothing can answer",
                hint="give labelled examples (--examples), or name a model: --engine auto",
            )
        asked = prompt_languages(card, options)
        prompted = asked if has_model(engine) else ()
        setups = {
            language: YesNoSetup.of(
                label_prompts(
                    card, labels, words(labels, language).answers, self.by_id(), language, rows
                ),
                engine,
            )
            for language in prompted
        }
        if self.calibrations is not None:
            same_engine(engine, self.fingerprint)
            setups = {
                language: replace(setup, calibration=self.calibrations[language])
                for language, setup in setups.items()
            }
        k, limit = options.k, engine.capabilities.context_tokens - ANSWER_TOKENS
        return Reader(
            card=card,
            labels=labels,
            engine=engine,
            rows=rows,
            retriever=retriever,
            sets=tuple(self.sets),
            k=max(card.default_k, min(len(labels), MOST)) if k is None else k,
            budget=limit if options.budget is None else min(options.budget, limit),
            setups=setups,
            language=asked[0] if len(asked) == 1 else None,
            votes=self.votes or not has_model(engine),
            blend=self.blend,
            screen=Screen.of(card, labels, examples, mask=mask),
        )

    def by_id(self) -> dict[str, frozenset[int]]:
        """Labels of each example."""
        return {e.id: own for e, own in zip(self.examples, self.sets, strict=True)}

    def fitted(self, reader: Reader) -> _Kept:
        """With what was fitted."""
        return replace(
            self,
            fingerprint=reader.engine.fingerprint,
            calibrations={lang: s.calibration for lang, s in reader.setups.items()},
            blend=reader.blend,
        )


@documented
@dataclass(eq=False, repr=False)
class MultiLabelClassifier(CommonOptions, PoolFollower[MultiLabelRows]):
    """Finds the labels of each row by one yes/no reading per label.

    The prompts of a row differ in their last line only, where the label is, and all labels of all
    rows are read in one batch. The demonstrations are similar to the row and, as far as ``k``
    allows, show every label, with as many examples that have it as examples that lack it. The
    readings are calibrated together. Without a model (``engine=None``) the neighbours' vote on each
    label answers alone. Each label has a threshold of its own: the best F1
    leave-one-out, shrunk towards 0.5 where few examples have the label.

    ``k=None`` is the task's default and at least one per label, up to 32. With a
    ``calibration_size`` of 0 every threshold is 0.5, and the model is not fused. ``precision`` is
    a guarantee for whole rows: of those that do not abstain, so many have exactly the right
    labels. Tables and services keep it; ``predict`` and ``classify`` give every row its labels.

    Parameters
    ----------
    task : str, Path or TaskCard, default "customer_intent"
        Task name, path of a task folder, or a card. With a closed label space the labels are the
        card's.
    {options}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels as they were given, in NumPy's order; the columns of ``predict_proba``.
    thresholds_ : dict
        Label → :class:`~ecomfs.estimators.multilabel.threshold.LabelThreshold`.
    engine_ : Engine
        The open engine.
    notes_ : tuple of str
        Notes of the fit, one line each.
    pool_ : Pool
        The labelled examples.
    profile_ : MultiLabelProfile or None
        What was fitted (``profile_.save(path)``); ``None`` when nothing was.

    Examples
    --------
    Reads the packaged demo model:

    >>> from ecomfs import MultiLabelClassifier
    >>> clf = MultiLabelClassifier("customer_intent")
    >>> clf.get_params()["fusion"]
    True
    >>> rows = ["Where is my parcel?", "I want my money back", "It is late, refund me"]
    >>> clf.fit(rows, [{"track order"}, {"refund"}, {"track order", "refund"}])  # doctest: +SKIP
    >>> clf.predict(["Cancel it, and send me the invoice"])  # doctest: +SKIP
    """

    task: str | Path | TaskCard = "customer_intent"
    profile: str | Path | MultiLabelProfile | None = None

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
        **refused: Any,
    ) -> Self:
        """Store the labelled examples and find each label's threshold.

        Args:
            X: rows with ``y``; or a DataFrame with a label column; or ``Example`` objects or a
                ``Pool`` whose labels are such cells. Changes of a pool count from the next
                :meth:`refresh` on, as tables and services call it.
            y: the labels of each row, see :func:`ecomfs.task.read_labels`.
            progress: as for :meth:`FewShotClassifier.fit`.

        Raises:
            InputError: rows and labels differ in number, an empty cell (``[]`` is a row with none
                of the labels), a label that a closed task does not know.
            ConfigError: only one label; neither a model nor examples.
            PoolError: no example has any label, and the task names none.
            EngineError: the engine cannot be opened.
            ArgumentError: an argument that fit does not take, such as ``sample_weight``.
        """
        self._refuse(refused)
        refuse_other_labels(X, y)
        card, options = self._card(), self._options()
        header = columns(X)
        version, examples, cells, given = as_labelled(X, y, card, self.fields)
        labels, sets = label_space(card, examples, cells)
        kept = _Kept(card, examples, labels, sets, options, self.embedder, self.fusion)
        with showing(progress) as report:
            if self.engine not in (None, NO_MODEL):
                report(LOADING)
            reader = kept.reader(self._own_engine(), report)
        profile = self.profile
        if isinstance(profile, str | Path):
            profile = MultiLabelProfile.load(profile)
        made: MultiLabelProfile | None = profile
        if profile is not None:
            reader, thresholds, notes = _as_profiled(kept, reader, profile)
        else:
            with showing(progress) as report:
                reader, thresholds, notes, made = self._fitted(kept, reader, report)
        with self._turn():
            self._kept, self.thresholds_, self.notes_ = kept.fitted(reader), thresholds, notes
            self.profile_, self.pool_ = made, X if isinstance(X, Pool) else Pool.in_memory(examples)
            self.pool_version_ = version or self.pool_.version
            self._classes = given.classes(labels.names)
            self.classes_ = given.array(list(self._classes.values()))
            self._features(header, labelled=y is None)
            self._work_with(reader)
        return self

    def _fitted(
        self, kept: _Kept, reader: Reader, progress: Progress
    ) -> tuple[Reader, dict[str, LabelThreshold], tuple[str, ...], MultiLabelProfile | None]:
        examples, size = kept.examples, self.calibration_size
        chosen = sample_queries(examples, size, self.seed)
        reader, thresholds, notes = event_loop.run(
            fit_thresholds(reader, chosen, kept.by_id(), progress)
        )
        accept: Threshold | None = None
        never = None if self.precision is None else NEVER
        if self.precision is not None:
            # Of examples that thresholds were not chosen on, where there are enough of them.
            read = {e.id for e in chosen}
            unread = [e for e in examples if e.id not in read]
            judged = sample_queries(unread if len(unread) >= size else examples, size, self.seed)
            values = {name: t.value for name, t in thresholds.items()}
            rows = MultiLabelRows(reader, values, None, {})
            accept, missing = event_loop.run(
                fit_acceptance(rows, judged, kept.by_id(), self.precision, progress)
            )
            notes = (*missing, *notes)
        if not chosen:
            return reader, thresholds, notes, None
        made = MultiLabelProfile.of(
            reader,
            examples,
            thresholds,
            accept_from=never if accept is None else accept.value,
            guarantees={"precision": self.precision},
            found={"notes": notes, "accept": None if accept is None else asdict(accept)},
        )
        return reader, thresholds, notes, made

    def _answers(self) -> MultiLabelRows:
        reader = cast(Reader, self._at_work())
        values = {name: threshold.value for name, threshold in self.thresholds_.items()}
        accept = None if self.profile_ is None else self.profile_.accept_from
        facts = {"kept": self._kept, "thresholds": values, "accept": accept, "k": reader.k}
        return MultiLabelRows(reader, values, accept, facts, self.pool_version_)

    @property
    def reader_(self) -> Reader:
        """Everything decided for this run, with the engine of this process."""
        return cast(Reader, self._at_work())

    @property
    def engine_(self) -> Engine:
        """The open engine."""
        return self.reader_.engine

    def _reopen(self) -> Reader:
        return self._kept.reader(self._own_engine())

    def classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[MultiLabelPrediction]:
        """One :class:`MultiLabelPrediction` a row, in order."""
        return event_loop.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[MultiLabelPrediction]:
        """:meth:`classify` for callers that have an event loop."""
        return await event_loop.run_async(self._classify(X, ids))

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """The labels of each row as a frozenset, shape (n,), dtype object; ``None`` for a row
        that could not be read."""
        found = self.classify(X)
        out = np.empty(len(found), dtype=object)
        given = self._classes
        out[:] = [
            None if p.labels is None else frozenset(given[n] for n in p.labels) for p in found
        ]
        return out

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each label by itself, shape (n, len(classes_)), columns in the order
        of ``classes_``; NaN for a row that could not be read."""
        found = self.classify(X)
        table = [[p.probabilities.get(name, np.nan) for name in self._classes] for p in found]
        return np.array(table, dtype=np.float64).reshape(len(found), len(self._classes))

    def score(self, X: Rows, y: Iterable[Any], sample_weight: Any = None) -> float:  # noqa: N803
        """Subset accuracy: the share of rows with exactly the right labels (scikit-learn's
        ``accuracy_score`` for sets); rows that could not be read count as wrong."""
        truth = [set(read_labels(own, f"row {at}")) for at, own in enumerate(as_sets(y, "row"))]
        found = self.classify(X)
        if len(truth) != len(found):
            raise InputError(f"{len(found)} rows but {len(truth)} sets of labels")
        text = {name: label_text(label) for name, label in self._classes.items()}
        right = [
            p.labels is not None and {text[name] for name in p.labels} == own
            for p, own in zip(found, truth, strict=True)
        ]
        return weighted_mean(right, sample_weight)

    def explain(self, row: str | Row) -> MultiLabelExplanation:
        """How one row is classified: demonstrations, prompt, and each label from its reading to
        its threshold.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        reader = cast(Reader, self._at_work())
        rows = as_rows(cast(Rows, [row]), reader.card, self.fields)
        [(asked, read)] = event_loop.run(reader.read(rows, ["row"]))
        values = {name: threshold.value for name, threshold in self.thresholds_.items()}
        return explanation(reader, asked, read, values)

    async def _classify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None,
    ) -> list[MultiLabelPrediction]:
        # Opening an engine, embedding and rendering are no work for the event loop.
        reader = await asyncio.to_thread(self._at_work)
        rows = await asyncio.to_thread(as_rows, X, reader.card, self.fields)
        values = {name: threshold.value for name, threshold in self.thresholds_.items()}
        return [
            replace(answer(reader, asked, read, values), pool_version=self.pool_version_)
            for asked, read in await reader.read(rows, row_ids(rows, ids))
        ]


def _as_profiled(
    kept: _Kept, reader: Reader, profile: MultiLabelProfile
) -> tuple[Reader, dict[str, LabelThreshold], tuple[str, ...]]:
    """What the profile holds, applied; what is no longer as it was is warned of."""
    for difference in profile.differences(reader, kept.examples):
        warnings.warn(f"profile: {difference}; fit again", ProfileWarning, stacklevel=3)
    calibrations = profile.calibrations()
    setups = {
        language: replace(setup, calibration=calibrations.get(language))
        for language, setup in reader.setups.items()
    }
    reader = replace(reader, setups=setups, blend=profile.own_blend())
    return reader, profile.own_thresholds(reader.labels.names), ()


__all__ = ["MOST", "MultiLabelClassifier"]
