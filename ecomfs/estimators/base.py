"""What scikit-learn asks of a classifier.

The classifiers derive from scikit-learn's own ``BaseEstimator`` and ``ClassifierMixin`` in every
program that imports scikit-learn, whether before or after ecomfs. In programs that do not, the
few methods here do the same: loading the library takes 2.5 s and 135 MB, which a service or a
batch run has no use for.

A classifier also travels: it is cloned, copied, pickled and inherited by forked processes. The
parameters and what was fitted go along; an engine stays in the process that opened it and is
opened again by its name where it is needed.

Source: https://scikit-learn.org/stable/developers/develop.html.
"""

from __future__ import annotations

import copy
import inspect
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from types import ModuleType
from typing import Any, Self

import numpy as np

from ecomfs.core.event_loop import abandon
from ecomfs.core.late import when_imported
from ecomfs.core.options import NO_MODEL, OPTIONS
from ecomfs.embed import Embedder, shared_embedder
from ecomfs.engine.protocol import Engine
from ecomfs.engine.shared import reopen_engine, shared_engine
from ecomfs.errors import ArgumentError, ConfigError, NotFittedError
from ecomfs.pipeline import Options
from ecomfs.task import TaskCard, load_task


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


class Estimator(Plain):
    """A classifier that scikit-learn can use.

    A class that derives from it keeps each parameter of its constructor, unchanged, in an
    attribute of the same name, and checks them in ``fit``. What it needs to answer (engine,
    retriever, prompts) is one object, kept by :meth:`_work_with`, asked for by :meth:`_at_work`
    and made again by :meth:`_reopen` in a process that does not have it.
    """

    task: Any
    engine: Any
    embedder: Any

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
        if not self.__sklearn_is_fitted__():
            raise self._not_fitted()
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

    def _not_fitted(self) -> NotFittedError:
        theirs = sys.modules.get("sklearn.exceptions")
        kind = NotFittedError if theirs is None else _both(theirs.NotFittedError)
        return kind("the classifier has no examples yet", hint="call fit first")

    def _refuse(self, arguments: dict[str, Any]) -> None:
        """Refuse arguments of ``fit`` that scikit-learn's other classifiers may take."""
        for name in arguments:
            weight = name == "sample_weight"
            hint = "examples have no weights; choose the examples" if weight else "leave it out"
            raise ArgumentError(
                f"{type(self).__name__}.fit() got an unexpected keyword argument {name!r}",
                hint=hint,
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
    Estimator.__bases__ = (base.ClassifierMixin, base.BaseEstimator)
    made = [Estimator]
    for kind in made:
        kind.__init_subclass__()  # as it would have run, had they derived from it at first
        made += kind.__subclasses__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
when_imported("sklearn.base", _derive)

__all__ = ["Estimator", "OpenedElsewhere", "Plain", "parameters"]
