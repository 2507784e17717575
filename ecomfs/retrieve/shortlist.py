"""Label shortlist: of many labels, the few that a row may have.

A label is as likely as its two nearest examples are similar to the row, plus half the similarity
of its definition (or name). With five examples a label, BANKING77's 77 labels were on a list of 20
for all of 200 rows that way with the packaged model (99.0 % with the hashed embedder), on a list
of 5 for 94.5 % (92.5 %); fusing the two rankings by reciprocal rank was worse with either.

In an index that does not look at every example (above 100,000), a label has to have one among the
256 nearest; the others count as the least similar of those that have.

How often the true label is on the list is measured, never assumed: a label that is not on it
cannot be predicted any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError
from ecomfs.retrieve.excluded import Excluded
from ecomfs.retrieve.retriever import Retriever
from ecomfs.retrieve.strategies import Reach
from ecomfs.types import Row

_VOTERS = 2  # nearest examples of a label whose mean similarity counts
_AROUND = 256  # nearest examples whose labels are looked at where looking at all would cost
_DEFINITION = 0.5  # weight of a definition's similarity beside them


class LabelShortlist:
    """Ranks the labels of a pool for each row.

    Args:
        retriever: its pool, embedder and labels.
        definitions: label → a sentence that says what it means; a label without one stands for
            itself, by its name.
        parents: label → its parent in a taxonomy, for :meth:`descend`.
    """

    def __init__(
        self,
        retriever: Retriever,
        definitions: Mapping[str, str] | None = None,
        *,
        parents: Mapping[str, str] | None = None,
    ) -> None:
        self.labels = retriever.labels
        self._retriever = retriever
        self._parents = parents
        known = definitions or {}
        meanings = [known.get(label) or label.replace("_", " ") for label in self.labels]
        self._definitions = retriever.embedder.embed(meanings, query=False)

    def scores(
        self,
        queries: Sequence[str],
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> NDArray[np.float64]:
        """Similarities, larger is likelier, shape (queries, labels); a label whose examples are
        all excluded counts as the least similar one."""
        vectors = self._retriever.embed(queries, rows)
        excluded = self._retriever.excluded(
            queries, vectors, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        by_examples = self._by_examples(queries, vectors, excluded)
        # A definition has a text and no fields, whatever the examples are compared by.
        if self._retriever.compares_fields:
            vectors = self._retriever.embedder.embed(queries, query=True)
        by_definition = vectors.astype(np.float64) @ self._definitions.T
        return by_examples + _DEFINITION * by_definition

    def shortlist(
        self,
        queries: Sequence[str],
        size: int,
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> list[list[str]]:
        """The ``size`` likeliest labels of each query, likeliest first."""
        if size < 1:
            raise ConfigError(f"a shortlist of {size} labels", hint="use 1 or more")
        scores = self.scores(
            queries, rows=rows, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        best = np.argsort(-scores, axis=1, kind="stable")[:, :size]
        return [[self.labels[n] for n in row] for row in best.tolist()]

    def recall(
        self,
        queries: Sequence[str],
        gold: Sequence[str],
        size: int,
        *,
        rows: Sequence[Row] | None = None,
        exclude_ids: Sequence[Collection[str]] | None = None,
        leave_self_out: bool = False,
    ) -> float | None:
        """The part of queries whose true label is on the shortlist; ``None`` without queries."""
        if len(queries) != len(gold):
            raise ConfigError(f"{len(queries)} queries but {len(gold)} true labels")
        lists = self.shortlist(
            queries, size, rows=rows, exclude_ids=exclude_ids, leave_self_out=leave_self_out
        )
        found = [label in names for label, names in zip(gold, lists, strict=True)]
        return sum(found) / len(found) if found else None

    def descend(
        self, queries: Sequence[str], width: int = 2, *, rows: Sequence[Row] | None = None
    ) -> list[dict[str, list[str]]]:
        """Two levels: the ``width`` likeliest parents of each query, likeliest first, and under
        each its labels, likeliest first. A parent is as likely as its likeliest label.

        Raises:
            ConfigError: no taxonomy was given, or it lacks a label of the pool.
        """
        if self._parents is None:
            raise ConfigError("two-level descent needs parents", hint="give label → parent")
        missing = [label for label in self.labels if label not in self._parents]
        if missing:
            raise ConfigError(f"the taxonomy has no parent for {missing[0]!r}")
        result = []
        for names in self.shortlist(queries, len(self.labels), rows=rows):
            tree: dict[str, list[str]] = {}
            for label in names:
                tree.setdefault(self._parents[label], []).append(label)
            result.append(dict(list(tree.items())[:width]))
        return result

    def _by_examples(
        self, queries: Sequence[str], vectors: NDArray[np.float32], excluded: list[Excluded]
    ) -> NDArray[np.float64]:
        pool = self._retriever.pool
        reach = Reach(1, per_label=_VOTERS)
        if not self._retriever.index.exact:
            reach = Reach(_AROUND, per_label=_VOTERS, far_labels=False)
        found = self._retriever.search(queries, vectors, reach, excluded)
        means = np.full((len(queries), len(self.labels)), np.nan)
        for row, hits in enumerate(found):
            labels = pool.labels[hits.positions]
            for label in np.unique(labels):
                best = np.sort(hits.similarities[labels == label])[::-1][:_VOTERS]
                means[row, label] = best.mean()
            absent = np.isnan(means[row])
            means[row, absent] = means[row, ~absent].min() if not absent.all() else 0
        return means
