"""What scikit-learn asks of a classifier.

The classifiers derive from scikit-learn's own ``BaseEstimator`` and ``ClassifierMixin`` in every
program that imports scikit-learn, whether before or after ecomfs. In programs that do not, the
few methods here do the same: loading the library takes 2.5 s and 135 MB, which a service or a
batch run has no use for.

A classifier also travels: it is cloned, copied, pickled and inherited by forked processes. The
parameters and what was fitted go along; an engine stays in the process that opened it and is
opened again by its name where it is needed.

And it follows its pool: what was changed there since ``fit`` counts from the next :meth:`refresh`
on, while calibration and thresholds stay as ``fit`` made them.

Source: https://scikit-learn.org/stable/developers/develop.html.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import ModuleType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ecomfs.core import event_loop
from ecomfs.core.event_loop import abandon
from ecomfs.core.late import when_imported
from ecomfs.core.options import NO_MODEL, OPTIONS
from ecomfs.embed import Embedder, shared_embedder
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import reopen_engine, shared_engine
from ecomfs.errors import ArgumentError, ConfigError, InputError, NotFittedError
from ecomfs.estimators.inputs import Rows, as_rows, row_ids
from ecomfs.pipeline import Options
from ecomfs.pool import Pool, sample_queries
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example, Prediction


class Plain:
    """``BaseEstimator`` for programs without scikit-learn.

    >>> class Scale(Plain):
    ...     def __init__(self, by: float = 1.0, shift: float = 0.0) -> None:
    ...         self.by, self.shift = by, shift
    >>> Scale(by=2.0).set_params(shift=3.0)
    Scale(by=2.0, shift=3.0)
    """

    _estimator_type = "classifier"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor parameters by name (``deep`` is part of the contract; nothing nests)."""
        return {name: getattr(self, name) for name in parameters(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters."""
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        signature = inspect.signature(type(self)).parameters
        values = self.get_params()
        shown = {k: v for k, v in values.items() if v is not signature[k].default}
        shown = {k: v for k, v in shown.items() if v != signature[k].default}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


def parameters(kind: type) -> list[str]:
    """Names of the constructor's parameters.

    >>> parameters(Plain)
    []
    """
    found = inspect.signature(kind).parameters.values()
    return [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


class OpenedElsewhere(str):
    """Name of an engine that was an open object when its classifier was stored, or when the
    process was forked. It is opened again by this name, where the name says how."""


class OfPool(Protocol):
    """What answers rows, made from one version of a pool."""

    @property
    def pool_version(self) -> int:
        """The version of the pool that it was made from."""

    @property
    def engine(self) -> Engine:
        """The open engine."""


AnswersOfPool = TypeVar("AnswersOfPool", bound=OfPool)


class Estimator(Plain, Generic[AnswersOfPool]):
    """A classifier that scikit-learn can use, with what answers its rows, :attr:`pipeline_`.

    A class that derives from it keeps each parameter of its constructor, unchanged, in an
    attribute of the same name, and checks them in ``fit``. What answers its rows is kept by
    :meth:`_work_with`, asked for by :meth:`_at_work`, and made again by :meth:`_reopen` in a
    process that does not have it. A ``_follow`` of its own may cost less than to fit again by what
    was fitted.

    Attributes:
        classes_: labels as they were given, in NumPy's order.
        pool_: the labelled examples.
    """

    task: Any
    engine: Any
    embedder: Any
    calibration_size: int
    seed: int
    fields: Mapping[str, str] | None
    pool_: Pool
    classes_: NDArray[Any]
    _classes: Mapping[str, Any]  # label in the label space → label as it was given

    @property
    def pipeline_(self) -> AnswersOfPool:
        """What answers the rows of tables and requests: everything decided for this run, with the
        engine of this process.

        Raises:
            NotFittedError: not fitted.
        """
        return self._answers()

    @property
    def engine_(self) -> Engine:
        """The open engine."""
        return self.pipeline_.engine

    def classify(self, X: Rows, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        """One :class:`Prediction` a row, in order."""
        return event_loop.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` for callers that have an event loop."""
        return await event_loop.run_async(self._classify(X, ids))

    async def _classify(self, X: Rows, ids: Sequence[str] | None) -> list[Prediction]:  # noqa: N803
        # Opening an engine, embedding and rendering are no work for the event loop.
        answers, states = await asyncio.to_thread(self._prepared, X, ids)
        return [prediction for _, _, prediction in await answers.answer(states)]

    def _prepared(self, X: Rows, ids: Sequence[str] | None) -> tuple[Any, Sequence[Any]]:  # noqa: N803
        """What answers, and the rows as it takes them."""
        answers: Any = self._answers()
        rows = as_rows(X, answers.card, self.fields)
        return answers, answers.prepare(rows, row_ids(rows, ids))

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``. A row
        that failed is a row of NaN. Where rows may have several labels, each has a probability of
        its own."""
        found = self.classify(X)
        table = [[p.probabilities.get(name, np.nan) for name in self._classes] for p in found]
        return np.array(table, dtype=np.float64).reshape(len(found), len(self._classes))

    def refresh(self) -> AnswersOfPool:
        """What answers, for the pool as it is now. It costs one small query while the pool is
        unchanged.

        Raises:
            NotFittedError: not fitted.
            PoolError: the pool can be used no more (one label left, a label that the task does
                not know) or not be read; ``pipeline_`` stays what it was.
        """
        with self._turn():
            answers = self.pipeline_
            if self.pool_.version != answers.pool_version:
                self._follow(answers)
            return self.pipeline_

    def _answers(self) -> AnswersOfPool:
        return cast(AnswersOfPool, self._at_work())

    def _follow(self, before: AnswersOfPool) -> None:
        """Fit on the pool as it is now, with what was fitted on it before: nothing is read
        leave-one-out. Only when that worked, the classifier changes.

        Args:
            before: what answered so far.
        """
        known = parameters(type(self))
        params = {name: getattr(self, name) for name in known}
        profile = params["profile"] = getattr(self, "profile_", None)
        if profile is None:
            params["calibration_size"] = 0
            guarantees = ("precision", "coverage", "novel_below")
            params |= {name: None for name in guarantees if name in known}
        twin = type(self)(**params)
        with warnings.catch_warnings():
            # That the pool changed is why this is called.
            warnings.filterwarnings("ignore", "profile: ")
            twin.fit(self.pool_)  # type: ignore[attr-defined]
        for name, value in twin.__dict__.items():
            if name not in known and name not in ("_lock", "_process"):
                setattr(self, name, value)

    def _card(self) -> TaskCard:
        """The task card."""
        return self.task if isinstance(self.task, TaskCard) else load_task(self.task)

    def _options(self) -> Options:
        """The options of the pipeline, all options of the classifier checked.

        Raises:
            ConfigError: a value does not fit its option.
        """
        params = self.get_params(deep=False)
        for name, option in OPTIONS.items():
            if name in params:
                option.check(params[name])
        return Options(**{f.name: params[f.name] for f in fields(Options) if f.name in params})

    def _own_engine(self) -> Engine:
        """The engine of this process."""
        if self.engine is None:
            return shared_engine(NO_MODEL)
        if isinstance(self.engine, OpenedElsewhere):
            return reopen_engine(self.engine)
        return shared_engine(self.engine) if isinstance(self.engine, str) else self.engine

    @staticmethod
    def _own_embedder(embedder: str | Embedder) -> Embedder:
        return shared_embedder(embedder) if isinstance(embedder, str) else embedder

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters; takes effect at the next ``fit``.

        Raises:
            ConfigError: the constructor has no such parameter.
        """
        known = parameters(type(self))
        for name in params:
            if name not in known:
                raise ConfigError(f"no parameter {name!r}", hint=f"parameters: {', '.join(known)}")
        return super().set_params(**params)

    def _reopen(self) -> Any:
        """What is answered with, made again from what is stored."""
        raise NotImplementedError

    def _work_with(self, working: Any) -> None:
        """Keep what is answered with; it belongs to this process."""
        self._working: Any = working
        self._process = os.getpid()

    def _at_work(self) -> Any:
        """What is answered with.

        Raises:
            NotFittedError: not fitted.
        """
        self._check_fitted()
        with self._turn():
            if self._working is None:
                self._work_with(self._reopen())
            return self._working

    def _turn(self) -> threading.RLock:
        """The lock of this classifier in this process."""
        with _making:
            state = self.__dict__
            if state.get("_process") not in (None, os.getpid()):
                # Threads do not survive a fork, and a lock may be held by one of them.
                abandon(state["_working"])
                state.pop("_lock", None)
                self._working, self._process = None, os.getpid()
                engine = state["engine"]
                if not isinstance(engine, str | None):
                    abandon(engine)
                    self.engine = OpenedElsewhere(engine.spec)
            lock: threading.RLock = state.setdefault("_lock", threading.RLock())
            return lock

    def _judged(self, examples: Sequence[Example]) -> list[Example]:
        """Examples to choose the thresholds of guarantees on: those that were not read for the
        calibration, where there are enough of them."""
        size, seed = self.calibration_size, self.seed
        read = {e.id for e in sample_queries(examples, size, seed)}
        others = [e for e in examples if e.id not in read]
        return sample_queries(others if len(others) >= size else examples, size, seed)

    def _features(self, header: Sequence[str] | None, *, labelled: bool) -> None:
        """What ``fit`` saw of the columns; texts and mappings have none.

        Args:
            labelled: the label is among the columns.
        """
        for name in ("feature_names_in_", "n_features_in_"):
            self.__dict__.pop(name, None)
        if header is not None:
            self.n_features_in_ = len(header) - labelled
            if not labelled:
                self.feature_names_in_ = np.array(header, dtype=object)

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            theirs = sys.modules.get("sklearn.exceptions")
            kind = NotFittedError if theirs is None else _both(theirs.NotFittedError)
            raise kind("the classifier has no examples yet", hint="call fit first")

    def _refuse(self, X: Any, y: Any, arguments: dict[str, Any]) -> None:  # noqa: N803
        """Refuse what ``fit`` cannot use.

        Raises:
            ArgumentError: an argument that scikit-learn's other classifiers may take.
            InputError: ``y`` beside a pool, or ``Example`` objects, which have labels.
        """
        for name in arguments:
            weight = name == "sample_weight"
            hint = "examples have no weights; choose the examples" if weight else "leave it out"
            raise ArgumentError(
                f"{type(self).__name__}.fit() got an unexpected keyword argument {name!r}",
                hint=hint,
            )
        pool = isinstance(X, Pool)
        if y is not None and (
            pool or (isinstance(X, Sequence) and isinstance(next(iter(X), None), Example))
        ):
            what = "a pool, which has" if pool else "Example objects, which have"
            raise InputError(
                f"y is given beside {what} labels",
                hint="leave y out, or give the rows without labels",
            )

    def __sklearn_is_fitted__(self) -> bool:
        return "classes_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # texts, mappings, tables: columns have names
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        return tags

    def __sklearn_clone__(self) -> Self:
        # An open engine is no setting: a copy would be a second model in memory.
        params = {
            name: value if name in _SHARED else copy.deepcopy(value)
            for name, value in self.get_params(deep=False).items()
        }
        twin = type(self)(**params)
        for name in ("_metadata_request", "_sklearn_output_config"):
            if name in self.__dict__:
                setattr(twin, name, copy.deepcopy(self.__dict__[name]))
        return twin

    def __copy__(self) -> Self:
        return self._twin({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._twin(memo, copy.deepcopy)

    def _twin(self, memo: dict[int, Any], of: Any = lambda value, memo: value) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            if name != "_lock":
                twin.__dict__[name] = value if name in (*_SHARED, "_working") else of(value, memo)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_process")}
        if "_working" in state:
            state["_working"] = None
        if not isinstance(engine := state["engine"], str | None):
            state["engine"] = OpenedElsewhere(engine.spec)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def weighted_mean(right: Sequence[bool], weight: Any) -> float:
    """Share of true ones; NaN of none.

    >>> weighted_mean([True, False], None), weighted_mean([True, False], [3, 1])
    (0.5, 0.75)
    """
    if weight is not None and len(weight) != len(right):
        raise InputError(f"{len(right)} rows but {len(weight)} weights")
    if not right:
        raise InputError("no rows to score", hint="give at least one")
    return float(np.average(right, weights=weight))


_SHARED = ("engine", "embedder", "_embedder")
_making = threading.Lock()


@cache
def _both(theirs: type[Exception]) -> type[NotFittedError]:
    def reduce(self: NotFittedError) -> tuple[object, ...]:
        return NotFittedError(self.message, hint=self.hint).__reduce__()

    return type("NotFittedError", (NotFittedError, theirs), {"__reduce__": reduce})


def _after_fork() -> None:
    global _making
    _making = threading.Lock()


def _derive(base: ModuleType) -> None:
    """Scikit-learn's own classes take the place of :class:`Plain`."""
    Estimator.__bases__ = (base.ClassifierMixin, base.BaseEstimator, Generic)
    made: list[type[Estimator[Any]]] = [Estimator]
    for kind in made:
        kind.__init_subclass__()  # as it would have run, had they derived from it at first
        made += kind.__subclasses__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
when_imported("sklearn.base", _derive)

__all__ = [
    "AnswersOfPool",
    "Estimator",
    "OpenedElsewhere",
    "Plain",
    "parameters",
    "weighted_mean",
]
