"""The descent: level one over parents, level two over the children of the likeliest ones.

    row ─ level one ─▶ P(parent) ─ beam ─▶ level two, of each parent in it ─▶ P(child | parent)
                                                          P(leaf) = P(parent) · P(child | parent)

Each level is a :class:`~ecomfs.classifier.FewShotClassifier` with few labels, which a prompt can
list and demonstrations can cover, where one level would have too many. All share one engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ecomfs import aio
from ecomfs.classifier import CALIBRATION_SIZE, FewShotClassifier
from ecomfs.data import Examples, Rows, as_examples, as_rows, row_ids
from ecomfs.engine.shared import shared_engine
from ecomfs.errors import ConfigError, InputError
from ecomfs.pool import Pool, open_embedder
from ecomfs.progress import LOADING, Progress, showing, within
from ecomfs.read.calibrate import MINIMUM
from ecomfs.task import TaskCard, load_task
from ecomfs.taxonomy.descent import beam_of, combine
from ecomfs.taxonomy.tree import Branch, grow
from ecomfs.types import Prediction, Row

_ONE_LEVEL = ("profile", "max_loss", "precision", "coverage", "novel_below")


class TaxonomyClassifier:
    """Classifies rows into a taxonomy of two levels.

    Level one tells the parents apart; level two, for each row, the children of the ``beam``
    likeliest parents. Probabilities multiply and sum to one: a parent outside the beam keeps its
    own probability and spreads it over its children by their shares in the pool. An only child
    has all of its parent's probability and costs no reading.

    Args:
        task: a task with an open label space: name, folder or card.
        engine: as for :class:`~ecomfs.classifier.FewShotClassifier`.
        separator: what stands between parent and child, with or without the spaces around it;
            what follows the first one is the child.
        beam: parents whose children are read, at least 1.
        options: of :class:`~ecomfs.classifier.FewShotClassifier`, for both levels.
            ``calibration_size`` and ``tune`` are spent on level one, and once more on level two,
            where the parents share them evenly (8 leave-one-out readings each, at least). What is
            fitted for one set of labels is refused: ``profile``, ``max_loss``, ``precision``,
            ``coverage``, ``novel_below``.

    Attributes (after ``fit``):
        classes_: whole labels, sorted; the columns of ``predict_proba``.
        branches_: the parents, in the order of their first example.
        root_: the classifier of level one; ``None`` where there is one parent only.
        engine_: the engine of both levels.

    Example (reads the packaged demo model)::

        clf = TaxonomyClassifier("product_category")
        clf.fit(titles, ["Electronics > Phones", "Electronics > Cameras", "Home > Lamps", …])
        clf.predict(["desk light with USB port"])          # array(['Home > Lamps'], dtype=object)
    """

    def __init__(
        self,
        task: str | Path | TaskCard = "product_category",
        engine: Any = "auto",
        *,
        separator: str = " > ",
        beam: int = 2,
        **options: Any,
    ) -> None:
        if beam < 1:
            raise ConfigError(f"a beam of {beam} parents", hint="use 1 or more")
        if not separator.strip():
            raise ConfigError("the separator is empty", hint="use a mark such as '>'")
        for name in _ONE_LEVEL:
            if options.get(name) is not None:
                raise ConfigError(
                    f"{name} is fitted for one set of labels, and a taxonomy has several",
                    hint="use FewShotClassifier with whole labels",
                )
        self.task = task
        self.engine = engine
        self.separator = separator
        self.beam = beam
        self.options = options
        FewShotClassifier(task, engine, **options)  # an unknown option is told now

    def fit(
        self,
        X: Examples,  # noqa: N803
        y: Iterable[Any] | None = None,
        *,
        progress: Progress | bool | None = None,
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
            InputError, EngineError: as :meth:`FewShotClassifier.fit`.
        """
        card = self.task if isinstance(self.task, TaskCard) else load_task(self.task)
        if card.label_space == "closed":
            raise ConfigError(
                f"task {card.name!r} has a closed label space, which knows no parents",
                hint="use a task with label_space: open",
            )
        version = 0
        if isinstance(X, Pool):
            version, examples = X.snapshot()
        else:
            examples = as_examples(X, y, card, fields=self.options.get("fields"))
        grouped = grow(examples, self.separator)
        with showing(progress) as report:
            report(LOADING)
            engine = shared_engine(self.engine) if isinstance(self.engine, str) else self.engine
            embedder = self.options.get("embedder", "auto")
            if isinstance(embedder, str):
                embedder = open_embedder(embedder)
        # Rows and examples bear the card's own field names from here on.
        shared = {**self.options, "embedder": embedder, "fields": None}
        several = [b for b, _ in grouped if len(b.leaves) > 1]
        root = None
        below = {**shared, **self._spending(len(several))}
        branches = []
        with showing(progress) as report:
            if len(grouped) > 1:
                root = FewShotClassifier(self.task, engine, **shared)
                parent = {e.id: branch.name for branch, own in grouped for e in own}
                root.fit(
                    [replace(e, label=parent[e.id]) for e in examples],
                    progress=within(report, "parents"),
                )
            for branch, own in grouped:
                if len(branch.leaves) > 1:
                    classifier = FewShotClassifier(self.task, engine, **below)
                    classifier.fit(own, progress=within(report, branch.name))
                    branch = replace(branch, classifier=classifier)
                branches.append(branch)
        self._card, self.engine_, self.pool_version_ = card, engine, version
        self.root_: FewShotClassifier | None = root
        self.branches_ = tuple(branches)
        leaves = sorted(leaf for branch in branches for leaf in branch.leaves)
        self.classes_ = np.empty(len(leaves), dtype=object)
        self.classes_[:] = leaves
        return self

    def _spending(self, parents: int) -> dict[str, int]:
        readings = self.options.get("calibration_size", CALIBRATION_SIZE)
        return {
            "calibration_size": readings and max(MINIMUM, readings // max(parents, 1)),
            "tune": self.options.get("tune", 0) // max(parents, 1),
        }

    def classify(self, X: Rows, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        """One :class:`Prediction` a row, in order, over whole labels.

        ``stages`` are the distribution after level one (children by their shares in the pool) and
        after level two. A row that fails at either level fails: no part of it is guessed.
        """
        return aio.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` for callers that have an event loop."""
        return await aio.bridge(self._classify(X, ids))

    def predict(self, X: Rows) -> NDArray[Any]:  # noqa: N803
        """Whole labels, shape (n,), dtype object; ``None`` for a row without an answer."""
        found = self.classify(X)
        out = np.empty(len(found), dtype=object)
        out[:] = [p.label for p in found]
        return out

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``; NaN for
        a row without an answer."""
        found = self.classify(X)
        table = [[p.probabilities.get(name, np.nan) for name in self.classes_] for p in found]
        return np.array(table, dtype=np.float64).reshape(len(found), len(self.classes_))

    def score(self, X: Rows, y: Iterable[Any]) -> float:  # noqa: N803
        """Accuracy over whole labels; rows without a label count as wrong."""
        truth = [str(label) for label in y]
        predicted = self.predict(X)
        if len(truth) != len(predicted):
            raise InputError(f"{len(predicted)} rows but {len(truth)} labels")
        return float(np.mean([p == t for p, t in zip(predicted, truth, strict=True)]))

    async def _classify(self, X: Rows, ids: Sequence[str] | None) -> list[Prediction]:  # noqa: N803
        if not hasattr(self, "branches_"):
            raise ConfigError("the classifier has no examples yet", hint="call fit first")
        rows = as_rows(X, self._card, self.options.get("fields"))
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

    def __repr__(self) -> str:
        shown = {"separator": self.separator, "beam": self.beam, **self.options}
        return f"TaxonomyClassifier({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


__all__ = ["TaxonomyClassifier"]
