"""The descent: level one over parents, level two over the children of the likeliest ones.

    row ─ level one ─▶ P(parent) ─ beam ─▶ level two, of each parent in it ─▶ P(child | parent)
                                                          P(leaf) = P(parent) · P(child | parent)

Each level is a :class:`~ecomfs.estimators.FewShotClassifier` with few labels, which a prompt can
list and demonstrations can cover, where one level would have too many. All share one engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from ecomfs.calibration import MINIMUM
from ecomfs.core import event_loop
from ecomfs.core.options import documented
from ecomfs.core.progress import Progress, showing, within
from ecomfs.embed import Embedder
from ecomfs.engine.protocol import Engine
from ecomfs.errors import ConfigError
from ecomfs.estimators.answers import accuracy, labels_of, probabilities_of
from ecomfs.estimators.base import Estimator
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.estimators.inputs import (
    Examples,
    Rows,
    as_rows,
    columns,
    given_examples,
    refuse_other_labels,
    row_ids,
)
from ecomfs.estimators.taxonomy.descent import TaxonomyExplanation, beam_of, combine
from ecomfs.estimators.taxonomy.tree import Branch, grow
from ecomfs.features import Rendering
from ecomfs.pipeline import (
    FormatChoice,
    LanguageChoice,
    LayoutChoice,
    ReadoutChoice,
    SimilarityChoice,
    TemplateChoice,
)
from ecomfs.pool import Pool
from ecomfs.task import GivenLabels, TaskCard
from ecomfs.types import Prediction, Row


@documented
class TaxonomyClassifier(Estimator):
    """Classifies rows into a taxonomy of two levels.

    Level one separates the parents; level two, for each row, the children of the ``beam``
    likeliest parents. Probabilities multiply and sum to one: a parent outside the beam keeps its
    own probability, spread over its children by their shares in the pool. An only child has all
    of its parent's probability and needs no reading.

    ``calibration_size`` and ``tune`` are spent on level one, and once more on level two, where
    the parents share them evenly (at least 8 leave-one-out readings each). What follows the first
    ``separator`` of a label is the child; spaces around it do not count.

    Parameters
    ----------
    task : str, Path or TaskCard, default "product_category"
        A task with an open label space: name, folder or card.
    {options}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Whole labels, in NumPy's order; the columns of ``predict_proba``.
    branches_ : tuple of Branch
        The parents, in the order of their first example.
    root_ : FewShotClassifier or None
        The classifier of level one; ``None`` where there is one parent only.
    engine_ : Engine
        The open engine of both levels.

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

    def __init__(
        self,
        task: str | Path | TaskCard = "product_category",
        engine: str | Engine | None = "auto",
        *,
        separator: str = " > ",
        beam: int = 2,
        k: int | None = None,
        embedder: str | Embedder = "auto",
        language: LanguageChoice | None = None,
        template: TemplateChoice = None,
        format: FormatChoice = "auto",
        readout: ReadoutChoice = "auto",
        strategy: str = "balanced",
        similarity: SimilarityChoice = "auto",
        rendering: Rendering = "words",
        shortlist: int | None = None,
        layout: LayoutChoice = "auto",
        passes: int = 1,
        budget: int | None = None,
        seed: int = 0,
        calibration_size: int = 48,
        tune: int = 0,
        fusion: bool = True,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        # The scikit-learn contract: parameters are stored as given and checked in fit.
        self.task = task
        self.engine = engine
        self.separator = separator
        self.beam = beam
        self.k = k
        self.embedder = embedder
        self.language = language
        self.template = template
        self.format = format
        self.readout = readout
        self.strategy = strategy
        self.similarity = similarity
        self.rendering = rendering
        self.shortlist = shortlist
        self.layout = layout
        self.passes = passes
        self.budget = budget
        self.seed = seed
        self.calibration_size = calibration_size
        self.tune = tune
        self.fusion = fusion
        self.fields = fields

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
            X, y: as for :meth:`FewShotClassifier.fit`, with whole labels. A pool is read once:
                what is added to it later counts from the next ``fit`` on.
            progress: as for :meth:`FewShotClassifier.fit`; phases are named after the level.

        Raises:
            UnknownLabelError: examples that are labelled with a parent only, or a child only.
            PoolError: there are no examples, or all of one label.
            ConfigError: the task's label space is closed.
            InputError, EngineError, ArgumentError: as :meth:`FewShotClassifier.fit`.
        """
        self._refuse(refused)
        refuse_other_labels(X, y)
        card, _ = self._card(), self._options()
        if not self.separator.strip():
            raise ConfigError("the separator is empty", hint="use a mark such as '>'")
        if card.label_space == "closed":
            raise ConfigError(
                f"task {card.name!r} has a closed label space, which knows no parents",
                hint="use a task with label_space: open",
            )
        version, header = 0, columns(X)
        if isinstance(X, Pool):
            (version, examples), given = X.snapshot(), GivenLabels()
        else:
            examples, given = given_examples(X, y, card, fields=self.fields)
        grouped = grow(examples, self.separator)
        # Rows and examples bear the card's own field names from here on.
        own_only = ("separator", "beam", "fields")
        shared = {n: v for n, v in self.get_params(deep=False).items() if n not in own_only}
        several = [b for b, _ in grouped if len(b.leaves) > 1]
        root = None
        below = {**shared, **self._spending(len(several))}
        branches = []
        with showing(progress) as report:
            if len(grouped) > 1:
                root = FewShotClassifier(**shared)
                parent = {e.id: branch.name for branch, own in grouped for e in own}
                root.fit(
                    [replace(e, label=parent[e.id]) for e in examples],
                    progress=within(report, "parents"),
                )
            for branch, own in grouped:
                if len(branch.leaves) > 1:
                    classifier = FewShotClassifier(**below)
                    classifier.fit(own, progress=within(report, branch.name))
                    branch = replace(branch, classifier=classifier)
                branches.append(branch)
        leaves = [leaf for branch in branches for leaf in branch.leaves]
        with self._turn():
            self.card_, self.pool_version_ = card, version
            self.root_: FewShotClassifier | None = root
            self.branches_ = tuple(branches)
            self._classes = given.classes(leaves)
            self.classes_ = given.array(list(self._classes.values()))
            self._features(header, labelled=y is None)
        return self

    def set_params(self, **params: Any) -> Self:
        """As of every classifier; an engine is that of both levels, where they have to open one."""
        super().set_params(**params)
        if "engine" in params and self.__sklearn_is_fitted__():
            for classifier in self._levels():
                classifier.set_params(engine=self.engine)
        return self

    def _levels(self) -> list[FewShotClassifier]:
        some = [self.root_, *(branch.classifier for branch in self.branches_)]
        return [classifier for classifier in some if classifier is not None]

    @property
    def engine_(self) -> Engine:
        """The engine of both levels."""
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted()
        return self._levels()[0].engine_

    def _spending(self, parents: int) -> dict[str, int]:
        readings = self.calibration_size
        return {
            "calibration_size": readings and max(MINIMUM, readings // max(parents, 1)),
            "tune": self.tune // max(parents, 1),
        }

    def classify(self, X: Rows, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        """One :class:`Prediction` a row, in order, over whole labels.

        ``stages`` are the distribution after level one (children by their shares in the pool) and
        after level two. A row that fails at either level fails: no part of it is guessed.
        """
        return event_loop.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` for callers that have an event loop."""
        return await event_loop.run_async(self._classify(X, ids))

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """Whole labels, shape (n,); where a row is without an answer it has ``None``, and the
        array dtype object."""
        return labels_of(self.classify(X), self._classes, self.classes_)

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``; NaN for
        a row without an answer."""
        return probabilities_of(self.classify(X), self._classes)

    def score(self, X: Rows, y: Iterable[Any], sample_weight: Any = None) -> float:  # noqa: N803
        """Accuracy over whole labels; rows without a label count as wrong."""
        return accuracy(self.classify(X), self._classes, y, sample_weight)

    def explain(self, row: str | Row) -> TaxonomyExplanation:
        """How one row is classified: the explanation of level one, and that of each parent in the
        beam.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted()
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
        return TaxonomyExplanation(
            replace(whole, pool_version=self.pool_version_),
            root,
            {self.branches_[at].name: found for at, found in below.items()},
        )

    async def _classify(self, X: Rows, ids: Sequence[str] | None) -> list[Prediction]:  # noqa: N803
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted()
        rows = as_rows(X, self.card_, self.fields)
        names = row_ids(rows, ids)
        tops: list[Prediction | None] = [None] * len(rows)
        if self.root_ is not None:
            tops = list(await self.root_.aclassify(rows, names))
        beams = [beam_of(top, self.branches_, self.beam) for top in tops]
        found = await asyncio.gather(
            *(
                self._level_two(at, branch, rows, names, beams)
                for at, branch in enumerate(self.branches_)
            )
        )
        return [
            replace(
                combine(
                    self.branches_, top, {at: p[row] for at, p in enumerate(found) if row in p}
                ),
                id=name,
                pool_version=self.pool_version_,
            )
            for row, (name, top) in enumerate(zip(names, tops, strict=True))
        ]

    async def _level_two(
        self,
        at: int,
        branch: Branch,
        rows: Sequence[Row],
        names: Sequence[str],
        beams: Sequence[set[int]],
    ) -> dict[int, Prediction]:
        """Row → what is read of a parent's children, for the rows that have it in their beam."""
        mine = [row for row, beam in enumerate(beams) if at in beam]
        if branch.classifier is None or not mine:
            return {}
        found = await branch.classifier.aclassify([rows[r] for r in mine], [names[r] for r in mine])
        return dict(zip(mine, found, strict=True))


__all__ = ["TaxonomyClassifier"]
