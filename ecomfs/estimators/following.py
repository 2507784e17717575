"""Classifiers follow their pool: what was changed in it since ``fit`` counts from the next call
on, while calibration and thresholds stay as ``fit`` made them."""

from __future__ import annotations

import warnings
from typing import Generic, Protocol, TypeVar

from ecomfs.estimators.base import Estimator, parameters
from ecomfs.pool import Pool


class OfPool(Protocol):
    """What answers rows, made from one version of a pool."""

    @property
    def pool_version(self) -> int:
        """The version of the pool that it was made from."""


AnswersOfPool = TypeVar("AnswersOfPool", bound=OfPool)


class PoolFollower(Estimator, Generic[AnswersOfPool]):
    """A classifier with what answers its rows, :attr:`pipeline_`, made again by :meth:`refresh`
    where the pool has changed.

    A class that derives from it has ``_answers``, and may have a ``_follow`` that costs less than
    to fit again by what was fitted.

    Attributes
    ----------
    pool_ : Pool
        The labelled examples.
    """

    pool_: Pool

    @property
    def pipeline_(self) -> AnswersOfPool:
        """What answers the rows of tables and requests: everything decided for this run, with the
        engine of this process.

        Raises:
            NotFittedError: not fitted.
        """
        return self._answers()

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
        raise NotImplementedError

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


__all__ = ["OfPool", "PoolFollower"]
