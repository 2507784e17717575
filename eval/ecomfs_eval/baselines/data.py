"""Labelled rows for baselines: text, vectors, a table, features, or several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecomfs_eval._labels import label_text
from ecomfs_eval.errors import DataError, EmptyDataError, MissingLibraryError
from ecomfs_eval.predictions import FloatArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """n rows with labels.

    Attributes:
        ids: n row ids.
        labels: n gold labels.
        texts: n texts, or ``None``.
        vectors: n × d embeddings, or ``None``.
        table: n rows of raw cells (numbers, or text that is categories or numbers), or ``None``.
        features: n × d numbers that were made from the rows, or ``None``.

    Raises:
        EmptyDataError: no rows.
        DataError: a column of another length.

    >>> rows = LabelledRows.of(["good", "bad"], texts=["I like it", "broken"])
    >>> len(rows), rows.ids
    (2, ('1', '2'))
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    texts: tuple[str, ...] | None = None
    vectors: FloatArray | None = None
    table: pd.DataFrame | None = None
    features: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        if n == 0:
            raise EmptyDataError("no labelled rows", hint="a baseline needs at least one")
        for name in ("labels", "texts", "vectors", "table", "features"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise DataError(
                    f"{name} has {len(values)} values for {n} rows", hint="give one value per row"
                )

    @classmethod
    def of(
        cls,
        labels: Sequence[object],
        *,
        ids: Sequence[object] | None = None,
        texts: Sequence[str] | None = None,
        vectors: Any = None,
        table: pd.DataFrame | None = None,
        features: Any = None,
    ) -> LabelledRows:
        """Rows from plain sequences; ids are ``1`` … ``n`` unless given.

        Raises:
            DataError: a row without a label.
        """
        names = [label_text(x, f"label {n}") for n, x in enumerate(labels, 1)]
        if "" in names:
            raise DataError(
                f"row {names.index('') + 1} has no label", hint="label it, or leave it out"
            )
        return cls(
            tuple(str(i) for i in (ids if ids is not None else range(1, len(labels) + 1))),
            tuple(names),
            None if texts is None else tuple(texts),
            None if vectors is None else np.asarray(vectors, dtype=np.float64),
            table,
            None if features is None else np.asarray(features, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.ids)


def need_sklearn() -> None:
    """Check that scikit-learn is installed.

    Raises:
        MissingLibraryError: it is not.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError(
            "baselines need scikit-learn", hint="pip install 'ecomfs[eval]'"
        ) from error
