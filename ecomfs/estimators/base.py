"""The base class of the classifiers: the scikit-learn contract, pickling, and updates of the pool.

In a program that imports scikit-learn, before or after ecomfs, the classifiers derive from its
``BaseEstimator`` and ``ClassifierMixin``. Otherwise :class:`FallbackEstimator` provides the same
methods: importing scikit-learn takes 2.5 s and 135 MB, and a service or a batch run does not need
it.

A classifier can be cloned, copied, pickled, and used in forked processes. Parameters and fitted
state are copied. An engine is not: the other process opens it again by its spec.

Changes of the pool take effect at the next :meth:`refresh`. Calibration and thresholds stay as
``fit`` made them.

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
from ecomfs.core.import_hooks import when_imported
from ecomfs.core.options import NO_MODEL, OPTIONS
from ecomfs.embed import Embedder, shared_embedder
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import reopen_engine, shared_engine
from ecomfs.errors import ArgumentError, ConfigError, InputError, NotFittedError
from ecomfs.estimators.inputs import Rows, as_rows, row_ids
from ecomfs.fit.guarantees import NAMES
from ecomfs.pipeline import Options
from ecomfs.pool import Pool, sample_queries
from ecomfs.task import TaskCard, load_task
from ecomfs.types import Example, Prediction


class FallbackEstimator:
    """Replaces ``BaseEstimator`` in programs that do not import scikit-learn.

    >>> class Scale(FallbackEstimator):
    ...     def __init__(self, by: float = 1.0, shift: float = 0.0) -> None:
    ...         self.by, self.shift = by, shift
    >>> Scale(by=2.0).set_params(shift=3.0)
    Scale(by=2.0, shift=3.0)
    """

    _estimator_type = "classifier"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor parameters by name (``deep`` has no effect: there are no nested ones)."""
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

    >>> parameters(FallbackEstimator)
    []
    """
    found = inspect.signature(kind).parameters.values()
    return [p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


class EngineToReopen(str):
    """Spec of an engine that was open when its classifier was pickled or the process was forked.
    The engine is opened again from this spec if the spec allows it."""


class PoolPipeline(Protocol):
    """A pipeline that was made from one version of a pool."""

    @property
    def pool_version(self) -> int:
        """The version of the pool."""

    @property
    def engine(self) -> Engine:
        """The open engine."""


PipelineT = TypeVar("PipelineT", bound=PoolPipeline)


class Estimator(FallbackEstimator, Generic[PipelineT]):
    """A scikit-learn classifier whose rows are classified by :attr:`pipeline_`.

    A subclass stores each constructor parameter unchanged in an attribute of the same name, and
    checks it in ``fit``. :meth:`_set_pipeline` stores the pipeline, :meth:`_get_pipeline` returns
    it, and :meth:`_rebuild` makes it again in another process. A subclass may override
    :meth:`_refit` with a cheaper way to follow a changed pool.

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
    def pipeline_(self) -> PipelineT:
        """The fitted pipeline, with the engine of this process.

        Raises:
            NotFittedError: not fitted.
        """
        return self._current()

    @property
    def engine_(self) -> Engine:
        """The open engine."""
        return self.pipeline_.engine

    def classify(self, X: Rows, ids: Sequence[str] | None = None) -> list[Prediction]:  # noqa: N803
        """One :class:`Prediction` per row, in order."""
        return event_loop.run(self._classify(X, ids))

    async def aclassify(
        self,
        X: Rows,  # noqa: N803
        ids: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """:meth:`classify` as a coroutine."""
        return await event_loop.run_async(self._classify(X, ids))

    async def _classify(self, X: Rows, ids: Sequence[str] | None) -> list[Prediction]:  # noqa: N803
        # Opening an engine, embedding and rendering would block the event loop.
        pipeline, states = await asyncio.to_thread(self._prepare_rows, X, ids)
        return [prediction for _, _, prediction in await pipeline.answer(states)]

    def _prepare_rows(self, X: Rows, ids: Sequence[str] | None) -> tuple[Any, Sequence[Any]]:  # noqa: N803
        """The pipeline, and the rows prepared for it."""
        pipeline: Any = self._current()
        rows = as_rows(X, pipeline.card, self.fields)
        return pipeline, pipeline.prepare(rows, row_ids(rows, ids))

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities, shape (n, len(classes_)), columns in the order of ``classes_``; NaN for a
        row that failed. With several labels per row, the columns are independent."""
        found = self.classify(X)
        table = [[p.probabilities.get(name, np.nan) for name in self._classes] for p in found]
        return np.array(table, dtype=np.float64).reshape(len(found), len(self._classes))

    def refresh(self) -> PipelineT:
        """The pipeline for the current version of the pool. An unchanged pool costs one small
        query.

        Raises:
            NotFittedError: not fitted.
            PoolError: the pool cannot be read, or not be used any more (one label left, a label
                that the task does not have); ``pipeline_`` is unchanged then.
        """
        with self._process_lock():
            pipeline = self.pipeline_
            if self.pool_.version != pipeline.pool_version:
                self._refit(pipeline)
            return self.pipeline_

    def _current(self) -> PipelineT:
        return cast(PipelineT, self._get_pipeline())

    def _refit(self, before: PipelineT) -> None:
        """Fit on the current pool with the stored profile, so nothing is read leave-one-out. If
        this fails, the classifier is unchanged.

        Args:
            before: the pipeline so far.
        """
        known = parameters(type(self))
        params = {name: getattr(self, name) for name in known}
        profile = params["profile"] = getattr(self, "profile_", None)
        if profile is None:
            params["calibration_size"] = 0
        # The profile has the guarantees that were fitted.
        params |= {name: None for name in NAMES if name in known}
        twin = type(self)(**params)
        with warnings.catch_warnings():
            # The warning that the pool changed is expected here.
            warnings.filterwarnings("ignore", "profile: ")
            twin.fit(self.pool_)  # type: ignore[attr-defined]
        for name, value in twin.__dict__.items():
            if name not in known and name not in ("_lock", "_process"):
                setattr(self, name, value)

    def _card(self) -> TaskCard:
        """The task card."""
        return self.task if isinstance(self.task, TaskCard) else load_task(self.task)

    def _options(self) -> Options:
        """The pipeline's options; checks all options of the classifier.

        Raises:
            ConfigError: a value does not fit its option.
        """
        params = self.get_params(deep=False)
        for name, option in OPTIONS.items():
            if name in params:
                option.check(params[name])
        return Options(**{f.name: params[f.name] for f in fields(Options) if f.name in params})

    def _open_engine(self) -> Engine:
        """The engine of this process."""
        if self.engine is None:
            return shared_engine(NO_MODEL)
        if isinstance(self.engine, EngineToReopen):
            return reopen_engine(self.engine)
        return shared_engine(self.engine) if isinstance(self.engine, str) else self.engine

    @staticmethod
    def _open_embedder(embedder: str | Embedder) -> Embedder:
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

    def _rebuild(self) -> Any:
        """The pipeline, made again from the fitted state."""
        raise NotImplementedError

    def _set_pipeline(self, working: Any) -> None:
        """Store the pipeline of this process."""
        self._pipeline: Any = working
        self._process = os.getpid()

    def _get_pipeline(self) -> Any:
        """The pipeline of this process; made again if this process has none.

        Raises:
            NotFittedError: not fitted.
        """
        self._check_fitted()
        with self._process_lock():
            if self._pipeline is None:
                self._set_pipeline(self._rebuild())
            return self._pipeline

    def _process_lock(self) -> threading.RLock:
        """The lock of this classifier in this process."""
        with _lock_creation:
            state = self.__dict__
            if state.get("_process") not in (None, os.getpid()):
                # Threads do not survive a fork, and a lock may be held by one of them.
                abandon(state["_pipeline"])
                state.pop("_lock", None)
                self._pipeline, self._process = None, os.getpid()
                engine = state["engine"]
                if not isinstance(engine, str | None):
                    abandon(engine)
                    self.engine = EngineToReopen(engine.spec)
            lock: threading.RLock = state.setdefault("_lock", threading.RLock())
            return lock

    def _guarantee_examples(self, examples: Sequence[Example]) -> list[Example]:
        """Examples for the thresholds of guarantees: those that calibration did not read, if there
        are enough of them."""
        size, seed = self.calibration_size, self.seed
        read = {e.id for e in sample_queries(examples, size, seed)}
        others = [e for e in examples if e.id not in read]
        return sample_queries(others if len(others) >= size else examples, size, seed)

    def _set_feature_names(self, header: Sequence[str] | None, *, labelled: bool) -> None:
        """Set ``n_features_in_`` and ``feature_names_in_``; texts and mappings have no columns.

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
            kind = NotFittedError if theirs is None else _not_fitted_class(theirs.NotFittedError)
            raise kind("the classifier has no examples yet", hint="call fit first")

    def _check_fit_arguments(self, X: Any, y: Any, arguments: dict[str, Any]) -> None:  # noqa: N803
        """Refuse arguments that ``fit`` cannot use.

        Raises:
            ArgumentError: an argument that other scikit-learn classifiers take.
            InputError: ``y`` together with a pool or ``Example`` objects, which have labels.
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
                f"y was given together with {what} labels",
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
        # An open engine is not copied: the copy would be a second model in memory.
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
        return self._copied({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._copied(memo, copy.deepcopy)

    def _copied(self, memo: dict[int, Any], of: Any = lambda value, memo: value) -> Self:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            if name != "_lock":
                twin.__dict__[name] = value if name in (*_SHARED, "_pipeline") else of(value, memo)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_process")}
        if "_pipeline" in state:
            state["_pipeline"] = None
        if not isinstance(engine := state["engine"], str | None):
            state["engine"] = EngineToReopen(engine.spec)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def weighted_mean(right: Sequence[bool], weight: Any) -> float:
    """Weighted share of ``True`` values.

    Raises:
        InputError: no values, or weights that have no mean.

    >>> weighted_mean([True, False], None), weighted_mean([True, False], [3, 1])
    (0.5, 0.75)
    """
    if weight is not None and len(weight) != len(right):
        raise InputError(f"{len(right)} rows but {len(weight)} weights")
    if not right:
        raise InputError("no rows to score", hint="give at least one")
    if weight is not None:
        weight = np.asarray(weight, dtype=np.float64)
        if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
            raise InputError(
                "sample_weight has a weight that is negative or not a number, or only zeros",
                hint="give numbers of 0 or more, at least one of them above 0",
            )
    return float(np.average(right, weights=weight))


_SHARED = ("engine", "embedder", "_embedder")
_lock_creation = threading.Lock()


@cache
def _not_fitted_class(theirs: type[Exception]) -> type[NotFittedError]:
    def reduce(self: NotFittedError) -> tuple[object, ...]:
        return NotFittedError(self.message, hint=self.hint).__reduce__()

    return type("NotFittedError", (NotFittedError, theirs), {"__reduce__": reduce})


def _after_fork() -> None:
    global _lock_creation
    _lock_creation = threading.Lock()


def _use_sklearn_bases(base: ModuleType) -> None:
    """Replace :class:`FallbackEstimator` by scikit-learn's own base classes."""
    Estimator.__bases__ = (base.ClassifierMixin, base.BaseEstimator, Generic)
    made: list[type[Estimator[Any]]] = [Estimator]
    for kind in made:
        kind.__init_subclass__()  # would have run if they had derived from it from the start
        made += kind.__subclasses__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
when_imported("sklearn.base", _use_sklearn_bases)

__all__ = [
    "EngineToReopen",
    "Estimator",
    "FallbackEstimator",
    "PipelineT",
    "parameters",
    "weighted_mean",
]
