"""Unpacks rows and labels given in Python: lists, arrays, Series, tables of several libraries.

Other objects are refused by their type: an object that can be printed is not a text.
"""

from __future__ import annotations

import enum
import numbers
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ecomfs.errors import ColumnError, ConfigError, InputError
from ecomfs.task.label_value import label_text
from ecomfs.types import is_missing, is_scalar

# NumPy is imported at first use: the command line imports this package early, and shows progress
# before it loads anything heavy.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

InputTable: TypeAlias = "tuple[list[str], Iterator[Sequence[Any]]]"
"""Names of the columns, and the rows."""
_COPIES = "give a list, a Series, a one-dimensional array or a table"


def as_table(given: Any, where: str) -> InputTable | None:
    """Unpack a table: a pandas or polars DataFrame, a pyarrow table, or a NumPy array of records.

    Args:
        given: any object.
        where: name of the input in messages.

    Returns:
        The names of the columns and the rows; ``None`` if the object is not a table.

    Raises:
        ColumnError: two columns have the same name, or columns have several levels.

    >>> import numpy as np
    >>> names, rows = as_table(np.array([("a", 1)], dtype=[("text", "U1"), ("n", "i8")]), "rows")
    >>> names, list(rows)
    (['text', 'n'], [('a', 1)])
    """
    import numpy as np

    pandas = sys.modules.get("pandas")  # imported if the caller has a DataFrame
    rows: Iterator[Sequence[Any]]
    if pandas is not None and isinstance(given, pandas.DataFrame):
        if given.columns.nlevels > 1:
            raise ColumnError(
                f"{where}: its columns have several levels", hint="join the levels to one name each"
            )
        names, rows = list(given.columns), iter(given.itertuples(index=False, name=None))
        if any(dtype.kind == "O" for dtype in given.dtypes):
            rows = (tuple(map(_without_arrays, row)) for row in rows)
    elif hasattr(given, "to_pylist") and hasattr(given, "schema"):  # pyarrow
        names = list(given.schema.names)
        rows = (row for row in zip(*(c.to_pylist() for c in given.columns), strict=True))
    elif hasattr(given, "iter_rows") and hasattr(given, "columns"):  # polars
        names, rows = list(given.columns), iter(given.iter_rows())
    elif isinstance(given, np.ndarray) and given.dtype.names and given.ndim == 1:
        names, rows = list(given.dtype.names), iter(given.tolist())
    else:
        return None
    header = [str(name) for name in names]
    for name, count in Counter(header).items():
        if count > 1:
            raise ColumnError(
                f"{where}: {count} columns are called {name!r}",
                hint="give each column a name of its own",
            )
    return header, rows


def _without_arrays(cell: Any) -> Any:
    """The cell with lists in place of arrays, which pandas reads from lists in a Parquet file."""
    import numpy as np

    if isinstance(cell, np.ndarray) and cell.ndim:
        return [_without_arrays(item) for item in cell.tolist()]
    if isinstance(cell, dict):
        return {key: _without_arrays(value) for key, value in cell.items()}
    return [_without_arrays(item) for item in cell] if isinstance(cell, list) else cell


def as_column(given: Any, where: str) -> list[Any]:
    """The values of one column: a list, a Series, an array of shape (n,) or (n, 1), …

    Raises:
        InputError: it is a text, a mapping, a set, an array of several columns, or not iterable.

    >>> import numpy as np
    >>> as_column(np.array([[1], [2]], dtype=object), "rows"), as_column([["a"], ("b",)], "rows")
    ([1, 2], ['a', 'b'])
    """
    import numpy as np

    kind = type(given).__name__
    shape = getattr(given, "shape", None) if hasattr(given, "ndim") else None
    if isinstance(given, str | bytes | bytearray | memoryview | Mapping | set | frozenset):
        raise InputError(f"{where}: {short_repr(given)} is of type {kind}", hint=_COPIES)
    if isinstance(shape, tuple) and (len(shape) > 2 or (len(shape) == 2 and shape[1] != 1)):
        raise InputError(f"{where}: a {kind} of shape {shape}, not one column", hint=_COPIES)
    if isinstance(given, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(given).ravel()
        given = [None if h else v for v, h in zip(given.data.ravel(), hidden, strict=True)]
    if isinstance(given, np.ndarray) and given.ndim == 2:
        given = given[:, 0]
    if hasattr(given, "to_pylist"):  # iterating a pyarrow array gives no Python values
        given = given.to_pylist()
    try:
        items = list(given)
    except TypeError as error:
        raise InputError(f"{where}: {short_repr(given)} is of type {kind}", hint=_COPIES) from error
    if items and all(_alone(item) for item in items):
        return [item[0] for item in items]
    return items


def _alone(item: Any) -> bool:
    """Whether an item is a list or array of one value."""
    import numpy as np

    if isinstance(item, np.ndarray):
        return bool(item.shape == (1,))
    return isinstance(item, list | tuple) and len(item) == 1 and not hasattr(item, "_asdict")


def as_items(rows: Any, where: str = "rows") -> list[str | None] | list[dict[str, Any]]:
    """Convert rows to texts (``None``: missing) or to mappings, the same for all rows.

    Args:
        rows: a list, an array, a Series, a table, or any iterable of rows.
        where: name of the rows in messages.

    Returns:
        One text, or one mapping of field → value, per row.

    Raises:
        ConfigError: ``rows`` is a single text.
        InputError: rows are of both kinds, or of another kind.
        ColumnError: see :func:`as_table`.

    >>> as_items([["a"], ["b"]]), as_items([{"text": "a"}, None])
    (['a', 'b'], [{'text': 'a'}, {}])
    >>> as_items(["a", b"b"])
    Traceback (most recent call last):
    ecomfs.errors.InputError: rows[1] is of type bytes: b'b' (decode it)
    """
    if isinstance(rows, str):
        raise ConfigError(f"{where} are one string", hint="give a list of texts: [text]")
    if isinstance(rows, Mapping):
        raise InputError(
            f"{where} are one mapping, with {', '.join(map(repr, list(rows)[:6]))}",
            hint="give a list of rows: [row]; a mapping of columns goes into a DataFrame",
        )
    if isinstance(rows, bytes | bytearray | memoryview):
        raise InputError(
            f"{where} are of type {type(rows).__name__}",
            hint="decode them, and give a list: [text]",
        )
    table = as_table(rows, "DataFrame")
    if table is not None:
        return [dict(zip(table[0], values, strict=True)) for values in table[1]]
    items = [_item(item, f"{where}[{place}]") for place, item in enumerate(as_column(rows, where))]
    maps = [isinstance(item, dict) for item in items if item is not None]
    if any(maps) and not all(maps):
        first = next(i for i, item in enumerate(items) if item is not None)
        mapping = isinstance(items[first], dict)
        other = next(
            i for i, v in enumerate(items) if v is not None and isinstance(v, dict) != mapping
        )
        raise InputError(
            f"{where}[{other}] is {'a text' if mapping else 'a mapping'}, {where}[{first}] is not",
            hint="give all rows as texts, or all as mappings",
        )
    if any(maps):
        return [{} if item is None else item for item in items]
    return items


def short_repr(value: Any) -> str:
    """The beginning of an object's ``repr``, on one line.

    Args:
        value: any object.

    Returns:
        At most 61 characters.

    >>> short_repr(["a"] * 99)
    "['a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a',…"
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 61 else f"{text[:60].rstrip()}…"


def _item(item: Any, where: str) -> Any:
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    if hasattr(item, "_asdict"):  # a named tuple, as DataFrame.itertuples gives
        return {key: value for key, value in item._asdict().items() if key != "Index"}
    if hasattr(item, "to_dict") and hasattr(item, "index"):  # a row of a DataFrame
        return {str(key): value for key, value in item.to_dict().items()}
    if not is_scalar(item):
        kind = type(item).__name__
        hint = "decode it" if isinstance(item, bytes | bytearray) else "a row is a text or a dict"
        raise InputError(f"{where} is of type {kind}: {short_repr(item)}", hint=hint)
    return None if is_missing(item) else str(item)


@dataclass(frozen=True, slots=True)
class InputLabels:
    """Labels in their own types, and their texts.

    Attributes:
        values: one per row, as given.
        texts: one per row, from :func:`label_text`; ``None``: missing.
        dtype: the NumPy type of the labels if they came as numbers or booleans.

    >>> labels = InputLabels.of([10, 2, 10], "y")
    >>> labels.texts, labels.classes(["10", "2"])
    (['10', '2', '10'], {'2': 2, '10': 10})
    """

    values: list[Any] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    dtype: np.dtype[Any] | None = None

    @classmethod
    def of(cls, y: Any, where: str) -> InputLabels:
        """Read labels from a list or other iterable, a Series, an array, or a table of one column.
        The iterable is read once.

        Raises:
            InputError: several columns, a value that is not a label, or equal labels of two types
                (``1`` and ``"1"``, or ``1`` and ``True``).
        """
        import numpy as np

        table = as_table(y, where)
        if table is not None:
            if len(table[0]) != 1:
                raise InputError(
                    f"{where}: a table with the columns {', '.join(table[0])}", hint="give one"
                )
            dtype, y = None, [row[0] for row in table[1]]
        else:
            dtype = getattr(y, "dtype", None)
            y = as_column(y, where)
        known = isinstance(dtype, np.dtype) and dtype.kind in "biuf"
        if (
            isinstance(dtype, np.dtype) and dtype.kind == "f"
        ):  # a Series gives Python's floats, with digits of its own
            y = [dtype.type(value) for value in y]
        texts = [label_text(value, f"{where}[{place}]") for place, value in enumerate(y)]
        _refuse_mixed(y, texts, where)
        return cls([_plain(value) for value in y], texts, dtype if known else None)

    def classes(self, names: Iterable[str]) -> dict[str, Any]:
        """Label in the label space → the label as first given, in NumPy's order."""
        given: dict[str | None, Any] = {}
        for text, value in zip(self.texts, self.values, strict=True):
            given.setdefault(text, value)
        pairs = [(name, given.get(name, name)) for name in names]
        try:
            return dict(sorted(pairs, key=lambda pair: _order(pair[1])))
        except TypeError:
            return dict(sorted(pairs, key=lambda pair: (type(pair[1]).__name__, pair[0])))

    def array(self, values: Sequence[Any]) -> NDArray[Any]:
        """Some of these labels as an array of their own type; of dtype object if types differ."""
        import numpy as np

        kinds = {_kind(value) for value in values}
        if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
            made = np.array(values)
            if made.tolist() == list(values):  # the conversion lost nothing
                return made if self.dtype is None or kinds == {str} else made.astype(self.dtype)
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out


def _refuse_mixed(values: Sequence[Any], texts: Sequence[str | None], where: str) -> None:
    """Refuse labels of two types that are equal as text or in Python."""
    by_text: dict[Any, int] = {}
    by_value: dict[Any, int] = {}
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        if text is None:
            continue
        for seen, key in ((by_text, text), (by_value, value)):
            other = seen.setdefault(key, place)
            if _family(values[other]) != _family(value):
                raise InputError(
                    f"{where}: {values[other]!r} (at index {other}) is a {_family(values[other])}, "
                    f"{value!r} (at index {place}) a {_family(value)}",
                    hint="give all labels in one type",
                )


def _family(value: Any) -> str:
    import numpy as np

    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, numbers.Number):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _plain(value: Any) -> Any:
    import numpy as np

    if isinstance(value, enum.Enum) and isinstance(value, str | int | float):
        return value.value
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        # Floats of fewer than 64 bits are converted by their digits, as in label_text.
        short = isinstance(value, np.floating) and value.itemsize < 8
        return float(str(value)) if short else value.item()
    return value


def _kind(value: Any) -> type:
    return next((k for k in (bool, int, float, str) if isinstance(value, k)), type(value))


def _order(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
