"""Gradient boosting on raw cells, and on features made from them.

Columns whose every value is a number (or empty) are numbers; all others are categories. A
category that the labelled rows lack is treated as missing.

>>> import pandas as pd
>>> from ecomfs_eval.baselines import LabelledRows
>>> table = pd.DataFrame({"pages": ["1", "2", "9", "8"] * 5, "device": ["web", "app"] * 10})
>>> train = LabelledRows.of(["no", "no", "buy", "buy"] * 5, table=table)
>>> gradient_boosting(train, LabelledRows.of(["buy", "no"], table=table.iloc[[2, 0]])).predicted
('buy', 'no')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecomfs_eval.baselines.base import Baseline, one_class
from ecomfs_eval.baselines.data import LabelledRows, need_sklearn
from ecomfs_eval.errors import DataError
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 255
"""Limit of the histogram model; rarer categories of a column count as missing."""


def features(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables as numbers and categories, chosen by the labelled rows only.

    Raises:
        DataError: the tables have different columns.
    """
    import pandas as pd

    if list(train.columns) != list(test.columns):
        raise DataError(
            f"columns differ: {list(train.columns)} and {list(test.columns)}",
            hint="give both tables the same features",
        )
    left: dict[str, pd.Series] = {}
    right: dict[str, pd.Series] = {}
    for column in train.columns:
        a, b = (
            frame[column].astype(object).where(lambda x: x != "", None) for frame in (train, test)
        )
        numbers = pd.to_numeric(a, errors="coerce")
        if (numbers.isna() == a.isna()).all():
            left[column] = numbers.astype("float64")
            right[column] = pd.to_numeric(b, errors="coerce").astype("float64")
            continue
        common = a.dropna().map(str).value_counts().index[:MOST_CATEGORIES]
        kind = pd.CategoricalDtype(sorted(common))
        left[column], right[column] = (
            x.where(x.isin(common), None).astype(kind)
            for x in (a.map(str, na_action="ignore"), b.map(str, na_action="ignore"))
        )
    return pd.DataFrame(left), pd.DataFrame(right)


def _fit(
    train: LabelledRows, test: LabelledRows, seed: int
) -> tuple[list[str], FloatArray] | Undefined:
    if train.table is None or test.table is None:
        return Undefined("no table of features was given")
    if (why := one_class(train)) is not None:
        return why
    need_sklearn()
    a, b = features(train.table, test.table)
    return _boosted(a, b, train, seed)


def _on_features(
    train: LabelledRows, test: LabelledRows, seed: int
) -> tuple[list[str], FloatArray] | Undefined:
    if train.features is None or test.features is None:
        return Undefined("no features were given")
    if (why := one_class(train)) is not None:
        return why
    need_sklearn()
    return _boosted(train.features, test.features, train, seed)


def _boosted(a: Any, b: Any, train: LabelledRows, seed: int) -> tuple[list[str], FloatArray]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # The default of 20 rows per leaf allows no split of a few-shot table.
    leaf = max(1, min(20, len(train) // 10))
    model = HistGradientBoostingClassifier(
        min_samples_leaf=leaf, categorical_features="from_dtype", random_state=seed
    )
    model.fit(a, np.array(train.labels))
    table: FloatArray = model.predict_proba(b)
    return [str(c) for c in model.classes_], table


gradient_boosting = Baseline(
    "gradient_boosting",
    "Gradient boosting",
    "histogram gradient boosting, 100 trees, at most 20 rows per leaf (a tenth of few rows)",
    _fit,
)
features_boosting = Baseline(
    "features_boosting",
    "Features + gradient boosting",
    "the same model on the given features",
    _on_features,
)
