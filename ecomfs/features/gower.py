"""Gower similarity of rows by their fields (Gower 1971, Biometrics 27:857).

Every field gives a similarity between 0 and 1. The similarity of two rows is the weighted mean over
the fields that both rows have:

- numbers, prices, dates: 1 − |difference| / range, by default on their *ranks* in the pool, because
  shop data have long tails: on raw values one enormous basket makes all others similar.
- categories: 1 if equal, else 0; a category that is not in the pool equals none.
- histories: the mean of two similarities, the Jaccard similarity of their kinds of item, and 1 if
  their last items are of the same kind, else 0.
- texts and JSON are not compared here; the text retriever compares them.

With the pool's labels, fields are weighted by their mutual information with the label, so that many
uninformative fields do not hide an informative one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ecomfs.errors import ConfigError, RowError
from ecomfs.features.cells import days_first, read_cell, with_decimals
from ecomfs.features.measure import COMPARED, NUMERIC, comparable_value, information
from ecomfs.features.quantiles import Quantiles
from ecomfs.task import FieldSpec
from ecomfs.types import Row

ReadRow = Mapping[str, Any]
"""Field → its value as a float, a category, or kinds of items; ``None``: missing."""

LEAST_WEIGHT = 0.1
"""Weight of a field without information about the label; the most informative one has 1.1."""
MAX_KINDS = 256
"""Most categories, or kinds of item, that are distinguished per field: the most frequent ones.
Others count as not in the pool, which bounds the memory for large catalogues."""
_UNKNOWN = -2  # a value that is not in the pool; −1 is a missing value


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows encoded as arrays for comparison.

    Attributes:
        numbers: (rows, numeric fields), scaled to 0…1; NaN: missing.
        codes: (rows, categories and last items of histories); −1: missing, −2: not in the pool.
        members: one (rows, kinds) 0/1 array per history.
        sizes: (rows, histories) numbers of different kinds, including those not in the pool.
    """

    numbers: NDArray[np.float32]
    codes: NDArray[np.int32]
    members: tuple[NDArray[np.float32], ...]
    sizes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.numbers)


class GowerSpace:
    """Gower similarity of rows, with scales and weights learned from the pool.

    Args:
        specs: the fields. A field's weight is its ``weight``; if :meth:`fit` gets labels, times
            0.1 plus its mutual information relative to the largest one.
        scale: scale of numbers: ``rank`` in the pool, or ``range`` of its values.
        strict: whether a cell that is not of its field's kind is an error; else it counts as
            missing, for callers that check rows elsewhere.

    Attributes:
        weights: field name → weight.

    Raises:
        ConfigError: no field can be compared, or no weight is above 0.

    >>> fields = [FieldSpec(name="age", kind="number"), FieldSpec(name="plan", kind="category")]
    >>> pool = [{"age": 20, "plan": "a"}, {"age": 30, "plan": "b"}, {"age": 40, "plan": "b"}]
    >>> space = GowerSpace(fields, scale="range").fit(pool)
    >>> space.similarities([{"age": 30, "plan": "b"}, {"age": "", "plan": "a"}], pool)
    array([[0.25, 1.  , 0.75],
           [1.  , 0.  , 0.  ]], dtype=float32)
    """

    def __init__(
        self,
        specs: Sequence[FieldSpec],
        *,
        scale: Literal["rank", "range"] = "rank",
        strict: bool = True,
    ) -> None:
        self.specs = tuple(s for s in specs if s.kind in COMPARED and s.weight > 0)
        if not self.specs:
            hint = "use similarity text, or give a field of the card another kind"
            raise ConfigError(
                "no field can be compared as a number, category or history", hint=hint
            )
        self.scale = scale
        self.strict = strict
        self.weights = {spec.name: spec.weight for spec in self.specs}
        self._quantiles: dict[str, Quantiles] = {}
        self._codes: dict[str, dict[str, int]] = {}
        self._day_first: dict[str, bool | None] = {}

    def fit(self, rows: Sequence[Row], labels: Sequence[str] | None = None) -> Self:
        """Learn scales and categories from the pool, and the weights from its labels, if given.

        Raises:
            ConfigError: the numbers of rows and labels differ.
            RowError: a cell is not of its field's kind.
        """
        self.specs = with_decimals(self.specs, rows, strict=self.strict)
        self._day_first = days_first(self.specs, rows)
        return self.fit_read(self.read(rows), labels)

    def read(self, rows: Sequence[Row]) -> list[ReadRow]:
        """Parse rows once, for callers that fit many spaces on parts of the same rows.

        Raises:
            RowError: a cell is not of its field's kind.
        """
        return [{s.name: self._read(s, s.find(row)) for s in self.specs} for row in rows]

    def fit_read(self, rows: Sequence[ReadRow], labels: Sequence[str] | None = None) -> Self:
        """:meth:`fit` on rows from :meth:`read`."""
        if labels is not None and len(labels) != len(rows):
            raise ConfigError(f"{len(rows)} rows but {len(labels)} labels")
        nats: dict[str, float] = {}
        for spec in self.specs:
            measures = [row[spec.name] for row in rows]
            known = [measure for measure in measures if measure is not None]
            if spec.kind in NUMERIC:
                self._quantiles[spec.name] = Quantiles.of(known)
            else:
                kinds = known if spec.kind == "category" else [k for seen in known for k in seen]
                frequent = Counter(kinds).most_common(MAX_KINDS)
                self._codes[spec.name] = {k: i for i, (k, _) in enumerate(frequent)}
            nats[spec.name] = information(spec, measures, labels) if labels is not None else 0.0
        most = max(nats.values())
        self.weights = {
            spec.name: spec.weight * (LEAST_WEIGHT + nats[spec.name] / most if most else 1.0)
            for spec in self.specs
        }
        return self

    def kinds(self, field: str) -> int:
        """Number of categories or kinds of item of a field; codes count from 0."""
        return len(self._codes[field])

    def encode(self, rows: Sequence[Row]) -> EncodedRows:
        """Encode rows for comparison, so that a pool is encoded only once.

        Raises:
            RowError: a cell is not of its field's kind.
            ConfigError: the space is not fitted.
        """
        return self.encode_read(self.read(rows))

    def encode_read(self, rows: Sequence[ReadRow]) -> EncodedRows:
        """:meth:`encode` rows from :meth:`read`."""
        if not self._quantiles and not self._codes:
            raise ConfigError("the space is not fitted", hint="call fit first")
        numeric = [s for s in self.specs if s.kind in NUMERIC]
        histories = [s for s in self.specs if s.kind == "history"]
        numbers = np.full((len(rows), len(numeric)), np.nan, dtype=np.float32)
        codes = np.full((len(rows), len(self.specs) - len(numeric)), -1, dtype=np.int32)
        sizes = np.zeros((len(rows), len(histories)), dtype=np.float32)
        members = tuple(
            np.zeros((len(rows), len(self._codes[s.name])), dtype=np.float32) for s in histories
        )
        for i, row in enumerate(rows):
            for j, spec in enumerate(numeric):
                value = row[spec.name]
                numbers[i, j] = np.nan if value is None else self._scaled(spec, value)
            for j, spec in enumerate(s for s in self.specs if s.kind not in NUMERIC):
                value = row[spec.name]
                last = value[-1] if value and spec.kind == "history" else value
                if last:
                    codes[i, j] = self._codes[spec.name].get(last, _UNKNOWN)
            for j, spec in enumerate(histories):
                kinds = set(row[spec.name] or ())
                sizes[i, j] = len(kinds)
                known = [self._codes[spec.name][k] for k in kinds if k in self._codes[spec.name]]
                members[j][i, known] = 1
        return EncodedRows(numbers, codes, members, sizes)

    def similarities(
        self, queries: Sequence[Row] | EncodedRows, pool: Sequence[Row] | EncodedRows
    ) -> NDArray[np.float32]:
        """(queries, pool) similarities in [0, 1]; 0 if two rows have no field in common.

        Raises:
            RowError: a cell is not of its field's kind.
        """
        a = queries if isinstance(queries, EncodedRows) else self.encode(queries)
        b = pool if isinstance(pool, EncodedRows) else self.encode(pool)
        total = np.zeros((len(a), len(b)), dtype=np.float32)
        weight = np.zeros_like(total)
        n = c = h = 0
        for spec in self.specs:
            if spec.kind in NUMERIC:
                x, y = a.numbers[:, n, None], b.numbers[None, :, n]
                n += 1
                both = ~(np.isnan(x) | np.isnan(y))
                similar = np.where(both, 1 - np.minimum(np.abs(x - y), 1), 0)
            else:
                u, v = a.codes[:, c, None], b.codes[None, :, c]
                c += 1
                both = (u != -1) & (v != -1)
                similar = ((u == v) & (u >= 0)).astype(np.float32)
                if spec.kind == "history":
                    similar = (similar + self._jaccard(a, b, h)) / 2
                    h += 1
                similar = np.where(both, similar, 0)
            own = np.float32(self.weights[spec.name])
            total += own * similar
            weight += own * both
        np.divide(total, weight, out=total, where=weight > 0)
        return total

    @staticmethod
    def _jaccard(a: EncodedRows, b: EncodedRows, history: int) -> NDArray[np.float32]:
        common: NDArray[np.float32] = a.members[history] @ b.members[history].T
        union = a.sizes[:, history, None] + b.sizes[None, :, history] - common
        np.divide(common, union, out=common, where=union > 0)
        return common

    def _read(self, spec: FieldSpec, cell: object) -> Any:
        day_first = self._day_first.get(spec.name)
        try:
            return comparable_value(spec, read_cell(spec, cell, day_first=day_first))
        except RowError:
            if self.strict:
                raise
            return None

    def _scaled(self, spec: FieldSpec, number: float) -> float:
        quantiles = self._quantiles[spec.name]
        if not quantiles.values:
            return 0.5
        if self.scale == "rank":
            return quantiles.rank(number)
        low, high = quantiles.values[0], quantiles.values[-1]
        return (number - low) / (high - low) if high > low else float(number != low)
