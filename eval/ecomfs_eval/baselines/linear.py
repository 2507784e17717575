"""Linear models on the same labels: TF-IDF, embeddings or features, then logistic regression.

>>> from ecomfs_eval.baselines import LabelledRows
>>> texts = ["很好用", "坏了", "喜欢", "质量差", "好看", "差评"]
>>> train = LabelledRows.of(["good", "bad"] * 3, texts=texts)
>>> tfidf_logistic(train, LabelledRows.of(["good"], texts=["好用"])).predicted
('good',)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ecomfs_eval.baselines.base import Baseline, one_class
from ecomfs_eval.baselines.data import LabelledRows, need_sklearn
from ecomfs_eval.metrics.score import Undefined
from ecomfs_eval.predictions import FloatArray

C = 10.0
"""Inverse regularisation on texts; weak, as is usual for short texts on few labels."""


def _logistic(seed: int, c: float = C) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=c, max_iter=2000, random_state=seed)


def _tfidf(
    train: LabelledRows, test: LabelledRows, seed: int
) -> tuple[list[str], FloatArray] | Undefined:
    if train.texts is None or test.texts is None:
        return Undefined("no texts were given")
    if (why := one_class(train)) is not None:
        return why
    if not any(t.strip() for t in train.texts):
        return Undefined("every labelled text is empty")
    need_sklearn()
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union

    # Characters serve Chinese and misspelt words, words serve the rest.
    pipeline = make_pipeline(
        make_union(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True),
            TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
            if any(any(ch.isalnum() for ch in t) for t in train.texts)
            else "drop",
        ),
        _logistic(seed),
    )
    pipeline.fit(list(train.texts), np.array(train.labels))
    table: FloatArray = pipeline.predict_proba(list(test.texts))
    return [str(c) for c in pipeline.classes_], table


def _embedding(
    train: LabelledRows, test: LabelledRows, seed: int
) -> tuple[list[str], FloatArray] | Undefined:
    if train.vectors is None or test.vectors is None:
        return Undefined("no vectors were given")
    if (why := one_class(train)) is not None:
        return why
    need_sklearn()
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    pipeline = make_pipeline(Normalizer(), _logistic(seed))
    pipeline.fit(train.vectors, np.array(train.labels))
    table: FloatArray = pipeline.predict_proba(test.vectors)
    return [str(c) for c in pipeline.classes_], table


def _features(
    train: LabelledRows, test: LabelledRows, seed: int
) -> tuple[list[str], FloatArray] | Undefined:
    if train.features is None or test.features is None:
        return Undefined("no features were given")
    if (why := one_class(train)) is not None:
        return why
    need_sklearn()
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Scikit-learn's default: features are few and on one scale.
    pipeline = make_pipeline(StandardScaler(), _logistic(seed, 1.0))
    pipeline.fit(train.features, np.array(train.labels))
    table: FloatArray = pipeline.predict_proba(test.features)
    return [str(c) for c in pipeline.classes_], table


tfidf_logistic = Baseline(
    "tfidf_logistic",
    "TF-IDF + logistic regression",
    "TF-IDF (log counts) of 1–4 characters and 1–2 words, logistic regression with C = 10",
    _tfidf,
)
embedding_logistic = Baseline(
    "embedding_logistic",
    "Embedding + logistic regression",
    "unit vectors of the given embedder, logistic regression with C = 10",
    _embedding,
)
features_logistic = Baseline(
    "features_logistic",
    "Features + logistic regression",
    "the given features, standardised, logistic regression with C = 1",
    _features,
)
