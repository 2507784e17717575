"""From generated text to a label, tolerantly, but never by guessing.

Models without log-probabilities answer in prose: ``"Positive."``, ``Answer: B``, ``“好评”``,
``情感：差评``, ``ＰＯＳＩＴＩＶＥ``. The parser takes the first line, strips quotes, markup and
a lead-in, and looks the rest up among the labels. Text that names no label, or names two, is
``None``: the caller reports it as *invalid*.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ecomfs.task import LabelSpace

_LEAD_IN = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:answer|label|category|class|sentiment|intent|output|result"
    r"|答案|标签|类别|类目|分类|情感|意图|结果|回答)\s*(?:is|are|=|:|：|是|为)?\s*[:：]?\s*",
    re.IGNORECASE,
)
_STRIP = " \t\r\n\"'`*_#.,;:!?()[]{}<>«»“”‘’「」『』《》【】（）。，；：！？、-–—>"


class LabelParser:
    """Parses answers for one label space and one set of answer strings.

    Args:
        space: the label space (names and aliases are understood).
        answers: the strings the prompt taught, aligned with the space (words or codes); they
            take precedence over names and aliases.

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
        self._answers: dict[str, int] = {}
        for position, answer in enumerate(answers):
            self._answers.setdefault(_normal(answer), position)
        spelt: dict[str, int] = dict(self._answers)
        for position, label in enumerate(space.labels):
            for spelling in (label.name, *(label.spec.spellings() if label.spec else ())):
                spelt.setdefault(_normal(spelling), position)
        # Single characters and bare numbers occur in prose by accident; whole answers only.
        self._words = {k: v for k, v in spelt.items() if len(k) > 1 and not k.isdigit()}

    def parse(self, text: str) -> int | None:
        """Position of the label that ``text`` names; ``None`` when it names none or several."""
        lines = [line for line in text.splitlines() if line.strip(_STRIP)]
        if not lines:
            return None
        # A sign can be the whole difference between two labels: look before it is stripped.
        exact = self._space.exact(lines[0])
        if exact is not None and _normal(lines[0]) not in self._answers:
            return exact
        line = _normal(lines[0])
        for candidate in (line, _normal(_LEAD_IN.sub("", line))):
            found = self._whole(candidate)
            if found is not None:
                return found
        return self._mentioned(line)

    def _whole(self, text: str) -> int | None:
        if text in self._answers:
            return self._answers[text]
        return self._space.index(text) if text else None

    def _mentioned(self, text: str) -> int | None:
        """The one label mentioned in a sentence. Longer spellings hide the shorter ones they
        contain ("not positive" is a spelling of its own only if the card says so)."""
        found: set[int] = set()
        rest = text
        for spelling in sorted(self._words, key=len, reverse=True):
            edge = r"(?<![0-9a-z])" if spelling[0].isascii() else ""
            tail = r"(?![0-9a-z])" if spelling[-1].isascii() else ""
            rest, hits = re.subn(edge + re.escape(spelling) + tail, "\0", rest)
            if hits:
                found.add(self._words[spelling])
        if len(found) != 1 or _NEGATION.search(text):
            return None
        return found.pop()


_NEGATION = re.compile(r"\b(?:not|isn't|neither|nor|no)\b|不是|并非|无法|不确定")


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip(_STRIP)
