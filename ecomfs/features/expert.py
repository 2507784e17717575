"""The feature expert: what the numbers of a row say of its label, without a language model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecomfs.errors import ConfigError, InputError
from ecomfs.features import trees
from ecomfs.features.block import Embed, Floats
from ecomfs.features.feature_set import FeatureSet
from ecomfs.features.label_features import LabelFeatures
from ecomfs.features.logistic import FLOOR, Logistic, fit_logistic
from ecomfs.task import TaskCard, label_text
from ecomfs.types import Language, Row

MOST_EXAMPLES = 2_000
"""It is fitted on at most this many examples, spread evenly over the pool."""
MOST_SCORES = 20_000
"""And on fewer where there are many labels: so many examples times labels at most."""
FOLDS = 20
"""For leave-one-out: up to so many examples it is exact, of more a part is left out at once."""
FEW = 200
"""With more examples than that, half as many parts do."""
_RACE_FOLDS = 4
_CHOICES = 5  # so many times the learner is chosen anew for leave-one-out, without a fifth
_CLEARLY = 2.0  # standard errors by which trees must be better
_MOST_COLUMNS = 200  # of row and label together, for trees


@dataclass(frozen=True, slots=True)
class Reason:
    """What speaks for a label.

    Attributes
    ----------
    phrase : str
        What a reader is told, such as ``"liked 7 of 10, disliked 3"``.
    weight : float
        Log-odds it adds to the label, against the mean of all labels and a usual row.

    Examples
    --------
    >>> Reason("liked 7 of 10, disliked 3", weight=0.8).phrase
    'liked 7 of 10, disliked 3'
    """

    phrase: str
    weight: float


class FeatureExpert:
    """A ridge-penalised logistic regression on the features of a task card.

    From 100 examples on, gradient-boosted trees compete in cross-validation when scikit-learn is
    installed, and answer instead when they are clearly better. The same pool always gives the
    same expert.

    Parameters
    ----------
    card : TaskCard
        Of the task; all features are derived from it.
    labels : sequence of str, optional
        The label space, in the order of the columns; by default the pool's labels, sorted.
    embed : Embed, optional
        Texts to vectors, for features of meaning.
    use_trees : bool
        Whether trees may compete.

    Examples
    --------
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
        use_trees: bool = True,
    ) -> None:
        self.card, self.embed, self.use_trees = card, embed, use_trees
        self._given = None if labels is None else tuple(labels)
        self._model: _Model | None = None

    def fit(
        self,
        rows: Sequence[Row],
        labels: Sequence[Any],
        groups: Sequence[Hashable] | None = None,
    ) -> FeatureExpert:
        """Fit on labelled examples.

        Parameters
        ----------
        rows : sequence of Row
            Field → cell, as the card names the fields.
        labels : sequence
            One a row.
        groups : sequence, optional
            One a row; rows of one group (copies, rewrites, rows of one user) are left out
            together by :meth:`leave_one_out` and in the competition with trees.

        Returns
        -------
        FeatureExpert
            Itself.

        Raises
        ------
        ConfigError
            Another number of labels or groups than of rows, or no label at all.
        InputError
            A label is missing, or not in the label space.
        """
        if len(labels) != len(rows) or (groups is not None and len(groups) != len(rows)):
            raise ConfigError(
                f"{len(rows)} rows, {len(labels)} labels"
                + ("" if groups is None else f", {len(groups)} groups"),
                hint="give one a row",
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
        self._sample = np.arange(0, len(rows), max(1, -(-len(rows) // most)))
        sample = [self._rows[i] for i in self._sample]
        self.features = FeatureSet(self.card, self.embed).fit(sample)
        self.label_features = LabelFeatures(self.card, self.labels).fit(sample)
        x, z = self.features.transform(sample), self.label_features.transform(sample)
        self._scale = _Scale.of(x, z, self.features.together)
        self._x, self._z = self._scale.apply(x, z)
        everyone = np.arange(len(sample))
        self._model = self._learned(everyone, self._trees_win(everyone, len(everyone)))
        return self

    @property
    def learner(self) -> str:
        """Who answers: ``logistic`` or ``trees``."""
        return "trees" if self._ready().trees is not None else "logistic"

    def predict_proba(self, rows: Sequence[Row]) -> Floats:
        """Distributions over the label space.

        Parameters
        ----------
        rows : sequence of Row
            Field → cell.

        Returns
        -------
        ndarray of float64, shape (rows, labels)
            Finite; each row sums to one.

        Raises
        ------
        ConfigError
            Not fitted.
        """
        model = self._ready()
        x, z = self.features.transform(rows), self.label_features.transform(rows)
        return model.probabilities(*self._scale.apply(x, z))

    def leave_one_out(self) -> Floats:
        """Distributions of the pool's own rows, each by an expert that did not see its label.

        Penalty, weights and the choice between logistic regression and trees are all made
        without it. Up to 20 examples (or groups) one is left out at a time, of more a twentieth
        at once, of more than 200 a tenth. Examples beyond those it was fitted on are predicted as
        new rows are.

        Returns
        -------
        ndarray of float64, shape (rows, labels)
            In the order of the rows of :meth:`fit`.

        Raises
        ------
        ConfigError
            Not fitted.
        """
        self._ready()
        out = np.zeros((len(self._rows), len(self.labels)))
        rest = np.setdiff1d(np.arange(len(self._rows)), self._sample)
        if len(rest):
            out[rest] = self.predict_proba([self._rows[i] for i in rest])
        everyone = np.arange(len(self._sample))
        parts = self._folds(everyone, FOLDS if len(everyone) <= FEW else FOLDS // 2)
        for first in range(min(_CHOICES, len(parts))):
            unseen = np.concatenate(parts[first::_CHOICES])
            use_trees = self._trees_win(np.setdiff1d(everyone, unseen), len(everyone))
            for part in parts[first::_CHOICES]:
                model = self._learned(np.setdiff1d(everyone, part), use_trees)
                out[self._sample[part]] = model.probabilities(self._x[part], self._z[part])
        return out

    def reasons(self, row: Row, label: str, language: Language, most: int = 3) -> list[Reason]:
        """What speaks for a label, by the weights of the logistic regression.

        Parameters
        ----------
        row : Row
            Field → cell.
        label : str
            One of the label space.
        language : {"en", "zh"}
            Of the phrases.
        most : int
            Reasons at most.

        Returns
        -------
        list of Reason
            Those of the greatest weight, either way, first. Features with the same phrase are
            one reason.

        Raises
        ------
        ConfigError
            Not fitted.
        InputError
            The label is not in the label space.
        """
        logistic = self._ready().logistic
        if label not in self.labels:
            raise InputError(
                f"label {label!r} is not in the label space",
                hint=f"labels are: {', '.join(self.labels[:8])}",
            )
        place = self.labels.index(label)
        x, z = self._scale.apply(
            self.features.transform([row]), self.label_features.transform([row])
        )
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

    def _ready(self) -> _Model:
        if self._model is None:
            raise ConfigError("the feature expert knows no pool yet", hint="call fit first")
        return self._model

    def _learned(self, rows: np.ndarray, use_trees: bool) -> _Model:
        """A model of some of the sample."""
        x, z, truth = self._x[rows], self._z[rows], self._own(rows)
        logistic = fit_logistic(x, z, truth)
        grown = trees.fit_trees(_wide(x, z), truth, len(self.labels)) if use_trees else None
        return _Model(logistic, grown)

    def _trees_win(self, rows: np.ndarray, total: int) -> bool:
        """Whether trees are clearly better in cross-validation on some of the sample."""
        if not self.use_trees or total < trees.LEAST_EXAMPLES or not trees.available():
            return False
        gains: list[float] = []
        for part in self._folds(rows, _RACE_FOLDS):
            model = self._learned(np.setdiff1d(rows, part), True)
            if model.trees is None:
                return False
            x, z, truth = self._x[part], self._z[part], self._own(part)
            own, theirs = model.logistic.probabilities(x, z), model.probabilities(x, z)
            gains += (_log(theirs, truth) - _log(own, truth)).tolist()
        error = float(np.std(gains)) / max(1, len(gains)) ** 0.5
        return float(np.mean(gains)) > _CLEARLY * error if gains else False

    def _own(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._truth[self._sample[rows]])

    def _folds(self, rows: np.ndarray, most: int) -> list[np.ndarray]:
        """Parts of rows of the sample, groups whole; they do not depend on any label."""
        names: dict[Hashable, list[int]] = {}
        for i in rows.tolist():
            names.setdefault(self._groups[self._sample[i]], []).append(i)
        order = np.random.default_rng(0).permutation(len(names))
        units = list(names.values())
        parts: list[list[int]] = [[] for _ in range(min(most, len(units)))]
        for place, unit in enumerate(order.tolist()):
            parts[place % len(parts)] += units[unit]
        return [np.array(sorted(part), dtype=np.int64) for part in parts]


@dataclass(frozen=True, slots=True)
class _Model:
    """Logistic regression, and the trees that answer in its place if there are any."""

    logistic: Logistic
    trees: trees.Trees | None = None

    def probabilities(self, x: Floats, z: Floats) -> Floats:
        if self.trees is not None:
            return self.trees.probabilities(_wide(x, z))
        return self.logistic.probabilities(x, z)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Features on the scale that the penalty expects: two standard deviations of a number are as
    much as the difference of a 0/1 feature (Gelman 2008, *Statistics in Medicine* 27), and a field
    that is measured in many ways weighs beforehand as much as one measured in a single way."""

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


def _wide(x: Floats, z: Floats) -> Floats:
    """Features of the row, and of row and label where they are not too many, side by side."""
    if z.shape[1] * z.shape[2] > _MOST_COLUMNS:
        return x
    return np.hstack([x, z.reshape(len(z), z.shape[1] * z.shape[2])])


def _log(p: Floats, truth: np.ndarray) -> Floats:
    return np.asarray(np.log(np.maximum(p[np.arange(len(truth)), truth], FLOOR)))


def _label_texts(labels: Sequence[Any]) -> list[str]:
    texts = []
    for i, label in enumerate(labels):
        text = label_text(label, f"row {i}")
        if text is None:
            raise InputError(f"row {i}: no label", hint="leave rows without a label out")
        texts.append(text)
    return texts


__all__ = ["FeatureExpert", "Reason"]
