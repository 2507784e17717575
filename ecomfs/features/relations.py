"""Relations between the fields of a row as numbers: the overlap of two texts, the ratio of two
histories, the similarity of a text to the items of a history.

They make rows with different words comparable: two rows whose query words are all in the product
are similar, although the products differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ecomfs.features.block import Block, Embed
from ecomfs.features.histories import HistoryPairBlock
from ecomfs.features.texts import TextHistoryBlock, TextPairBlock
from ecomfs.features.value_reader import ValueReader
from ecomfs.task import FieldSpec
from ecomfs.types import Language, Row


def relation_blocks(
    specs: Sequence[FieldSpec], embed: Embed | None = None
) -> tuple[list[Block], list[Block]]:
    """The feature blocks that use two or more fields.

    Args:
        specs: the fields of a task.
        embed: converts texts to vectors, for cosines of meaning.

    Returns:
        Blocks of pairs of texts and pairs of histories; blocks of a text or category and all
        histories.

    >>> from ecomfs.task import load_task
    >>> pairs, beside = relation_blocks(load_task("query_relevance").specs)
    >>> len(pairs), len(beside)
    (1, 0)
    """
    texts = [spec for spec in specs if spec.kind == "text"]
    histories = [spec for spec in specs if spec.kind == "history"]
    pairs: list[Block] = [TextPairBlock(a, b, embed) for a, b in combinations(texts, 2)]
    pairs += [HistoryPairBlock(a, b) for a, b in combinations(histories, 2)]
    beside: list[Block] = []
    if histories:
        named = [spec for spec in specs if spec.kind in {"text", "category"}]
        beside = [TextHistoryBlock(spec, histories, embed) for spec in named]
    return pairs, beside


class Relations:
    """The relations of a task's fields, each as a numeric field.

    Args:
        specs: the fields of the task.

    Attributes:
        specs: one numeric field per relation; relations of the same two fields have together the
            weight of one field.

    >>> relations = Relations([FieldSpec(name="query", kind="text"),
    ...                        FieldSpec(name="title", kind="text")])
    >>> relations.specs[0].name
    'query>title:words'
    >>> relations.read([{"query": "red mug", "title": "Mug, blue"}])[0]["query>title:words"]
    0.5
    >>> relations.phrases({"query": "red mug", "title": "Mug, blue"}, "zh")
    ['query的2个词中有1个见于title']
    """

    def __init__(self, specs: Sequence[FieldSpec]) -> None:
        self._pairs, beside = relation_blocks(specs)
        self._reader = ValueReader(specs)
        self._blocks = [*self._pairs, *beside]
        self.specs: tuple[FieldSpec, ...] = tuple(
            FieldSpec(name=feature.name, kind="number", weight=1 / len(block.features))
            for block in self._blocks
            for feature in block.features
        )

    def read(self, rows: Sequence[Row]) -> list[dict[str, float]]:
        """The relations of rows, each computed from its row alone.

        Args:
            rows: field → cell. A cell that is not of its field's kind counts as missing.

        Returns:
            Name of each of :attr:`specs` → number; nothing for a row without any value, which would
            otherwise look like other such rows.
        """
        if not self.specs:
            return [{} for _ in rows]
        values = self._reader.read(rows)
        table = np.hstack([block.values(values) for block in self._blocks]).tolist()
        names = [spec.name for spec in self.specs]
        known = [any(value not in (None, "", []) for value in row.values()) for row in values]
        return [
            dict(zip(names, numbers, strict=True)) if some else {}
            for numbers, some in zip(table, known, strict=True)
        ]

    def phrases(self, row: Row, language: Language) -> list[str]:
        """Phrases about pairs of texts and pairs of histories.

        The nearest item of a history is left out, because the prompt shows the history.

        Args:
            row: field → cell.
            language: language of the phrases.

        Returns:
            Different phrases, such as ``"3 of 3 query words in the product"``.
        """
        if not self._pairs:
            return []
        [values] = self._reader.read([row])
        said = [phrase for block in self._pairs for phrase in block.phrases(values, language)]
        return [phrase for phrase in dict.fromkeys(said) if phrase]


__all__ = ["Relations", "relation_blocks"]
