"""ecomfs: few-shot classification for e-commerce, without fine-tuning.

    from ecomfs import FewShotClassifier, compare, score_table

    clf = FewShotClassifier("review_sentiment").fit(texts, labels)
    clf.predict(["Stopped working within a week"])
    score_table("reviews.csv", "scored.csv", clf)
    compare({"few": {"k": 4}, "many": {"k": 16}}, "pool.csv", "test.csv", task="review_sentiment")

Importing this package is cheap: no model runtime is loaded before it is used.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from ecomfs.core.import_hooks import when_imported

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ecomfs.ab import compare
    from ecomfs.batch import score_table
    from ecomfs.client import Client
    from ecomfs.errors import EcomfsError
    from ecomfs.estimators import FewShotClassifier
    from ecomfs.estimators.multilabel import MultiLabelClassifier
    from ecomfs.estimators.taxonomy import TaxonomyClassifier
    from ecomfs.pool import Pool
    from ecomfs.task import load_task
    from ecomfs.types import Example, Prediction, Status

_HOMES = {
    "Client": "ecomfs.client",
    "EcomfsError": "ecomfs.errors",
    "Example": "ecomfs.types",
    "FewShotClassifier": "ecomfs.estimators.few_shot",
    "MultiLabelClassifier": "ecomfs.estimators.multilabel",
    "Pool": "ecomfs.pool",
    "Prediction": "ecomfs.types",
    "Status": "ecomfs.types",
    "TaxonomyClassifier": "ecomfs.estimators.taxonomy",
    "compare": "ecomfs.ab",
    "load_task": "ecomfs.task",
    "score_table": "ecomfs.batch",
}

__all__ = [
    "Client",
    "EcomfsError",
    "Example",
    "FewShotClassifier",
    "MultiLabelClassifier",
    "Pool",
    "Prediction",
    "Status",
    "TaxonomyClassifier",
    "compare",
    "load_task",
    "score_table",
]


def __getattr__(name: str) -> Any:
    # Names are imported when first used: the command line and error handling start without
    # loading pandas, SQL and HTTP.
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _register(pandas: ModuleType) -> None:
    """``df.ecomfs`` for programs that use pandas anyway."""
    if hasattr(pandas, "DataFrame"):
        import ecomfs.frames  # noqa: F401


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


when_imported("pandas", _register)
