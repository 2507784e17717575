"""Hierarchical classification: first the parent, then the children of the likeliest parents.

    row ─ level one ─▶ P(parent) ─ beam ─▶ level two, of each parent in it ─▶ P(child | parent)
                                                          P(leaf) = P(parent) · P(child | parent)

Each level is a :class:`~ecomfs.estimators.FewShotClassifier` with few labels, so that a prompt can
list them and demonstrations can cover them. All levels share one engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from ecomfs.calibration import DecisionPolicy
from ecomfs.core import event_loop
from ecomfs.core.options import NO_MODEL, TaxonomyOptions, documented
from ecomfs.core.progress import Progress, showing, within
from ecomfs.errors import ConfigError
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.estimators.inputs import (
    Examples,
    Rows,
    as_rows,
    columns,
    given_examples,
)
from ecomfs.estimators.one_label import OneLabelClassifier
from ecomfs.estimators.taxonomy.pipeline import TaxonomyPipeline, level_readings
from ecomfs.estimators.taxonomy.report import TaxonomyExplanation, TaxonomyProfile
from ecomfs.estimators.taxonomy.tree import Branch, beam_of, combine, group_by_parent
from ecomfs.fit import Guarantees
from ecomfs.fit.guarantees import require_fit
from ecomfs.pool import Pool, real_examples
from ecomfs.task import HierarchySpace, InputLabels, TaskCard
from ecomfs.types import Example, Row


@documented
@dataclass(eq=False, repr=False)
class TaxonomyClassifier(TaxonomyOptions, OneLabelClassifier[TaxonomyPipeline]):
    """Classifies rows into a taxonomy of two levels.

    Level one classifies the parent; level two, for each row, the children of the ``beam`` likeliest
    parents. The probabilities of both levels are multiplied. A parent outside the beam keeps its
    probability, which is spread over its children by their shares in the pool. An only child gets
    all of its parent's probability without a reading.

    ``calibration_size`` and ``tune`` are readings for level one, and again for level two, where the
    parents share them evenly (at least 8 leave-one-out readings each). The part of a label after
    the first ``separator`` is the child; spaces around it are ignored.

    ``precision`` and ``coverage`` are guarantees for whole labels: they need up to
    ``calibration_size`` more examples, classified leave-one-out by both levels. A row abstains if
    its p-value of belonging to one of the parents is below ``novel_below``.

    The ``stages`` of a prediction are the distributions after level one (children by their shares
    in the pool) and after level two. A row that fails at either level fails as a whole.

    Parameters
    ----------
    task : str, Path or TaskCard, default "product_category"
        A task with an open label space: name, folder or card.
    {options}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Whole labels, sorted by NumPy; the columns of ``predict_proba``.
    branches_ : tuple of Branch
        The parents, in the order of their first example.
    root_ : FewShotClassifier or None
        The classifier of level one; ``None`` if there is only one parent.
    engine_ : Engine
        The open engine of both levels.
    pool_ : Pool
        The labelled examples.
    profile_ : TaxonomyProfile or None
        The fitted parameters (``profile_.save(path)``); ``None`` if nothing was fitted.
    notes_ : tuple of str
        Notes of the fit, one line each.

    Examples
    --------
    Reads the packaged demo model:

    >>> from ecomfs import TaxonomyClassifier
    >>> clf = TaxonomyClassifier("product_category", beam=1)
    >>> clf.get_params()["beam"]
    1
    >>> titles = ["Phone with two cameras", "Zoom camera", "Brass desk lamp"]
    >>> labels = ["Electronics > Phones", "Electronics > Cameras", "Home > Lamps"]
    >>> clf.fit(titles, labels).predict(["desk light with USB port"])  # doctest: +SKIP
    array(['Home > Lamps'], dtype='<U21')
    """

    task: str | Path | TaskCard = "product_category"
    profile: str | Path | TaxonomyProfile | None = field(default=None, kw_only=True)

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
        **refused: Any,
    ) -> Self:
        """Store the labelled examples and fit both levels.

        Args:
            X, y: as in :meth:`FewShotClassifier.fit`, with whole labels. Changes of a pool take
                effect at the next :meth:`refresh`, which tables and services call.
            progress: as in :meth:`FewShotClassifier.fit`; phases are named after the level.

        Raises:
            UnknownLabelError: an example is labelled with only a parent or only a child.
            PoolError: there are no examples, or all have one label.
            ConfigError: the task's label space is closed; or a guarantee cannot be fitted.
            InputError, EngineError, ArgumentError: as in :meth:`FewShotClassifier.fit`.
        """
        self._check_fit_arguments(X, y, refused)
        card, _ = self._card(), self._options()
        if not self.separator.strip():
            raise ConfigError("the separator is empty", hint="use a separator such as '>'")
        if card.label_space == "closed":
            raise ConfigError(
                f"task {card.name!r} has a closed label space, which has no parents",
                hint="use a task with label_space: open",
            )
        header, given = columns(X), InputLabels()
        if isinstance(X, Pool):
            pool = X
        else:
            examples, given = given_examples(X, y, card, fields=self.fields)
            pool = Pool.in_memory(examples)
        version, examples = pool.snapshot()
        grouped = group_by_parent(examples, self.separator)
        # Rows and examples have the card's field names from here on.
        own_only = ("separator", "beam", "fields", *_WHOLE)
        shared = {n: v for n, v in self.get_params(deep=False).items() if n not in own_only}
        # The probabilities of both levels are multiplied: a label alone is not enough.
        shared["cascade"] = False
        several = [b for b, _ in grouped if len(b.leaves) > 1]
        root = None
        below = {**shared, **self._spending(len(several))}
        profile = self.profile
        if isinstance(profile, str | Path):
            profile = TaxonomyProfile.load(profile)
        self._check_guarantees(grouped, examples, profile)
        branches = []
        with showing(progress) as report:
            if len(grouped) > 1:
                level = {**shared, "novel_below": None if profile else self.novel_below}
                root = FewShotClassifier(**{**level, **_kept(profile, None)})
                parent = {e.id: branch.name for branch, own in grouped for e in own}
                root.fit(
                    [replace(e, label=parent[e.id]) for e in examples],
                    progress=within(report, "parents"),
                )
            for branch, own in grouped:
                if len(branch.leaves) > 1:
                    classifier = FewShotClassifier(**{**below, **_kept(profile, branch.name)})
                    classifier.fit(own, progress=within(report, branch.name))
                    branch = replace(branch, classifier=classifier)
                branches.append(branch)
        rows = self._rows(card, branches, root, version)
        with showing(progress) as report:
            policy, made = self._guaranteed(rows, examples, root, profile, report)
        with self._process_lock():
            self._policy, self.profile_, self.pool_ = policy, made, pool
            self.card_, self.pool_version_ = card, version
            self.root_: FewShotClassifier | None = root
            self.branches_ = tuple(branches)
            self._classes = given.classes(rows.space.names)
            self.classes_ = given.array(list(self._classes.values()))
            self._set_feature_names(header, labelled=y is None)
        return self

    def _check_guarantees(
        self,
        grouped: Sequence[tuple[Branch, list[Example]]],
        examples: Sequence[Example],
        profile: TaxonomyProfile | None,
    ) -> None:
        """Refuse guarantees that cannot be fitted, before anything is read."""
        wanted = {name: getattr(self, name) for name in _WHOLE if name != "profile"}
        readings = min(self.calibration_size, len(real_examples(examples)))
        require_fit(wanted, readings, None if profile is None else profile.guarantees)
        if self.novel_below is not None and len(grouped) == 1:
            raise ConfigError(
                f"novel_below = {self.novel_below} with the only parent {grouped[0][0].name!r}: "
                "it finds rows that belong to none of several parents",
                hint="leave it out, or add examples of another parent",
            )

    def _guaranteed(
        self,
        rows: TaxonomyPipeline,
        examples: Sequence[Example],
        root: FewShotClassifier | None,
        profile: TaxonomyProfile | None,
        progress: Progress,
    ) -> tuple[DecisionPolicy, TaxonomyProfile | None]:
        """The thresholds for whole labels, and the profile; taken from the given profile, if
        any."""
        if profile is not None:
            _require_same_answers(profile, rows)
            kept = DecisionPolicy(accept_from=profile.accept_from, set_from=profile.set_from)
            return kept, profile
        wanted = Guarantees(precision=self.precision, coverage=self.coverage)
        found: dict[str, Any] = {}
        if self.precision is not None or self.coverage is not None:
            chosen = self._guarantee_examples(examples)
            answers = event_loop.run(rows.left_out(chosen, within(progress, "guarantees")))
            rows, found = rows.guaranteed(answers, chosen, wanted)
        if self.calibration_size < 1:
            return rows.policy, None
        named = {b.name: b.classifier.profile_ for b in rows.branches if b.classifier}
        return rows.policy, TaxonomyProfile(
            task=rows.card.name,
            separator=self.separator,
            parents=None if root is None else root.profile_,
            children={name: made for name, made in named.items() if made is not None},
            accept_from=rows.policy.accept_from,
            set_from=rows.policy.set_from,
            guarantees={name: getattr(self, name) for name in _WHOLE if name != "profile"},
            found=found,
        )

    def _rows(
        self,
        card: TaskCard,
        branches: Sequence[Branch],
        root: FewShotClassifier | None,
        version: int,
    ) -> TaxonomyPipeline:
        """The pipeline of both levels."""
        return TaxonomyPipeline(
            card,
            HierarchySpace([leaf for b in branches for leaf in b.leaves], self.separator),
            tuple(branches),
            None if root is None else root.pipeline_,
            {at: b.classifier.pipeline_ for at, b in enumerate(branches) if b.classifier},
            self.beam,
            version,
        )

    def _current(self) -> TaxonomyPipeline:
        self._check_fitted()
        rows = self._rows(self.card_, self.branches_, self.root_, self.pool_version_)
        return replace(rows, policy=self._policy)

    def _pool_label(self, text: str) -> str | None:
        return self.pipeline_.space.true_label(text)

    @property
    def notes_(self) -> tuple[str, ...]:
        """Notes of the fit, one line each."""
        made = self.profile_
        if made is None:
            return ()
        named = {"": made.parents, **made.children}
        found = [
            f"{name}: {note}" if name else note
            for name, profile in named.items()
            if profile is not None
            for note in profile.found["notes"]
        ]
        return tuple(dict.fromkeys([*made.found.get("notes", ()), *found]))

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters; an engine is also set on the classifiers of both
        levels."""
        super().set_params(**params)
        if "engine" in params and self.__sklearn_is_fitted__():
            for classifier in (self.root_, *(branch.classifier for branch in self.branches_)):
                if classifier is not None:
                    classifier.set_params(engine=self.engine)
        return self

    def _spending(self, parents: int) -> dict[str, int]:
        return {
            "calibration_size": level_readings(self.calibration_size, parents),
            "tune": self.tune // max(parents, 1),
        }

    def explain(self, row: str | Row) -> TaxonomyExplanation:
        """How one row is classified: the explanations of level one and of each parent in the beam.

        Raises:
            NotFittedError: before ``fit``.
        """
        self._check_fitted()
        [fields] = as_rows(cast(Rows, [row]), self.card_, self.fields)
        root = None if self.root_ is None else self.root_.explain(fields)
        top = None if root is None else root.prediction
        beam = beam_of(top, self.branches_, self.beam)
        below = {
            at: branch.classifier.explain(fields)
            for at, branch in enumerate(self.branches_)
            if at in beam and branch.classifier is not None
        }
        whole = combine(self.branches_, top, {at: e.prediction for at, e in below.items()})
        decided = self.pipeline_.decided(whole)
        return TaxonomyExplanation(
            replace(decided, pool_version=self.pool_version_),
            root,
            {self.branches_[at].name: found for at, found in below.items()},
        )


_WHOLE = ("precision", "coverage", "novel_below", "profile")
"""Options of the taxonomy that its levels do not have."""


def _require_same_answers(profile: TaxonomyProfile, rows: TaxonomyPipeline) -> None:
    """Refuse guarantees of answers with a model for answers without one. (The profiles of the
    levels refuse the reverse.)"""
    levels = (profile.parents, *profile.children.values())
    with_model = any(p is not None and p.fitted_on.engine != NO_MODEL for p in levels)
    for name in ("precision", "coverage"):
        value = profile.guarantees.get(name)
        if with_model and not rows.has_model and value is not None:
            raise ConfigError(
                f"the profile guarantees {name} = {value} for answers with the model, which does "
                "not hold without it (--engine none)",
                hint="fit again: ecomfs fit --engine none",
            )


def _kept(profile: TaxonomyProfile | None, parent: str | None) -> dict[str, Any]:
    """The fit options of a level when a profile is given: its profile, or no fit."""
    if profile is None:
        return {}
    own = profile.parents if parent is None else profile.children.get(parent)
    return {"calibration_size": 0, "tune": 0} if own is None else {"profile": own}


__all__ = ["TaxonomyClassifier"]
