"""Baselines: simple methods fitted on labelled rows.

>>> train = LabelledRows.of(["good", "bad"] * 4, texts=["works well", "broke at once"] * 4)
>>> found = run_baselines(train, LabelledRows.of(["good"], texts=["works"]))
>>> [name for name, p in found.items() if not isinstance(p, Undefined)]
['majority', 'prior_random', 'tfidf_logistic']
>>> found["knn"].reason
'no vectors were given'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ecomfs_eval._check import widen
from ecomfs_eval._labels import label_order, label_text
from ecomfs_eval.errors import DataError, EmptyDataError, MissingLibraryError, OptionError
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray, Predictions

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 255
"""Limit of the histogram model; rarer categories of a column count as missing."""

TEMPERATURE = 0.05
"""A neighbour whose cosine is lower by this value has 1/e of the weight."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """n rows with labels.

    Attributes:
        ids: n row ids.
        labels: n gold labels.
        texts: n texts, or ``None``.
        vectors: n × d embeddings, or ``None``.
        table: n rows of raw cells (numbers, or text with categories or numbers), or ``None``.
        features: n × d features computed from the rows, or ``None``.

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


@dataclass(frozen=True, slots=True)
class Baseline:
    """A named baseline; it never sees the labels of the rows to predict.

    Attributes:
        name: in options, files and reports.
        title: in text.
        definition: the method and its settings.
        model: (inputs of the labelled rows, seed) → a scikit-learn classifier; ``None``: the
            label shares of the labelled rows, whatever the row.
        needs: its inputs.
        one_class: whether it can be fitted on rows of a single class.
        drawn: whether answers are drawn from the probabilities; else the most probable label.
    """

    name: str
    title: str
    definition: str
    model: Callable[[Any, int], Any] | None = None
    needs: Literal["", "texts", "vectors", "table", "features"] = ""
    one_class: bool = False
    drawn: bool = False

    def __call__(
        self, train: LabelledRows, test: LabelledRows, seed: int = 0
    ) -> Predictions | Undefined:
        """Fit on ``train``, predict ``test``.

        Returns:
            The predictions, over every label of either; or why there are none (no text, one
            class only).

        Raises:
            MissingLibraryError: scikit-learn is not installed.
        """
        with _one_thread():
            got = self._fit(train, test, seed)
        if isinstance(got, Undefined):
            return got
        classes, table = got
        space = label_order({*train.labels, *test.labels})
        p = Predictions.of(
            test.labels,
            ids=test.ids,
            probabilities=widen(table, classes, space, rows=len(test)),
            labels=space,
            name=self.name,
            source=f"baseline {self.name}",
        )
        if self.drawn:
            at = np.random.default_rng(seed).choice(len(classes), size=len(test), p=table[0])
            return replace(p, predicted=tuple(classes[i] for i in at))
        return p

    def _fit(
        self, train: LabelledRows, test: LabelledRows, seed: int
    ) -> tuple[list[str], FloatArray] | Undefined:
        """Classes, and n × classes probabilities."""
        labels = np.array(train.labels)
        if self.model is None:
            names, counts = np.unique(labels, return_counts=True)
            return names.tolist(), np.tile(counts / counts.sum(), (len(test), 1))
        known, asked = getattr(train, self.needs), getattr(test, self.needs)
        if known is None or asked is None:
            what = "table of features was" if self.needs == "table" else f"{self.needs} were"
            return Undefined(f"no {what} given")
        if not self.one_class and len(set(train.labels)) < 2:
            return Undefined(f"the labelled rows have one class only ({train.labels[0]!r})")
        if self.needs == "texts" and not any(text.strip() for text in known):
            return Undefined("every labelled text is empty")
        if find_spec("sklearn") is None:
            raise MissingLibraryError(
                "baselines need scikit-learn", hint="pip install 'ecomfs[eval]'"
            )
        if self.needs == "table":
            known, asked = _typed(known, asked)
        model = self.model(known, seed).fit(known, labels)
        return model.classes_.tolist(), model.predict_proba(asked)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit linear algebra to one thread: on few-shot matrices and a busy machine, several threads
    make a fit many times slower."""
    if find_spec("threadpoolctl") is None:  # it comes with scikit-learn
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def _typed(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables as numbers and categories, chosen by the labelled rows only.

    Columns whose every value is a number (or empty) are numbers; all others are categories. A
    category that the labelled rows lack is treated as missing.
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


def _logistic(seed: int, *before: Any, c: float = 10.0) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*before, LogisticRegression(C=c, max_iter=2000, random_state=seed))


def _tfidf_logistic(texts: Sequence[str], seed: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    # Character n-grams for Chinese and misspelt words, words for everything else.
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
    has_words = any(ch.isalnum() for text in texts for ch in text)
    characters = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True)
    return _logistic(seed, make_union(characters, words if has_words else "drop"))


def _embedding_logistic(vectors: FloatArray, seed: int) -> Any:
    from sklearn.preprocessing import Normalizer

    return _logistic(seed, Normalizer())


def _features_logistic(features: FloatArray, seed: int) -> Any:
    from sklearn.preprocessing import StandardScaler

    # Scikit-learn's default C: there are few features, all on one scale.
    return _logistic(seed, StandardScaler(), c=1.0)


def _boosting(table: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # The default of 20 rows per leaf allows no split of a few-shot table.
    leaf = max(1, min(20, len(table) // 10))
    return HistGradientBoostingClassifier(
        min_samples_leaf=leaf, categorical_features="from_dtype", random_state=seed
    )


def _neighbour_weights(distance: FloatArray) -> FloatArray:
    """Softmax weights of the neighbours' cosine similarities, relative to the nearest."""
    weights: FloatArray = np.exp((distance.min(axis=1, keepdims=True) - distance) / TEMPERATURE)
    return weights


def knn(k: int = 10) -> Baseline:
    """The vote of the k labelled rows nearest by cosine, weighted by similarity: what retrieval
    achieves without a model.

    Raises:
        OptionError: k is not positive.

    >>> train = LabelledRows.of(["a", "b", "b"], vectors=[[1, 0], [0, 1], [0.1, 1]])
    >>> knn(3)(train, LabelledRows.of(["a", "b"], vectors=[[1, 0.1], [0, 2]])).predicted
    ('a', 'b')
    """
    if k < 1:
        raise OptionError(f"k={k}", hint="one or more")

    def voter(vectors: FloatArray, seed: int) -> Any:
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(
            min(k, len(vectors)), weights=_neighbour_weights, algorithm="brute", metric="cosine"
        )

    definition = (
        f"vote of the {k} nearest labelled rows by cosine, weights exp(cosine / {TEMPERATURE})"
    )
    return Baseline("knn", "kNN vote", definition, voter, "vectors", one_class=True)


gradient_boosting = Baseline(
    "gradient_boosting",
    "Gradient boosting",
    "histogram gradient boosting, 100 trees, at most 20 rows per leaf (a tenth of few rows)",
    _boosting,
    "table",
)

BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in (
        Baseline(
            "majority",
            "Majority label",
            "the most frequent label of the labelled rows; its probabilities are their label "
            "shares",
        ),
        Baseline(
            "prior_random",
            "Random by prior",
            "labels drawn with the label shares of the labelled rows, which are its probabilities",
            drawn=True,
        ),
        knn(),
        Baseline(
            "tfidf_logistic",
            "TF-IDF + logistic regression",
            "TF-IDF (log counts) of 1–4 characters and 1–2 words, logistic regression with C = 10",
            _tfidf_logistic,
            "texts",
        ),
        Baseline(
            "embedding_logistic",
            "Embedding + logistic regression",
            "unit vectors of the given embedder, logistic regression with C = 10",
            _embedding_logistic,
            "vectors",
        ),
        gradient_boosting,
        Baseline(
            "features_logistic",
            "Features + logistic regression",
            "the given features, standardised, logistic regression with C = 1",
            _features_logistic,
            "features",
        ),
        Baseline(
            "features_boosting",
            "Features + gradient boosting",
            "histogram gradient boosting, as above, on the given features",
            _boosting,
            "features",
        ),
    )
}
"""Every baseline by name."""


def run_baselines(
    train: LabelledRows,
    test: LabelledRows,
    names: Sequence[str | Baseline] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Predictions | Undefined]:
    """Fit baselines on the labelled rows and predict the others.

    Args:
        train: the labelled rows, the same as for the system.
        test: the rows to predict; their labels are only used as gold labels.
        names: of the baselines; by default all.
        seed: seed of the random baselines.

    Returns:
        name → predictions, or why there are none.

    Raises:
        OptionError: no baseline has this name.
        MissingLibraryError: scikit-learn is not installed.
    """
    chosen = []
    for name in names if names is not None else BASELINES.values():
        if isinstance(name, str) and name not in BASELINES:
            raise OptionError(
                f"no baseline is called {name!r}", hint="one of: " + ", ".join(BASELINES)
            )
        chosen.append(BASELINES[name] if isinstance(name, str) else name)
    return {b.name: b(train, test, seed) for b in chosen}


__all__ = ["BASELINES", "LabelledRows", "gradient_boosting", "knn", "run_baselines"]
