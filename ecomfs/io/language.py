"""Which of the two languages a text is in, by script.

Rule: count Han characters and Latin letters. One Han character carries about as much as half a
Latin word, so a text is Chinese when ``han * 2 >= latin``, that is when at least a third of its
letters are Han, and English otherwise, texts without any letter included. Product texts mix
scripts ("小米 Redmi Note 12 Pro 手机壳"); the weight keeps Latin model names from outvoting a
Chinese sentence.

Scripts other than these two are not told apart: the result chooses between an English and a
Chinese prompt, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from ecomfs.types import Language

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\uff21-\uff3a\uff41-\uff5a]")


def detect_language(text: str) -> Language:
    """``zh`` when at least a third of a text's letters are Han, else ``en``.

    >>> detect_language("快递很快"), detect_language("Arrived fast"), detect_language("★★★★★")
    ('zh', 'en', 'en')
    >>> detect_language("小米 Redmi Note 手机壳很好用")
    'zh'
    """
    han = len(_HAN.findall(text))
    return "zh" if han and 2 * han >= len(_LATIN.findall(text)) else "en"


def majority_language(texts: Iterable[str], *, sample: int = 200) -> Language:
    """The language of most of the first ``sample`` texts that have letters; ties and nothing
    to read give ``en``.

    >>> majority_language(["好", "很好", "fine", "", "123"])
    'zh'
    """
    lettered = (text for text in texts if _HAN.search(text) or _LATIN.search(text))
    votes = [detect_language(text) for text in islice(lettered, sample)]
    return "zh" if votes.count("zh") * 2 > len(votes) else "en"
