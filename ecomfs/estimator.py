"""What scikit-learn asks of a classifier, without importing scikit-learn.

Sources: https://scikit-learn.org/stable/developers/develop.html; ``BaseEstimator`` does the same,
but would make every user of the classifier load the library.
"""

from __future__ import annotations

import inspect
from typing import Any, Self

from ecomfs.errors import ConfigError


class Estimator:
    """Parameters by name, for ``clone``, pipelines and searches over parameters.

    A class that derives from it keeps each parameter of its constructor, unchanged, in an
    attribute of the same name, and has ``pipeline_`` once it is fitted.

    >>> class Scale(Estimator):
    ...     def __init__(self, by: float = 1.0, shift: float = 0.0) -> None:
    ...         self.by, self.shift = by, shift
    >>> Scale(by=2.0).set_params(shift=3.0)
    Scale(by=2.0, shift=3.0)
    """

    _estimator_type = "classifier"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor parameters by name (``deep`` is part of the contract; nothing nests)."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters; takes effect at the next ``fit``."""
        for name, value in params.items():
            if name not in self._parameters():
                raise ConfigError(
                    f"no parameter {name!r}", hint=f"parameters: {', '.join(self._parameters())}"
                )
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(string=True, two_d_array=False, allow_nan=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "pipeline_")

    def __repr__(self) -> str:
        defaults = {k: v.default for k, v in inspect.signature(type(self)).parameters.items()}
        shown = {k: v for k, v in self.get_params().items() if v != defaults[k]}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    @classmethod
    def _parameters(cls) -> list[str]:
        return list(inspect.signature(cls).parameters)
