"""The checks that a candidate must pass to become an example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecomfs.calibration import DecisionPolicy
from ecomfs.errors import ConfigError, PoolError
from ecomfs.io import detect_language, fold, squeeze
from ecomfs.pipeline import Pipeline
from ecomfs.prepare.augment.candidates import Candidate, RejectReason
from ecomfs.prepare.clean.near import Fingerprint, NearIndex, fingerprint
from ecomfs.types import Example, Row, Status

_PROMPT_SHARE = 0.8  # a text with this share of its shingles in one prompt line is a copy


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """Thresholds of the checks.

    Attributes:
        confidence: least probability of the label, as predicted by the classifier.
        near: least shingle similarity (Jaccard) of near copies, 0.5 to 1.
        shortest, longest: limits of the length of a rewrite, relative to its source, in characters
            (a Chinese character counts as three). For a borrowed text they are relative to the
            shortest and the longest text of the pool.

    Raises:
        ConfigError: a number out of range.

    >>> FilterPolicy(confidence=0.9).near
    0.7
    """

    confidence: float = 0.7
    near: float = 0.7
    shortest: float = 0.4
    longest: float = 2.5

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise ConfigError(f"--confidence {self.confidence}", hint="use 0 to 1")
        if not 0.5 <= self.near <= 1:
            raise ConfigError(f"--near {self.near}", hint="use 0.5 to 1")
        if not 0 <= self.shortest < 1 < self.longest:
            raise ConfigError(
                f"lengths from {self.shortest} to {self.longest}",
                hint="use a first value below 1 and a second value above 1",
            )


class CandidateFilter:
    """Checks candidates against a pool, its classifier, and each other.

    The classifier reads a candidate with demonstrations from the original pool, without the
    candidate's source, near copies of the source, and other candidates made from it. Only the model
    is used: the experts were fitted on the whole pool, source included. The label bias was too, but
    it is only a few numbers for all examples together.

    Args:
        pipeline: the fitted pipeline.
        field: the text field to compare; ``None``: the whole row as text.

    Raises:
        ConfigError: the pipeline has no model to read candidates.
        PoolError: the pipeline has no examples.

    >>> from dataclasses import replace
    >>> from types import SimpleNamespace
    >>> from ecomfs import FewShotClassifier
    >>> from ecomfs.engine import Capabilities
    >>> from ecomfs.types import Example
    >>> clf = FewShotClassifier("review_sentiment", engine=None, embedder="hashed", language="en")
    >>> clf = clf.fit(["broke at once", "fits well"], ["negative", "positive"])
    >>> able = Capabilities(False, True, False, context_tokens=512)
    >>> reader = SimpleNamespace(capabilities=able)  # would read candidates; here none gets so far
    >>> checks = CandidateFilter(replace(clf.pipeline_, engine=reader), "text")
    >>> checks.check_text(Example("3", {"text": "Broke, at once!"}, "negative"))
    ('near_copy', "example '0', similarity 1.00")
    >>> checks.check_text(Example("4", {"text": "the sleeve is torn"}, "negative")) is None
    True
    """

    def __init__(
        self, pipeline: Pipeline, field: str | None, policy: FilterPolicy | None = None
    ) -> None:
        if not pipeline.has_model:
            raise ConfigError(
                "new examples are checked by a model, and there is none (--engine none)",
                hint="name a model: --engine auto",
            )
        # The linear probe was fitted on the source too, so it would repeat the source's label.
        self.pipeline = replace(pipeline, experts=None, policy=DecisionPolicy())
        self.policy = policy or FilterPolicy()
        if pipeline.retriever is None:
            raise PoolError("the pool is empty", hint="add labelled examples")
        self.examples = pipeline.retriever.examples
        self._field = field
        self._near = NearIndex(self.policy.near)
        self._exact: dict[str, str] = {}
        texts = [self.words(e.fields) for e in self.examples]
        self._pool_near = NearIndex(self.policy.near)
        for example, text in zip(self.examples, texts, strict=True):
            item = _print(text)
            self._remember(f"example {example.id!r}", item)
            self._pool_near.add(example.id, item)
        self._lengths = min(map(_size, texts)), max(map(_size, texts))
        labels = pipeline.space.labels
        self._names = {
            spelling.casefold().replace("_", " ")
            for label in labels
            for spelling in (label.name, label.word("en"), label.word("zh"))
            if spelling.strip()
        }

    def words(self, row: Row) -> str:
        """The text by which a row is compared, on one line."""
        text = self.pipeline.text(row) if self._field is None else str(row.get(self._field, ""))
        return squeeze(text)

    def check_text(
        self, example: Example, source: Example | None = None, prompt: str = ""
    ) -> tuple[RejectReason, str] | None:
        """The first check that the text fails, with details; ``None`` if it passes all. A text that
        passes is compared with all later ones.

        Args:
            source: the example that was rewritten; ``None`` for a borrowed text, which is not
                checked for language and label names.
            prompt: the prompt of the rewrite.
        """
        text = self.words(example.fields)
        if not fold(text):
            return "empty", ""
        before = None if source is None else self.words(source.fields)
        if before is not None:
            language = detect_language(before)
            if detect_language(text) != language:
                return "wrong_language", f"{language} was expected"
        if before is None:
            low = self._lengths[0] * self.policy.shortest
            high = self._lengths[1] * self.policy.longest
        else:
            low, high = _size(before) * self.policy.shortest, _size(before) * self.policy.longest
        if not low <= _size(text) <= high:
            return "length", f"{_size(text)} letters long, not {low:.0f} to {high:.0f}"
        if before is not None:
            named = self._named(text) - self._named(before)
            if named:
                return "leaks_label", f"contains {sorted(named)[0]!r}"
        item = _print(text)
        line = _copied(item, prompt)
        if line:
            return "copies_prompt", line
        twin = self._exact.get(item.key)
        if twin is not None:
            return "near_copy", f"{twin}, the same letters and digits"
        for name, similarity in self._near.matches(item)[:1]:
            return "near_copy", f"{name}, similarity {similarity:.2f}"
        self._remember(f"candidate {example.id!r}", item)
        return None

    async def check_reading(
        self, examples: Sequence[Example], sources: Sequence[Example | None]
    ) -> list[Candidate]:
        """Classify each candidate, and keep or reject it.

        Raises:
            EngineError: the engine is unavailable.
        """
        answers = await self.pipeline.trace(
            [e.fields for e in examples],
            [e.id for e in examples],
            exclude_ids=[self._hidden(source) for source in sources],
            leave_self_out=True,
        )
        out = []
        for example, (_, _, prediction) in zip(examples, answers, strict=True):
            found = Candidate(
                example, read_as=prediction.label or "", confidence=prediction.confidence
            )
            if prediction.status != Status.OK:
                found = replace(found, reason="unreadable", detail=prediction.error)
            elif prediction.label != example.label:
                found = replace(found, reason="other_label", detail=f"reads {prediction.label!r}")
            elif prediction.confidence is None:
                found = replace(found, reason="unsure", detail="the read-out gives no probability")
            elif prediction.confidence < self.policy.confidence:
                found = replace(found, reason="unsure", detail=f"{prediction.confidence:.2f}")
            out.append(found)
        return out

    def _hidden(self, source: Example | None) -> set[str]:
        """Ids of the examples that must not be shown: the source and its near copies."""
        if source is None:
            return set()
        near = self._pool_near.matches(_print(self.words(source.fields)))
        return {source.id, *(str(name) for name, _ in near)}

    def _remember(self, name: str, item: Fingerprint) -> None:
        self._exact.setdefault(item.key, name)
        self._near.add(name, item)

    def _named(self, text: str) -> set[str]:
        plain = text.casefold().replace("_", " ")
        return {name for name in self._names if _contains_word(plain, name)}


def _size(text: str) -> int:
    """Length in characters; a Chinese character counts as three, because it carries about as much
    as three letters and borrowed texts are compared across languages.

    >>> _size("broke"), _size("坏了!")
    (5, 7)
    """
    return len(text) + 2 * sum("\u3400" <= char <= "\u9fff" for char in text)


def _contains_word(text: str, name: str) -> bool:
    """Whether a text contains a name as a whole word (in Chinese, as a substring).

    >>> _contains_word("unlike the others", "like"), _contains_word("i like it", "like")
    (False, True)
    >>> _contains_word("给好评", "好评")
    True
    """
    start = r"(?<![a-z0-9])" if re.match(r"[a-z0-9]", name) else ""
    end = r"(?![a-z0-9])" if re.search(r"[a-z0-9]$", name) else ""
    return re.search(start + re.escape(name) + end, text) is not None


def _print(text: str) -> Fingerprint:
    # Numbers are ignored: a rewrite that changes only a number is a near copy.
    return replace(fingerprint(text), codes=())


def _copied(item: Fingerprint, prompt: str) -> str:
    """The prompt line that contains most of the text; empty if there is none."""
    for line in prompt.splitlines():
        other = fingerprint(line)
        if item.shingles and len(item.shingles & other.shingles) >= _PROMPT_SHARE * len(
            item.shingles
        ):
            return line
    return ""


__all__ = ["CandidateFilter", "FilterPolicy"]
