"""Classifies the rows of requests."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecomfs.core import event_loop
from ecomfs.core.json import plain
from ecomfs.engine.servers import IN_A_ROW
from ecomfs.errors import (
    ConfigError,
    EcomfsError,
    EngineError,
    InputError,
    InvalidLogprobsError,
    RowError,
)
from ecomfs.estimators import FewShotClassifier, as_rows
from ecomfs.io import MAX_CELL_CHARS
from ecomfs.pipeline import Explanation, Pipeline, RowState
from ecomfs.pool import Pool
from ecomfs.screen import Mask
from ecomfs.serve import schemas
from ecomfs.serve.batcher import MicroBatcher
from ecomfs.serve.problems import loggable
from ecomfs.types import Demonstration, Posterior, Prediction, Row, Status

_RETRY_SECONDS = 10.0
"""Seconds before an unusable version of the pool is tried again; reading a pool takes time."""

_PROMPT_CHARACTERS = 1000.0
"""Work per row besides its own text: instruction and demonstrations, in characters."""
_READ_CHARACTERS = 8000
"""Most characters of a row's text that count as work; longer texts are truncated anyway."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedPrediction:
    """A prediction with its explanation, and its variant if traffic is split."""

    explanation: Explanation
    variant: str | None = None


class Service:
    """A fitted classifier that answers concurrent requests.

    The pool version is checked at every call, so changes by any process take effect. If the current
    version cannot be used, or the database cannot be read, the service continues with the last
    usable version, and :attr:`problem` has the reason.

    Attributes:
        problem: why the current pool is not in use; empty if it is.
        batcher: joins the rows of concurrent requests.

    Raises:
        ConfigError: the classifier is not fitted.
    """

    def __init__(self, classifier: FewShotClassifier) -> None:
        if getattr(classifier, "pipeline_", None) is None:
            raise ConfigError("the classifier has no examples yet", hint="call fit first")
        self._classifier = classifier
        self._mask = Mask.of(classifier.mask)
        size = self.pipeline.engine.capabilities.batch
        self.batcher = MicroBatcher(self._answer, rows=size, work=_work_of, staged=True)
        self.problem = ""
        self._unusable: int | None = None
        self._again = 0.0
        self._refreshing = threading.Lock()
        self._bad_readings: list[EngineError] = []

    @property
    def engine_error(self) -> str:
        """Why the engine is unhealthy: several readings in a row were no valid distributions. Empty
        if it is healthy."""
        bad = self._bad_readings
        return bad[-1].message if len(bad) >= IN_A_ROW else ""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline in use."""
        return self._classifier.pipeline_

    @property
    def pool(self) -> Pool:
        """The labelled examples."""
        return self._classifier.pool_

    def refresh_unless_busy(self) -> None:
        """:meth:`refresh`, unless another thread is doing it now."""
        if not self._refreshing.locked():
            self.refresh()

    def refresh(self) -> Pipeline:
        """The pipeline for the current pool, or the last usable one."""
        classifier = self._classifier
        with self._refreshing:
            version: int | None = None
            try:
                version = classifier.pool_.version
                if version != self._unusable or time.monotonic() >= self._again:
                    classifier.refresh()
                    self._unusable = None
                    self._log_problem("")
            except Exception as error:  # for any error, keep the version in use
                self._unusable, self._again = version, time.monotonic() + _RETRY_SECONDS
                reason = str(error) if isinstance(error, EcomfsError) else repr(error)
                self._log_problem(reason, error)
            return classifier.pipeline_

    def _log_problem(self, problem: str, error: Exception | None = None) -> None:
        """Log a problem when it starts and when it ends."""
        if problem == self.problem:
            return
        self.problem = problem
        version = self._classifier.pipeline_.pool_version
        if not problem:
            _log.warning("the pool can be used again: version %d is in use", version)
            return
        why = problem if error is None else loggable(error)
        _log.error("pool unusable, version %d stays in use: %s", version, why)

    async def answer(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Explanation]:
        """One explained prediction per row, in order; the rows are those of :meth:`rows`.

        Raises:
            EngineError: the engine is unavailable.
        """
        problems = [unreadable(row) for row in rows]
        good = [i for i, problem in enumerate(problems) if not problem]
        answers: dict[int, Explanation] = {}
        if good:
            work = self.batcher.submit([rows[i] for i in good], [ids[i] for i in good])
            answers = dict(zip(good, await event_loop.run_async(work), strict=True))
        return [
            answers[i] if i in answers else self._failed(ids[i], problems[i])
            for i in range(len(rows))
        ]

    def rows(self, rows: Sequence[Any]) -> list[Row]:
        """Convert the rows of a request to rows of the task, with personal data masked if this is
        enabled. The rest of the service gets only these rows.

        Raises:
            InputError: they are not rows of the task.
        """
        texts = [isinstance(row, str) for row in rows]
        if any(texts) and not all(texts):
            other = texts.index(not texts[0])
            raise InputError(
                f"rows[{other}] is {'a text' if texts[other] else 'an object'}, rows[0] is not",
                hint="send all rows as texts, or all as objects",
            )
        card = self.pipeline.card
        try:
            return [self.masked(row) for row in as_rows(rows, card, self._classifier.fields)]
        except ConfigError as error:
            needed = ", ".join(spec.name for spec in card.fields)
            raise InputError(error.message, hint=f"send objects with {needed}") from error

    def masked(self, row: Row) -> Row:
        """A row of the task, with personal data masked if this is enabled."""
        return row if self._mask is None else self._mask.row(row, self.pipeline.card)

    async def _answer(self, rows: Sequence[Row], ids: Sequence[str]) -> list[Explanation]:
        """Classify rows in parts of the engine's batch size, so that work for disconnected callers
        ends with the current part. All parts use the same pool version."""
        pipeline = await asyncio.to_thread(self.refresh)
        size = max(1, pipeline.engine.capabilities.batch)
        answers: list[Explanation] = []
        preparing: asyncio.Task[list[RowState]] | None = None
        try:
            for start in range(0, len(rows), size):
                end = start + size
                if preparing is None:
                    preparing = _prepared(pipeline, rows[start:end], ids[start:end])
                cases, preparing = await asyncio.shield(preparing), None
                self.batcher.prepared()
                if end < len(rows):  # prepare the next part while this one is read
                    after = slice(end, end + size)
                    preparing = _prepared(pipeline, rows[after], ids[after])
                answers += self._explained(pipeline, await pipeline.answer(cases))
        finally:
            if preparing is not None:  # a thread cannot be stopped, so wait for it
                await asyncio.wait([preparing])
                preparing.exception()
        return answers

    def _explained(
        self,
        pipeline: Pipeline,
        answered: Sequence[tuple[RowState, Posterior | EcomfsError | None, Prediction]],
    ) -> list[Explanation]:
        answers = []
        for case, posterior, prediction in answered:
            if isinstance(posterior, InvalidLogprobsError):
                self._bad_readings = [*self._bad_readings, posterior][-IN_A_ROW:]
            elif isinstance(posterior, Posterior):
                self._bad_readings = []
            read = posterior if isinstance(posterior, Posterior) else None
            names = pipeline.space.names
            answers.append(Explanation(case, read, prediction, names))
        return answers

    def _failed(self, id_: str, why: str) -> Explanation:
        pipeline = self.pipeline
        prediction = Prediction(
            id_,
            None,
            status=Status.FAILED,
            error=why,
            engine=pipeline.engine.fingerprint,
            pool_version=pipeline.pool_version,
        )
        case = RowState(id_, pipeline.language or "en", error=RowError(why))
        return Explanation(case, None, prediction, pipeline.space.names)


def _prepared(
    pipeline: Pipeline, rows: Sequence[Row], ids: Sequence[str]
) -> asyncio.Task[list[RowState]]:
    return asyncio.ensure_future(asyncio.to_thread(pipeline.prepare, rows, ids))


def _work_of(row: Row) -> float:
    """The work of a row, in characters to read.

    >>> _work_of({"text": "fine"}), _work_of({"text": "x" * 50_000, "price": 9.5})
    (1004.0, 9000.0)
    """
    length = 0
    for value in row.values():
        length += sum(map(len, _texts(value)))
        if length >= _READ_CHARACTERS:
            break
    return _PROMPT_CHARACTERS + min(length, _READ_CHARACTERS)


def unreadable(row: Row) -> str:
    """Why a row cannot be read, by the same rules as for tables; empty if it can."""
    for name, value in row.items():
        for text in _texts(value):
            if "\0" in text:
                return f"field {name!r} holds a NUL character"
            if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
                return f"field {name!r} holds half a character (a lone surrogate)"
            if len(text) > MAX_CELL_CHARS:
                limit = f"more than the limit of {MAX_CELL_CHARS:,}"
                return f"field {name!r} has {len(text):,} characters, {limit}"
    return ""


def _texts(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def prediction_out(answer: ServedPrediction, *, explain: bool) -> schemas.PredictionOut:
    """A prediction as a response body."""
    explanation = answer.explanation
    p = explanation.prediction
    same = {
        name: getattr(p, name) for name in schemas.PredictionOut.model_fields if hasattr(p, name)
    }
    return schemas.PredictionOut(
        **{**same, "template": str(p.template) if p.template else None},
        variant=answer.variant,
        explanation=_explanation(explanation) if explain else None,
    )


def _explanation(explanation: Explanation) -> schemas.ExplanationOut:
    case, posterior = explanation.state, explanation.posterior
    return schemas.ExplanationOut(
        language=case.language,
        demonstrations=[_demonstration(d) for d in case.demonstrations],
        prompt=schemas.PromptOut.model_validate(case.prompt) if case.prompt else None,
        raw=posterior.raw if posterior else None,
        experts=explanation.experts,
        nearest=_number(None if case.opinion is None else case.opinion.similarity),
    )


def _demonstration(d: Demonstration) -> schemas.DemonstrationOut:
    return schemas.DemonstrationOut(
        id=d.example.id,
        label=d.example.label,
        text=d.text,
        similarity=_number(d.similarity),
        fields=plain(d.example.fields),
        synthetic=d.example.synthetic,
    )


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
