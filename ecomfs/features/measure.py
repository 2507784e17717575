"""Typed values as numbers, categories or kinds of item, and the mutual information of a field with
the label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ecomfs.features.cells import Price, day_number
from ecomfs.features.phrases import item_kind
from ecomfs.task import FieldSpec

BINS = 4
SIGNIFICANCE = 0.05
_RARE = 3  # a category seen less often, or on less than 2 % of the rows, joins the others
_RARE_SHARE = 0.02


def mutual_information(codes: Sequence[object], labels: Sequence[object]) -> float:
    """Mutual information of two categorical variables in nats, corrected for chance.

    The plug-in estimate minus its bias (Kx−1)(Ky−1)/2n (Miller 1955), and 0 when the G-test at
    5 % does not reject independence: with a few dozen examples almost every
    field seems informative otherwise.

    >>> round(mutual_information("ab" * 20, [1, 0] * 20), 2)
    0.68
    >>> mutual_information("aabb" * 10, [1, 0] * 20)
    0.0
    """
    from scipy.stats import chi2

    n = len(codes)
    joint = Counter(zip(codes, labels, strict=True))
    first, second = Counter(codes), Counter(labels)
    freedom = (len(first) - 1) * (len(second) - 1)
    if n == 0 or freedom == 0:
        return 0.0
    # Sorted, so that rounding does not depend on the order of insertion.
    terms = sorted(c / n * np.log(c * n / (first[x] * second[y])) for (x, y), c in joint.items())
    plug_in = float(sum(terms))
    if chi2.sf(2 * n * plug_in, freedom) > SIGNIFICANCE:
        return 0.0
    return max(0.0, plug_in - freedom / (2 * n))


def number_codes(numbers: Sequence[float | None]) -> list[int]:
    """Quarter of the pool a number falls in; −1 for a missing one.

    >>> number_codes([1, 2, 3, 4, None])
    [0, 1, 2, 3, -1]
    """
    known = [x for x in numbers if x is not None]
    if not known:
        return [-1] * len(numbers)
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS))
    return [-1 if x is None else int(np.searchsorted(edges, x)) for x in numbers]


def category_codes(values: Sequence[str | None]) -> list[str]:
    """The categories, rare ones as one; missing is a category of its own.

    >>> category_codes(["a", "a", "a", "b", None])
    ['=a', '=a', '=a', 'rare', 'missing']
    """
    counts = Counter(values)
    least = max(_RARE, _RARE_SHARE * len(values))
    return ["missing" if v is None else f"={v}" if counts[v] >= least else "rare" for v in values]


NUMERIC = frozenset({"number", "price", "date"})
COMPARED = NUMERIC | {"category", "history"}


def measured(spec: FieldSpec, value: Any) -> Any:
    """A typed value as a float (numbers, prices, dates in days), a text (categories) or the
    kinds of its items (histories); ``None`` for a missing one and for texts and JSON.

    Args:
        spec: the field.
        value: what :func:`read_cell` gives.

    Returns:
        A float, a text or a list of texts; ``None`` where there is nothing to compare.

    >>> measured(FieldSpec(name="seen", kind="history"), [{"category": "sale"}, "cart"])
    ['sale', 'cart']
    """
    if value is None or spec.kind not in COMPARED:
        return None
    if spec.kind == "history":
        return [item_kind(spec, item) for item in value]
    if spec.kind == "date":
        return day_number(value)
    return value.amount if isinstance(value, Price) else value


def information(spec: FieldSpec, measures: Sequence[Any], labels: Sequence[str]) -> float:
    """Mutual information of a field with the label in nats; a history counts by its last item,
    texts and JSON have none.

    >>> spec = FieldSpec(name="plan", kind="category")
    >>> round(information(spec, ["a", "b"] * 20, ["yes", "no"] * 20), 2)
    0.68
    """
    if spec.kind not in COMPARED:
        return 0.0
    if spec.kind in NUMERIC:
        return mutual_information(number_codes(measures), labels)
    if spec.kind == "history":
        measures = [kinds[-1] if kinds else None for kinds in measures]
    return mutual_information(category_codes(measures), labels)
