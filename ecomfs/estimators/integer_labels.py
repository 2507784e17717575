"""Integer labels: the caller's own, or class indices that scikit-learn made.

A card may say that "1" means *buy*. Scikit-learn's ensembles encode labels as class indices in
alphabetical order, so *buy* may become 0. Both arrive as arrays of integers. If the card's aliases
were applied to class indices, the labels would be swapped, and no metric of the ensemble would
show it.

So the card's aliases apply only to integers of the caller. Integers that an ensemble may have made
are labels of their own: demonstrations show the model what they mean, and ``label_names`` puts
their names into the prompt.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, Self

import numpy as np

from ecomfs.errors import ConfigError, InputError
from ecomfs.task import InputLabels, Label, LabelSpace, TaskCard, label_text
from ecomfs.types import Example

# Parts of scikit-learn that pass labels on unchanged.
_HAND_ON = (
    "sklearn.base",
    "sklearn.calibration",
    "sklearn.frozen",
    "sklearn.model_selection._classification_threshold",
    "sklearn.model_selection._plot",
    "sklearn.model_selection._search",
    "sklearn.model_selection._validation",
    "sklearn.pipeline",
    "sklearn.utils",
)
_NUMBERS = {"cross_val_predict", "_fit_and_predict"}  # of sklearn.model_selection._validation


def numbered_by_sklearn(y: Any) -> bool:
    """Whether labels may be class indices made by scikit-learn: an array of integers that comes
    from an ensemble or another part of scikit-learn that encodes labels.

    >>> numbered_by_sklearn([0, 1]), numbered_by_sklearn(np.array([0, 1]))
    (False, False)
    """
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if module.startswith("sklearn.") and (
            function in _NUMBERS or not module.startswith(_HAND_ON)
        ):
            return True
        frame = frame.f_back
    return False


@dataclass(frozen=True, slots=True)
class LabelReading:
    """How the labels given to ``fit`` map to labels of the pool.

    Attributes:
        card: the task; without its labels if integers are labels of their own.
        given: the labels as given, with their spelling in the pool.
        renamed: label → its spelling in the pool, if that differs.
    """

    card: TaskCard
    given: InputLabels
    renamed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        card: TaskCard,
        given: InputLabels,
        names: Mapping[int, str] | Sequence[str] | None,
        *,
        by_position: bool,
    ) -> Self:
        """Map the labels given to ``fit``.

        Args:
            names: integer → name of the label.
            by_position: the labels may be class indices made by scikit-learn.

        Raises:
            InputError: ``names`` lacks a label.
            ConfigError: ``names`` has one name for two labels.
        """
        spaces = [Label(spec.name, spec) for spec in card.labels]
        known = LabelSpace(spaces)
        numbers = {
            text: value
            for text, value in zip(given.texts, given.values, strict=True)
            if text is not None and isinstance(value, int | float) and not isinstance(value, bool)
        }
        renamed: dict[str, str] = {}
        if names is not None and numbers:
            renamed = _named(names, numbers)
        elif by_position and any(known.index(text) is not None for text in numbers):
            plain = {"labels": (), "label_space": "open", "positive": None}
            card = card.model_copy(update=plain)
        elif {type(value) for value in given.values} == {bool}:
            # True equals 1 in Python and NumPy, so it matches a card that has "1" but no "true".
            for text, number in (("true", "1"), ("false", "0")):
                if known.index(text) is None and known.index(number) is not None:
                    renamed[text] = number
        texts = [text if text is None else renamed.get(text, text) for text in given.texts]
        return cls(card, replace(given, texts=texts), renamed)

    def text(self, text: str | None) -> str | None:
        """The spelling in the pool of a label."""
        return text if text is None else self.renamed.get(text, text)

    def of_examples(self, examples: Sequence[Example]) -> list[Example]:
        """Examples with their labels as spelt in the pool."""
        return [replace(e, label=self.renamed.get(e.label, e.label)) for e in examples]


def _named(names: Mapping[int, str] | Sequence[str], numbers: Mapping[str, Any]) -> dict[str, str]:
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
    found = {str(label_text(number)): str(name) for number, name in pairs}
    twice = [name for name in found.values() if list(found.values()).count(name) > 1]
    if twice:
        raise ConfigError(
            f"label_names: two labels are called {twice[0]!r}", hint="give each label its own name"
        )
    lacking = [text for text in numbers if text not in found]
    if lacking:
        raise InputError(
            f"label_names does not say what the label {lacking[0]} means",
            hint=f"it names: {', '.join(found)}",
        )
    return found


__all__ = ["LabelReading", "numbered_by_sklearn"]
