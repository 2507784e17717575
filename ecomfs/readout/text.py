"""Read-out from generated text, for engines without log-probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Self

from ecomfs.engine.protocol import Engine
from ecomfs.errors import EngineError
from ecomfs.readout.logprob import AnswerFormat, Readout
from ecomfs.readout.verbalizer import Verbalizer
from ecomfs.task import LabelSpace, label_number, plain_key
from ecomfs.types import Posterior, Prompt


class TextReadout(Readout):
    """Generates a short answer and parses it. The posterior is one-hot, since the confidence is
    unknown without log-probabilities.

    Parameters
    ----------
    space
        The labels.
    verbalizer
        Their answers in the prompt.
    max_tokens
        Most tokens of an answer.

    Examples
    --------
    >>> from ecomfs.task import Label
    >>> space = LabelSpace([Label("good"), Label("bad")])
    >>> TextReadout(space, Verbalizer("words", ("good", "bad"))).name
    'text'
    """

    needs = "text"
    name = "text"

    def __init__(self, space: LabelSpace, verbalizer: Verbalizer, max_tokens: int = 24) -> None:
        self._space = space
        self._verbalizer = verbalizer
        self._parser = LabelParser(space, verbalizer.answers)
        self._max_tokens = max_tokens

    @staticmethod
    def supported(engine: Engine) -> bool:
        return engine.capabilities.generates

    @classmethod
    def of(cls, wording: AnswerFormat, engine: Engine) -> Self:
        return cls(wording.space, wording.verbalizer)

    def subset(self, places: Sequence[int]) -> Self:
        return type(self)(
            LabelSpace([self._space.labels[i] for i in places]),
            self._verbalizer.subset(places),
            self._max_tokens,
        )

    async def read(
        self, engine: Engine, prompts: Sequence[Prompt]
    ) -> list[Posterior | EngineError]:
        out: list[Posterior | EngineError] = []
        for generation in await engine.generate(prompts, max_tokens=self._max_tokens, stop=("\n",)):
            if isinstance(generation, EngineError):
                out.append(generation)
                continue
            label = self._parser.parse(generation.text)
            one_hot = tuple(float(i == label) for i in range(len(self._space)))
            out.append(
                Posterior(
                    one_hot if label is not None else (),
                    raw=generation.text,
                    prompt_tokens=generation.prompt_tokens,
                    cached_tokens=generation.cached_tokens,
                )
            )
        return out


_LEAD_IN = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:answer|label|category|class|sentiment|intent|output|result"
    r"|答案|标签|类别|类目|分类|情感|意图|结果|回答)\s*(?:is|are|=|:|：|是|为)?\s*[:：]?\s*",
    re.IGNORECASE,
)
_MARKS = r"""\s"'`*_.,;:!?()\[\]{}<>«»“”‘’「」『』《》【】（）。，；：！？、—"""
# A hyphen or hash before a space begins a list item or heading; elsewhere it is part of the label,
# and so is any sign before a digit ("-1", ".5").
_BEFORE = re.compile(rf"(?:[{_MARKS}]|[-–#](?=\s))*")
_AFTER = re.compile(rf"(?:[{_MARKS}]|(?<=\s)[-–])*$")
_SIGN_BEFORE = re.compile(r"(?:[-–]\s*|[.,])$")
_MOST_MARKS = 16


class LabelParser:
    """Finds the label in generated text, tolerant but without guessing.

    Models without log-probabilities answer in prose: ``"Positive."``, ``Answer: B``, ``“好评”``,
    ``情感：差评``, ``ＰＯＳＩＴＩＶＥ``. The parser takes the first line and removes as few quotes,
    marks and introductory words from its ends as are needed to find a label: ``C#.`` is ``C#``
    rather than ``C``. Signs that carry meaning are never removed. Text with no label, or with two,
    gives ``None``, which the caller reports as *invalid*.

    Parameters
    ----------
    space
        The label space; names and aliases are recognised.
    answers
        The answers in the prompt, aligned with the space (words or codes); they take precedence
        over names and aliases.

    Examples
    --------
    >>> from ecomfs.task import load_task
    >>> space = LabelSpace.resolve(load_task("review_sentiment"), [])
    >>> parser = LabelParser(space, ["A", "B"])
    >>> [parser.parse(t) for t in ("A", " b) ", "**Positive**.", "情感：差评", "ＰＯＳ！")]
    [0, 1, 0, 1, 0]
    >>> [parser.parse(t) for t in ("", "I think so", "positive or negative")]
    [None, None, None]
    """

    def __init__(self, space: LabelSpace, answers: Sequence[str] = ()) -> None:
        self._space = space
        self._answers = {answer.strip(): place for place, answer in enumerate(answers)}
        self._plain: dict[str, int | None] = {}
        self._words: dict[str, int | None] = {}
        for place, answer in enumerate(answers):
            _assign(self._plain, plain_key(answer), place)
        for place, label in enumerate(space.labels):
            for spelling in label.spellings():
                _assign(self._words, plain_key(spelling), place)
        # The answers in the prompt take precedence over other meanings of a word.
        self._words |= self._plain
        # Single characters and numbers occur in prose by chance: they must be the whole answer.
        for word in [w for w in self._words if len(w) < 2 or label_number(w) is not None]:
            del self._words[word]

    def parse(self, text: str) -> int | None:
        """Position of the label in ``text``; ``None`` if there is none or several."""
        for line in map(str.strip, text.splitlines()):
            if _AFTER.sub("", line) or self._whole(line) is not None:
                return self._read(line)
        return None

    def _read(self, line: str) -> int | None:
        for candidate in (line, _LEAD_IN.sub("", line)):
            for same_length in _unmarked(candidate):
                found = {p for t in same_length if (p := self._whole(t)) is not None}
                if found:
                    return found.pop() if len(found) == 1 else None
        return self._mentioned(plain_key(line))

    def _whole(self, text: str) -> int | None:
        if text in self._answers:
            return self._answers[text]
        key = plain_key(text)
        return self._plain[key] if key in self._plain else self._space.index(text)

    def _mentioned(self, text: str) -> int | None:
        """The only label mentioned in a sentence. Longer spellings are found before shorter ones
        inside them ("not positive" is a spelling only if the card has it)."""
        found: set[int | None] = set()
        rest = text
        for spelling in sorted(self._words, key=len, reverse=True):
            edge = _NO_WORD_BEFORE if spelling[0].isascii() else ""
            tail = _NO_WORD_AFTER if spelling[-1].isascii() else ""
            rest, hits = re.subn(edge + re.escape(spelling) + tail, "\0", rest)
            if hits:
                found.add(self._words[spelling])
        # The rest has no spellings: "not relevant" may be a label.
        if len(found) != 1 or _NEGATION.search(rest):
            return None
        return found.pop()


_NEGATION = re.compile(
    r"\b(?:not|cannot|never|neither|nor|no|hardly|far from)\b|n['’]t\b"
    r"|不是|并非|并不|无法|不确定|不属于|不算|不能|不像|没有|难以"
)
# "AA" is not mentioned in "AA+", nor "5mm" in "3.5mm", nor "positive" in "non-positive".
_SIGN = r"0-9a-z+#%&/\-–²³¹⁰-₉½¼¾"
_NO_WORD_BEFORE = rf"(?<![{_SIGN}])(?<!\d[.,])"
_NO_WORD_AFTER = rf"(?![{_SIGN}])(?![.,]\d)"


def _assign(owners: dict[str, int | None], key: str, place: int) -> None:
    """Assign a key to a label; a key of two labels is assigned to neither."""
    owners[key] = place if owners.get(key, place) == place else None


def _unmarked(text: str) -> Iterator[list[str]]:
    """The text with more and more marks removed from its ends, grouped by length."""
    before = _BEFORE.match(text)
    after = _AFTER.search(text)
    left = min(before.end() if before else 0, _MOST_MARKS)
    right = min(len(text) - after.start() if after else 0, _MOST_MARKS)
    if text[left : left + 1].isdigit() and (sign := _SIGN_BEFORE.search(text, 0, left)):
        left = sign.start()
    for off in range(left + right + 1):
        ends = ((i, len(text) - (off - i)) for i in range(max(0, off - right), min(left, off) + 1))
        yield [text[i:end] for i, end in ends if i < end]
