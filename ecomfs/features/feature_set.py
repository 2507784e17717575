"""All features of a task, derived from its card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecomfs.errors import ConfigError
from ecomfs.features.block import Block, Embed, Feature, Floats
from ecomfs.features.collaborative import OtherUsersBlock
from ecomfs.features.histories import HistoryBlock
from ecomfs.features.relations import relation_blocks
from ecomfs.features.scalars import CategoryBlock, DateBlock, MissingBlock, NumberBlock
from ecomfs.features.value_reader import ValueReader
from ecomfs.task import FieldSpec, TaskCard
from ecomfs.types import Language, Row


class FeatureSet:
    """Converts rows to numbers.

    The features follow from the kinds of the card's fields: single numbers, prices, dates and
    categories; single histories and pairs of them; pairs of texts; a text and a history; and, if
    the card names the user, items in the histories of other users. Features that are constant in
    the pool are left out. Labels are not used, and the features of a row do not depend on other
    rows.

    Args:
        card: the task card.
        embed: converts texts to vectors, for cosines of meaning besides similarity of spelling.

    Attributes:
        features: after :meth:`fit`, one per column of :meth:`transform`.
        together: shape (features,); for each, the number of features of the same field or pair of
            fields.

    >>> from ecomfs.task import load_task
    >>> pool = [{"query": "red mug", "product": "Red coffee mug 300 ml"},
    ...         {"query": "red mug", "product": "Garden hose"}]
    >>> features = FeatureSet(load_task("query_relevance")).fit(pool)
    >>> features.transform(pool).shape == (2, len(features.names))
    True
    >>> features.names[0], features.describe(pool[0], "en")[0]
    ('query>product:words', '2 of 2 query words in the product')
    """

    def __init__(self, card: TaskCard, embed: Embed | None = None) -> None:
        self.card = card
        self._reader = ValueReader(card.specs, card.user)
        self._blocks = _blocks(self._reader.specs, embed)
        self._kept: np.ndarray | None = None

    def fit(self, rows: Sequence[Row]) -> FeatureSet:
        """Learn scales, levels, and which features are not constant.

        Args:
            rows: the rows of the pool; without rows there are no features.
        """
        values = self._reader.fit(rows).read(rows)
        for block in self._blocks:
            block.fit(values)
        everything = np.hstack(
            [np.zeros((len(rows), 0)), *(b.values(values) for b in self._blocks)]
        )
        features = [feature for block in self._blocks for feature in block.features]
        if len(rows):
            low, high = everything.min(axis=0), everything.max(axis=0)
            kept = np.flatnonzero(high - low > 1e-9)
            kept = kept[_first_of_equal(everything[:, kept])]
        else:
            low = high = np.zeros(len(features))
            kept = np.zeros(0, dtype=np.int64)
        self._low, self._high, self._kept = low[kept], high[kept], kept
        self.features: tuple[Feature, ...] = tuple(features[place] for place in kept)
        owner = np.repeat(np.arange(len(self._blocks)), [len(b.features) for b in self._blocks])
        self.together = np.bincount(owner[kept], minlength=len(self._blocks))[owner[kept]]
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns of :meth:`transform`."""
        self._fitted()
        return tuple(feature.name for feature in self.features)

    def transform(self, rows: Sequence[Row]) -> Floats:
        """The features of rows.

        Args:
            rows: field → cell. A cell that is not of its field's kind counts as missing.

        Returns:
            Shape (rows, features), without NaN. Numbers outside the range of the pool are clipped.

        Raises:
            ConfigError: not fitted.
        """
        kept = self._fitted()
        values = self._reader.read(rows)
        if not len(kept):
            return np.zeros((len(rows), 0))
        everything = np.hstack([block.values(values) for block in self._blocks])
        return np.clip(everything[:, kept], self._low, self._high)

    def phrases(self, row: Row, language: Language) -> list[str]:
        """One phrase per feature; features that measure the same thing have the same phrase.

        Args:
            row: field → cell.
            language: language of the phrases.

        Returns:
            Phrases aligned with :attr:`names`; empty if there is nothing to say.

        Raises:
            ConfigError: not fitted.
        """
        kept = self._fitted()
        [values] = self._reader.read([row])
        said = [phrase for block in self._blocks for phrase in block.phrases(values, language)]
        return [said[place] for place in kept]

    def describe(self, row: Row, language: Language) -> list[str]:
        """The different phrases about a row, in the order of the card.

        Args:
            row: field → cell.
            language: language of the phrases.

        Returns:
            Phrases such as ``"liked 7 of 10, disliked 3"``.

        Raises:
            ConfigError: not fitted.
        """
        return [phrase for phrase in dict.fromkeys(self.phrases(row, language)) if phrase]

    def _fitted(self) -> np.ndarray:
        if self._kept is None:
            raise ConfigError("the feature set is not fitted", hint="call fit first")
        return self._kept


def has_features(card: TaskCard) -> bool:
    """Whether a task has features other than missing values: it has a number, date, category or
    history, or two texts.

    Args:
        card: the task card.

    >>> from ecomfs.task import load_task
    >>> has_features(load_task("review_sentiment")), has_features(load_task("same_product"))
    (False, True)
    """
    blocks = _blocks(ValueReader(card.specs).specs, None)
    return any(not isinstance(block, MissingBlock) for block in blocks)


def _blocks(specs: Sequence[FieldSpec], embed: Embed | None) -> list[Block]:
    of = {"number": NumberBlock, "price": NumberBlock, "date": DateBlock}
    of |= {"category": CategoryBlock, "history": HistoryBlock}
    pairs, beside_histories = relation_blocks(specs, embed)
    alone = [of[spec.kind](spec) for spec in specs if spec.kind in of]
    histories = [spec for spec in specs if spec.kind == "history"]
    others = [
        OtherUsersBlock(user, spec, histories)
        for user in specs
        if user.kind == "id"  # of ids, only the user is used
        for spec in specs
        if spec.kind in {"text", "category"} and histories
    ]
    cells = [spec for spec in specs if spec.kind != "id"]
    return [*pairs, *alone, *beside_histories, *others, MissingBlock(cells)]


def _first_of_equal(columns: Floats) -> np.ndarray:
    """Positions of the columns that are not a rescaled copy of an earlier column."""
    centred = columns - columns.mean(axis=0)
    spread = np.round(centred / np.abs(centred).max(axis=0, initial=1e-300), 9) + 0.0
    first: dict[bytes, int] = {}
    for place in range(columns.shape[1]):
        keys = {spread[:, place].tobytes(), (-spread[:, place] + 0.0).tobytes()}
        if not keys & first.keys():
            first |= dict.fromkeys(keys, place)
    return np.array(sorted(set(first.values())), dtype=np.int64)


__all__ = ["FeatureSet", "has_features"]
