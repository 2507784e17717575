"""MultiLabelClassifier: every row may have several labels, or none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from ecomfs.estimators.base import Estimator, weighted_mean
from ecomfs.estimators.inputs import (
    Examples,
    Rows,
    as_labelled,
    as_rows,
    as_sets,
    columns,
    label_space,
)
from ecomfs.estimators.multilabel.explain import MultiLabelExplanation, explanation
from ecomfs.estimators.multilabel.fit import (
    LabelThreshold,
    MultiLabelProfile,
    fit_acceptance,
    fit_thresholds,
)
from ecomfs.estimators.multilabel.pipeline import MultiLabelPipeline, YesNoSetup
from ecomfs.estimators.multilabel.prompts import label_prompts
from ecomfs.fit import NEVER, ProfileWarning
from ecomfs.fit.guarantees import require_fit
from ecomfs.pipeline import (
    ANSWER_TOKENS,
    Options,
    build_retriever,
    prompt_languages,
    same_engine,
)
from ecomfs.pool import Pool, real_examples, sample_queries
from ecomfs.readout import words
from ecomfs.screen import Mask, Screen
from ecomfs.task import LabelSpace, MultiLabelSpace, TaskCard, read_labels
from ecomfs.task.cells import SEPARATOR
from ecomfs.types import Example, Language, Row

MOST = 32
"""Most demonstrations that ``k=None`` shows."""


@dataclass(frozen=True, slots=True)
class _StoredState:
    """The fitted state without the engine: it can be pickled."""

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

    def rows(self, engine: Engine, progress: Progress = silent) -> MultiLabelPipeline:
        """The fitted pipeline."""
        card, labels, options = self.card, self.labels, self.options
        embedder = Estimator._open_embedder(self.embedder)
        mask, examples = Mask.of(options.mask), self.examples
        if mask is not None:
            examples = mask.examples(examples, card)
        in_words, retriever = build_retriever(card, examples, embedder, options, progress=progress)
        if retriever is None and not has_model(engine):
            raise ConfigError(
                "no model (--engine none) and no labelled examples: rows cannot be classified",
                hint="give labelled examples (--examples), or name a model: --engine auto",
            )
        asked = prompt_languages(card, options)
        prompted = asked if has_model(engine) else ()
        setups = {
            language: YesNoSetup.of(
                label_prompts(
                    card, labels, words(labels, language).answers, self.by_id(), language, in_words
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
        return MultiLabelPipeline(
            card=card,
            space=MultiLabelSpace(labels.labels, card.label_separator or SEPARATOR),
            engine=engine,
            rows=in_words,
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
        """Example id → positions of its labels."""
        return {e.id: own for e, own in zip(self.examples, self.sets, strict=True)}

    def fitted(self, rows: MultiLabelPipeline) -> _StoredState:
        """A copy with the fitted parameters of a pipeline."""

        return replace(
            self,
            fingerprint=rows.engine.fingerprint,
            calibrations={lang: s.calibration for lang, s in rows.setups.items()},
            blend=rows.blend,
        )


@documented
@dataclass(eq=False, repr=False)
class MultiLabelClassifier(CommonOptions, Estimator[MultiLabelPipeline]):
    """Finds the labels of each row by one yes/no reading per label.

    The prompts of a row differ only in their last line, which names the label. All labels of all
    rows are read in one batch. The demonstrations are similar to the row and, as far as ``k``
    allows, show every label, with equally many examples that have it and that lack it. One
    calibration is fitted for all labels. Without a model (``engine=None``) the neighbours' vote on
    each label is the answer. Each label has its own threshold: the one with the best leave-one-out
    F1, shrunk towards 0.5 if few examples have the label.

    ``k=None`` is the task's default, raised to one per label, at most 32. With a
    ``calibration_size`` of 0 every threshold is 0.5, and the model is not fused with the vote.
    ``precision`` guarantees the share of rows with exactly the right labels among those that do
    not abstain. It applies to tables and services; ``predict`` and ``classify`` never abstain.

    Parameters
    ----------
    task : str, Path or TaskCard, default "customer_intent"
        Task name, path of a task folder, or a card. A closed label space has the card's labels.
    {options}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels as given, sorted by NumPy; the columns of ``predict_proba``.
    thresholds_ : dict
        Label → :class:`~ecomfs.estimators.multilabel.fit.LabelThreshold`.
    engine_ : Engine
        The open engine.
    notes_ : tuple of str
        Notes of the fit, one line each.
    pool_ : Pool
        The labelled examples.
    profile_ : MultiLabelProfile or None
        The fitted parameters (``profile_.save(path)``); ``None`` if nothing was fitted.

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
    profile: str | Path | MultiLabelProfile | None = field(default=None, kw_only=True)

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
                ``Pool`` with such labels. Changes of a pool take effect at the next
                :meth:`refresh`, which tables and services call.
            y: the labels of each row, see :func:`ecomfs.task.read_labels`.
            progress: as in :meth:`FewShotClassifier.fit`.

        Raises:
            InputError: rows and labels differ in number, an empty cell (write ``[]`` for a row
                without labels), or a label that a closed task does not have.
            ConfigError: only one label; neither a model nor examples; or ``precision`` cannot be
                fitted.
            PoolError: no example has a label, and the task names none.
            EngineError: the engine cannot be opened.
            ArgumentError: an argument that ``fit`` does not take, such as ``sample_weight``.
        """
        self._check_fit_arguments(X, y, refused)
        card, options = self._card(), self._options()
        header = columns(X)
        version, examples, cells, given = as_labelled(X, y, card, self.fields)
        labels, sets = label_space(card, examples, cells)
        profile = self.profile
        if isinstance(profile, str | Path):
            profile = MultiLabelProfile.load(profile)
        require_fit(
            {"precision": self.precision},
            min(self.calibration_size, len(real_examples(examples))),
            None if profile is None else profile.guarantees,
        )
        kept = _StoredState(card, examples, labels, sets, options, self.embedder, self.fusion)
        with showing(progress) as report:
            if self.engine not in (None, NO_MODEL):
                report(LOADING)
            rows = kept.rows(self._open_engine(), report)
        notes: tuple[str, ...] = ()
        if profile is not None:
            fresh, (rows, thresholds) = rows, profile.applied(rows)
            for difference in profile.differences(fresh, examples):
                warnings.warn(f"profile: {difference}; fit again", ProfileWarning, stacklevel=2)
        else:
            with showing(progress) as report:
                rows, thresholds, notes, profile = self._fitted(kept, rows, report)
        with self._process_lock():
            self._kept, self.thresholds_, self.notes_ = kept.fitted(rows), thresholds, notes
            self.profile_ = profile
            self.pool_ = X if isinstance(X, Pool) else Pool.in_memory(examples)
            self.pool_version_ = version or self.pool_.version
            self._classes = given.classes(labels.names)
            self.classes_ = given.array(list(self._classes.values()))
            self._set_feature_names(header, labelled=y is None)
            self._set_pipeline(self._complete(rows))
        return self

    def _fitted(
        self, kept: _StoredState, rows: MultiLabelPipeline, progress: Progress
    ) -> tuple[
        MultiLabelPipeline, dict[str, LabelThreshold], tuple[str, ...], MultiLabelProfile | None
    ]:
        examples = kept.examples
        chosen = sample_queries(examples, self.calibration_size, self.seed)
        rows, thresholds, notes = event_loop.run(
            fit_thresholds(rows, chosen, kept.by_id(), progress)
        )
        accept: Threshold | None = None
        never = None if self.precision is None else NEVER
        if self.precision is not None:
            judged = self._guarantee_examples(examples)
            accept, missing = event_loop.run(
                fit_acceptance(rows, judged, kept.by_id(), self.precision, progress)
            )
            notes = (*missing, *notes)
        if not chosen:
            return rows, thresholds, notes, None
        made = MultiLabelProfile.of(
            rows,
            examples,
            thresholds,
            accept_from=never if accept is None else accept.value,
            guarantees={"precision": self.precision},
            found={"notes": notes, "accept": None if accept is None else asdict(accept)},
        )
        return rows, thresholds, notes, made

    def _complete(self, rows: MultiLabelPipeline) -> MultiLabelPipeline:
        """The pipeline with the fitted parameters that the classifier holds."""
        values = {name: threshold.value for name, threshold in self.thresholds_.items()}
        accept = None if self.profile_ is None else self.profile_.accept_from
        return replace(
            rows,
            thresholds=values,
            accept_from=accept,
            facts={"kept": self._kept, "thresholds": values, "accept": accept, "k": rows.k},
            pool_version=self.pool_version_,
        )

    def _rebuild(self) -> MultiLabelPipeline:
        return self._complete(self._kept.rows(self._open_engine()))

    def _prepare_rows(self, X: Rows, ids: Sequence[str] | None) -> tuple[Any, Sequence[Any]]:  # noqa: N803
        answers, states = super()._prepare_rows(X, ids)
        return replace(answers, accept_from=None), states  # no row abstains

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """The labels of each row as a frozenset, shape (n,), dtype object; ``None`` for a failed
        row."""
        found = self.classify(X)
        out = np.empty(len(found), dtype=object)
        given = self._classes
        out[:] = [
            None if p.labels is None else frozenset(given[n] for n in p.labels) for p in found
        ]
        return out

    def score(self, X: Rows, y: Iterable[Any], sample_weight: Any = None) -> float:  # noqa: N803
        """Subset accuracy: the share of rows with exactly the right labels (scikit-learn's
        ``accuracy_score`` for sets); failed rows count as wrong. True labels are read as in
        ``fit``: an alias of the task is the label that it stands for."""
        truth = [set(read_labels(own, f"row {at}")) for at, own in enumerate(as_sets(y, "row"))]
        found = self.classify(X)
        if len(truth) != len(found):
            raise InputError(f"{len(found)} rows but {len(truth)} sets of labels")
        space = self.pipeline_.space
        named = [
            {label if (at := space.index(label)) is None else space.names[at] for label in own}
            for own in truth
        ]
        right = [
            p.labels is not None and {*p.labels} == own for p, own in zip(found, named, strict=True)
        ]
        return weighted_mean(right, sample_weight)

    def explain(self, row: str | Row) -> MultiLabelExplanation:
        """How one row is classified: demonstrations, prompt, and for each label the reading, the
        votes, the probability and the threshold.

        Raises:
            NotFittedError: before ``fit``.
        """
        answers = self._current()
        rows = as_rows(cast(Rows, [row]), answers.card, self.fields)
        [(asked, read)] = event_loop.run(answers.read(rows, ["row"]))
        return explanation(answers, asked, read)


__all__ = ["MOST", "MultiLabelClassifier"]
