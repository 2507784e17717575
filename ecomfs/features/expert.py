"""The feature expert: predicts labels from the features of a row, without a language model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ecomfs.errors import ConfigError, InputError
from ecomfs.features.block import Embed, Floats
from ecomfs.features.feature_set import FeatureSet
from ecomfs.features.label_features import LabelFeatures
from ecomfs.features.logistic import Logistic, fit_logistic
from ecomfs.task import TaskCard, label_text
from ecomfs.types import Language, Row

MOST_EXAMPLES = 2_000
"""Most examples it is fitted on, drawn at random."""
MOST_SCORES = 20_000
"""Most examples times labels it is fitted on."""
FOLDS = 20
"""Folds of cross-fitting; up to this many examples it is exact leave-one-out."""
FEW = 200
"""With more examples than this, half as many folds are used."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Evidence for a label.

    Attributes:
        phrase: the evidence in words, such as ``"liked 7 of 10, disliked 3"``.
        weight: log-odds that it adds to the label, relative to the mean of all labels and to an
            average row.

    >>> Reason("liked 7 of 10, disliked 3", weight=0.8).phrase
    'liked 7 of 10, disliked 3'
    """

    phrase: str
    weight: float


class FeatureExpert:
    """A ridge-penalised logistic regression on the features of a task card.

    It is deterministic: the same pool gives the same expert.

    Args:
        card: the task card; all features are derived from it.
        labels: the label space, in the order of the columns; by default the pool's labels, sorted.
        embed: converts texts to vectors, for features of meaning.

    >>> from ecomfs.task import load_task
    >>> rows = [{"query": q, "product": p} for q in ("red mug", "garden hose", "wool socks")
    ...         for p in ("Red mug 300 ml", "Garden hose 20 m", "Wool socks, grey")]
    >>> truth = ["relevant" if r["query"] in r["product"].lower() else "irrelevant" for r in rows]
    >>> expert = FeatureExpert(load_task("query_relevance")).fit(rows, truth)
    >>> new = {"query": "steel pan", "product": "Steel pan 28 cm"}
    >>> expert.labels[expert.predict_proba([new])[0].argmax()]
    'relevant'
    >>> expert.reasons(new, "relevant", "en")[0].phrase
    '2 of 2 query words in the product'
    """

    def __init__(
        self,
        card: TaskCard,
        labels: Sequence[str] | None = None,
        *,
        embed: Embed | None = None,
    ) -> None:
        self.card, self.embed = card, embed
        self._given = None if labels is None else tuple(labels)
        self._model: Logistic | None = None

    def fit(
        self,
        rows: Sequence[Row],
        labels: Sequence[Any],
        groups: Sequence[Hashable] | None = None,
    ) -> FeatureExpert:
        """Fit on labelled examples.

        Args:
            rows: field → cell, as the card names the fields.
            labels: one per row.
            groups: one per row; rows of one group (copies, rewrites, rows of one user) are left out
                together by :meth:`leave_one_out`.

        Raises:
            ConfigError: the numbers of rows, labels and groups differ, or there is no label.
            InputError: a label is missing, or not in the label space.
        """
        if len(labels) != len(rows) or (groups is not None and len(groups) != len(rows)):
            raise ConfigError(
                f"{len(rows)} rows, {len(labels)} labels"
                + ("" if groups is None else f", {len(groups)} groups"),
                hint="give one per row",
            )
        texts = _label_texts(labels)
        self.labels = self._given or tuple(np.unique(texts).tolist())
        if not self.labels:
            raise ConfigError("no labels", hint="give examples, or the label space")
        places = {label: place for place, label in enumerate(self.labels)}
        for i, text in enumerate(texts):
            if text not in places:
                known = ", ".join(self.labels[:8])
                raise InputError(
                    f"row {i}: label {text!r} is not in the label space",
                    hint=f"labels are: {known}",
                )
        self._rows = list(rows)
        self._truth = np.array([places[text] for text in texts], dtype=np.int64)
        self._groups = list(range(len(rows))) if groups is None else list(groups)
        most = max(1, min(MOST_EXAMPLES, MOST_SCORES // len(self.labels)))
        self._sample = np.arange(len(rows))
        if len(rows) > most:  # not every n-th row: labels may alternate
            self._sample = np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))
        sample = [self._rows[i] for i in self._sample]
        self.features = FeatureSet(self.card, self.embed).fit(sample)
        self.label_features = LabelFeatures(self.card, self.labels).fit(sample)
        x, z = self.features.transform(sample), self.label_features.transform(sample)
        self._scale = _Scale.of(x, z, self.features.together)
        self._x, self._z = self._scale.apply(x, z)
        for name in ("_without", "_numbers"):  # caches of an earlier fit
            self.__dict__.pop(name, None)
        self._model = self._learned(np.arange(len(sample)))
        return self

    def predict_proba(self, rows: Sequence[Row]) -> Floats:
        """Distributions over the label space.

        Args:
            rows: field → cell.

        Returns:
            Shape (rows, labels). Finite; each row sums to one.

        Raises:
            ConfigError: not fitted.
        """
        return self._ready().probabilities(*self._scaled(rows))

    def leave_one_out(self, places: Sequence[int] | None = None) -> Floats:
        """Cross-fitted distributions of the pool's own rows.

        Penalty and weights for a row are chosen without its group. Up to 20 examples (or groups)
        are left out one by one, more in 20 folds, more than 200 in 10 folds. Examples that the
        expert was not fitted on are predicted like new rows, also without their group.

        Args:
            places: positions in the rows of :meth:`fit`; default: all.

        Returns:
            Shape (places, labels).

        Raises:
            ConfigError: not fitted.
        """
        model = self._ready()
        asked = range(len(self._rows)) if places is None else places
        x, z = self._scaled([self._rows[i] for i in asked])
        out = model.probabilities(x, z)
        for groups, model in self._without:
            mine = [n for n, i in enumerate(asked) if self._groups[i] in groups]
            out[mine] = model.probabilities(x[mine], z[mine])
        return out

    def reasons(self, row: Row, label: str, language: Language, most: int = 3) -> list[Reason]:
        """Evidence for a label, by the weights of the logistic regression.

        Args:
            row: field → cell.
            label: a label of the label space.
            language: language of the phrases.
            most: most reasons to return.

        Returns:
            The reasons with the largest absolute weight first. Features with the same phrase are
            one reason.

        Raises:
            ConfigError: not fitted.
            InputError: the label is not in the label space.
        """
        logistic = self._ready()
        if label not in self.labels:
            raise InputError(
                f"label {label!r} is not in the label space",
                hint=f"labels are: {', '.join(self.labels[:8])}",
            )
        place = self.labels.index(label)
        x, z = self._scaled([row])
        here = z[0, place] - z[0].mean(axis=0)
        weights = np.concatenate(
            [x[0] * logistic.row_weights[:, place], here * logistic.shared]
        ).tolist()
        phrases = self.features.phrases(row, language)
        phrases += self.label_features.phrases(row, label, language)
        total: dict[str, float] = {}
        for phrase, weight in zip(phrases, weights, strict=True):
            if phrase:
                total[phrase] = total.get(phrase, 0.0) + weight
        found = sorted(total.items(), key=lambda pair: -abs(pair[1]))[:most]
        return [Reason(phrase, weight) for phrase, weight in found if weight]

    def _ready(self) -> Logistic:
        if self._model is None:
            raise ConfigError("the feature expert is not fitted", hint="call fit first")
        return self._model

    def _scaled(self, rows: Sequence[Row]) -> tuple[Floats, Floats]:
        """Scaled features of rows, and of rows and labels."""
        x, z = self.features.transform(rows), self.label_features.transform(rows)
        return self._scale.apply(x, z)

    def _learned(self, rows: np.ndarray) -> Logistic:
        """A model fitted on some rows of the sample."""
        return fit_logistic(
            self._x[rows],
            self._z[rows],
            self._truth[self._sample[rows]],
            groups=self._numbers[rows],
        )

    @cached_property
    def _numbers(self) -> np.ndarray:
        """Number of the group of each row of the sample."""
        numbers: dict[Hashable, int] = {}
        for place in self._sample.tolist():
            numbers.setdefault(self._groups[place], len(numbers))
        return np.array([numbers[self._groups[place]] for place in self._sample], dtype=np.int64)

    @cached_property
    def _without(self) -> list[tuple[set[Hashable], Logistic]]:
        """The folds: groups of rows, and a model fitted without them. No label decides a fold."""
        names = list(dict.fromkeys(self._groups[place] for place in self._sample.tolist()))
        parts = min(FOLDS if len(self._sample) <= FEW else FOLDS // 2, len(names))
        order = np.random.default_rng(0).permutation(len(names))
        part_of = np.empty(len(names), dtype=np.int64)
        part_of[order] = np.arange(len(names)) % max(1, parts)
        mine = part_of[self._numbers]
        return [
            (
                {name for name, own in zip(names, part_of, strict=True) if own == part},
                self._learned(np.flatnonzero(mine != part)),
            )
            for part in range(parts)
        ]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Scales features for the penalty: two standard deviations of a number count as much as the
    difference of a 0/1 feature (Gelman 2008, *Statistics in Medicine* 27), and all features of one
    field together count as much as a single feature."""

    mean: Floats
    width: Floats
    label_width: Floats

    @classmethod
    def of(cls, x: Floats, z: Floats, together: np.ndarray) -> _Scale:
        if not len(x):
            return cls(np.zeros(x.shape[1]), np.ones(x.shape[1]), np.ones(z.shape[2]))
        binary = np.isin(x, (0.0, 1.0)).all(axis=0)
        width = np.where(binary, 1.0, 2 * x.std(axis=0)) * np.sqrt(together)
        between = (z - z.mean(axis=1, keepdims=True)).std(axis=(0, 1))
        return cls(x.mean(axis=0), width, np.maximum(between, 1e-9))

    def apply(self, x: Floats, z: Floats) -> tuple[Floats, Floats]:
        return (x - self.mean) / self.width, z / self.label_width


def _label_texts(labels: Sequence[Any]) -> list[str]:
    texts = []
    for i, label in enumerate(labels):
        text = label_text(label, f"row {i}")
        if text is None:
            raise InputError(f"row {i}: no label", hint="remove rows without a label")
        texts.append(text)
    return texts


__all__ = ["FeatureExpert", "Reason"]
