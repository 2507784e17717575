"""Splits traffic between variants, and logs assignments and predictions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecomfs.core import event_loop
from ecomfs.errors import ConfigError, OutputError
from ecomfs.estimators import FewShotClassifier
from ecomfs.serve import schemas
from ecomfs.serve.service import ServedPrediction, Service
from ecomfs.task import TaskCard
from ecomfs.traffic import (
    LoggedPrediction,
    LoggedStart,
    TrafficLog,
    TrafficRecord,
    TrafficSplit,
    now,
    read_log,
)
from ecomfs.types import Row

_log = logging.getLogger(__name__)


class SplitService:
    """Several fitted classifiers of one task behind one service.

    A hash of its id assigns a row to a variant, so the variant is the same for every request and
    after every restart. Predictions are logged before they are returned. If the log cannot be
    written, the service continues, and ``GET /healthz`` counts the missing predictions.

    Parameters
    ----------
    classifiers : mapping of str to FewShotClassifier
        Variant → fitted classifier; the first is the one in use.
    split : ecomfs.traffic.TrafficSplit
        Weights of the variants, and the seed.
    log : ecomfs.traffic.TrafficLog
        The log of assignments and predictions.
    sources : mapping of str to str, optional
        Variant → its description, for the log.

    Raises
    ------
    ConfigError
        Fewer than two variants, a classifier that is not fitted, variants that differ in task or
        labels, or a task with several labels per row.
    OutputError
        The log cannot be written.

    Examples
    --------
    >>> import os
    >>> SplitService({}, TrafficSplit({"A": 1}), TrafficLog(os.devnull))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: variants  with weights of A (give two or more variants, ...

    Fitted classifiers hold a model, so they are not made here:

    >>> service = SplitService({"A": one, "B": two}, split, log)         # doctest: +SKIP
    >>> app = create_app(service)                                        # doctest: +SKIP
    """

    def __init__(
        self,
        classifiers: Mapping[str, FewShotClassifier],
        split: TrafficSplit,
        log: TrafficLog,
        *,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        if len(classifiers) < 2 or list(classifiers) != list(split.weights):
            raise ConfigError(
                f"variants {', '.join(classifiers)} with weights of {', '.join(split.weights)}",
                hint="give two or more variants, each with a weight",
            )
        self.services = {name: Service(c) for name, c in classifiers.items()}
        card = next(iter(self.services.values())).pipeline.card
        if card.multi_label:  # logs are compared by one label per row
            raise ConfigError(
                f"the traffic of task {card.name!r} cannot be split: it has several labels per row",
                hint="compare the variants on labelled rows: ecomfs ab … --data FILE",
            )
        self._split = split
        self._traffic = log
        self.unlogged = 0
        first, *others = (service.pipeline for service in self.services.values())
        for name, other in zip([*classifiers][1:], others, strict=True):
            if other.card.name != first.card.name or {*other.space.names} != {*first.space.names}:
                raise ConfigError(
                    f"variant {name!r} has another task or other labels than the first",
                    hint="use the same task and the same pool for all variants",
                )
        start = LoggedStart(
            task=first.card.name,
            labels=first.space.names,
            weights=dict(split.weights),
            seed=split.seed,
            variants=dict(sources or {}),
            time=now(),
        )
        log.write([start])

    async def answers(
        self, rows: Sequence[Row], ids: Sequence[str], *, log: bool = False
    ) -> list[ServedPrediction]:
        """One prediction per row, in order, by the variant of its id.

        Raises:
            EngineError: the engine of a variant is unavailable; the request is not logged.
        """
        variants = [self._split.of(id_) for id_ in ids]

        async def answer(variant: str, places: list[int]) -> list[ServedPrediction]:
            service = self.services[variant]
            found = await service.answer([rows[i] for i in places], [ids[i] for i in places])
            return [ServedPrediction(explanation, variant) for explanation in found]

        answers = await event_loop.gather_groups(variants, answer)
        if log:
            entries = [
                LoggedPrediction.of(
                    a.variant or "", a.explanation.state.language, a.explanation.prediction
                )
                for a in answers
            ]
            try:
                await asyncio.to_thread(self._traffic.write, entries)
            except OutputError as error:
                if not self.unlogged:
                    _log.error("predictions are not logged: %s", error)
                self.unlogged += len(entries)
        return answers

    def record(self) -> TrafficRecord:
        """The log so far.

        Raises:
            InputError: the log cannot be read.
        """
        return read_log(self._traffic.path)

    def variants(self) -> list[schemas.VariantOut]:
        """The variants as in ``GET /healthz``."""
        shares = self._split.shares
        return [
            schemas.VariantOut(
                name=name,
                share=shares[name],
                engine=service.pipeline.engine.spec,
                k=service.pipeline.k,
                templates={
                    language: str(setup.builder.ref)
                    for language, setup in service.pipeline.setups.items()
                },
            )
            for name, service in self.services.items()
        ]


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """The comparison of variants on labelled rows.

    Attributes:
        scores: variant → metric → score as text.
        decision: the decision in words.
        notes: notes on the comparison.
    """

    scores: Mapping[str, Mapping[str, str]]
    decision: str
    notes: tuple[str, ...]


Compare = Callable[[TrafficRecord, Mapping[str, str], TaskCard], ComparisonSummary]
"""Compares the variants of a log on the labelled rows, by id; ``ecomfs serve`` uses
:func:`ecomfs.ab.compare_log`."""
