"""Collaborative features: how many other users have an item in a history, and how similar they are
to the user of the row.

Leakage: rows are often windows over one list of events, so that the item of one row is in the
history of a later row of the same user, in the history that its label decides. A count over all
histories would leak the label. So rows of the same user never count, earlier or later, and a row
without a user has no such features. Labels of the pool are not used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from ecomfs.features.block import Block, Feature, Floats, Values, columns, title_of, titles_of
from ecomfs.features.items import item_kind, match_key
from ecomfs.io import squeeze
from ecomfs.task import FieldSpec
from ecomfs.types import Language

_COMMON = 5.0
"""Shrinkage of the agreement of two users: it is divided by their items in common plus this."""
_SURE = 0.5
"""Shrinkage of the sums over users who have an item, weighted by agreement."""

_Items = tuple[frozenset[str], ...]  # the items of one user, one set per history


class OtherUsersBlock(Block):
    """Features of an item in the histories of other users of the pool.

    Args:
        user: the field with the user of a row.
        item: a field of kind ``text`` or ``category``.
        histories: fields of kind ``history``, such as liked and disliked.

    >>> block = OtherUsersBlock(FieldSpec(name="user", kind="id"),
    ...                         FieldSpec(name="item", kind="text"),
    ...                         [FieldSpec(name="liked", kind="history"),
    ...                          FieldSpec(name="disliked", kind="history")])
    >>> block.fit([{"user": "u1", "item": "x", "liked": ["Heat"], "disliked": []},
    ...            {"user": "u2", "item": "x", "liked": ["Heat"], "disliked": ["Jaws"]}])
    >>> row = {"user": "u1", "item": "Heat", "liked": ["Alien"], "disliked": []}
    >>> block.phrases(row, "en")[0]  # u1's own history does not count
    'of 1 other user, 1 has the item in liked, 0 in disliked'
    """

    def __init__(self, user: FieldSpec, item: FieldSpec, histories: Sequence[FieldSpec]) -> None:
        self.user, self.item, self.histories = user, item, tuple(histories)
        self._pairs = list(combinations(range(len(self.histories)), 2))
        en, zh = titles_of(item)
        found = []
        for h in self.histories:
            a, b = titles_of(h)
            key = f"{item.name}@{h.name}"
            found += [
                Feature(f"{key}:users", f"other users with {en} in {a}", f"{b}含{zh}的其他用户数"),
                Feature(
                    f"{key}:alike",
                    f"other users with {en} in {a} who are alike",
                    f"{b}含{zh}的相似用户",
                ),
            ]
        for i, j in self._pairs:
            one, two = self.histories[i], self.histories[j]
            key = f"{item.name}@{one.name}/{two.name}"
            a, b = map("/".join, zip(titles_of(one), titles_of(two), strict=True))
            found += [
                Feature(f"{key}:users", f"{en} in {a} of other users", f"其他用户{b}含{zh}之比"),
                Feature(f"{key}:alike", f"{en} in {a} of users alike", f"相似用户{b}含{zh}之比"),
            ]
        self.features = tuple(found)

    def fit(self, rows: Sequence[Values]) -> None:
        known: dict[str, list[set[str]]] = {}
        for row in rows:
            if row[self.user.name] is not None:
                sets = known.setdefault(row[self.user.name], [set() for _ in self.histories])
                for items, found in zip(sets, self._items(row), strict=True):
                    items |= found
        self._known: dict[str, _Items] = {
            user: tuple(frozenset(items) for items in sets) for user, sets in known.items()
        }
        self._with: defaultdict[str, list[str]] = defaultdict(list)
        for user, own in self._known.items():
            for key in sorted(frozenset().union(*own)):
                self._with[key].append(user)

    def values(self, rows: Sequence[Values]) -> Floats:
        return columns([self._values(row) for row in rows], len(self.features))

    def _values(self, row: Values) -> list[float]:
        others = self._others(row)
        own = self._items(row)
        counts, alike = [0] * len(self.histories), [0.0] * len(self.histories)
        for user, places in others:
            near = _agreement(own, self._known[user])
            for place in places:
                counts[place] += 1
                alike[place] += near
        out: list[float] = []
        for n, near in zip(counts, alike, strict=True):
            out += [math.log1p(n), near]
        for i, j in self._pairs:
            out.append(math.log((counts[i] + 1) / (counts[j] + 1)))
            out.append((alike[i] - alike[j]) / (_SURE + alike[i] + alike[j]))
        return out

    def _others(self, row: Values) -> list[tuple[str, list[int]]]:
        """The other users who have the item, each with the histories that contain it."""
        me, key = row[self.user.name], match_key(squeeze(row[self.item.name] or ""))
        if me is None or not key:
            return []
        found = []
        for user in self._with.get(key, ()):
            if user != me:
                own = self._known[user]
                found.append((user, [i for i, items in enumerate(own) if key in items]))
        return found

    def _items(self, row: Values) -> _Items:
        return tuple(
            frozenset(match_key(item_kind(h, item)) for item in row[h.name] or []) - {""}
            for h in self.histories
        )

    def phrases(self, row: Values, language: Language) -> list[str]:
        others = self._others(row)
        if not others:
            return [""] * len(self.features)
        of = len(self._known.keys() - {row[self.user.name]})
        sides = range(len(self.histories))
        counts = [sum(side in found for _, found in others) for side in sides]
        item = title_of(self.item, language)
        titles = [title_of(h, language) for h in self.histories]
        if language == "zh":
            parts = [f"{n}位的{title}含{item}" for n, title in zip(counts, titles, strict=True)]
            said = f"其他{of}位用户中，{'，'.join(parts)}"
        else:
            have = "has" if counts[0] == 1 else "have"
            first = f"{counts[0]} {have} the {item} in {titles[0]}"
            rest = [f"{n} in {title}" for n, title in zip(counts[1:], titles[1:], strict=True)]
            users = "user" if of == 1 else "users"
            said = f"of {of} other {users}, {', '.join([first, *rest])}"
        return [said] * len(self.features)


def _agreement(one: _Items, other: _Items) -> float:
    """Agreement of two users: common items in the same history minus those in different ones,
    divided by all common items plus a constant; at least 0."""
    same = sum(len(a & b) for a, b in zip(one, other, strict=True))
    apart = sum(len(a & b) for i, a in enumerate(one) for j, b in enumerate(other) if i != j)
    return max(0, same - apart) / (_COMMON + same + apart)


__all__ = ["OtherUsersBlock"]
