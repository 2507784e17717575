"""The classifier that a task's card asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from ecomfs.core.options import DEFAULTS, OPTIONS
from ecomfs.errors import ConfigError
from ecomfs.estimators.base import parameters
from ecomfs.estimators.few_shot import FewShotClassifier
from ecomfs.estimators.multilabel import MultiLabelClassifier
from ecomfs.estimators.taxonomy import TaxonomyClassifier
from ecomfs.task import TaskCard, load_task

Classifier: TypeAlias = FewShotClassifier | TaxonomyClassifier | MultiLabelClassifier
"""The classifier of a task with one label per row, a hierarchy, or several labels per row."""
_UNUSED = ("tune",)
"""Options that have no effect on a classifier without them."""


def classifier_of(task: str | Path | TaskCard, **options: Any) -> Classifier:
    """An unfitted classifier of the class that the task needs: one label per row, a hierarchy, or
    several labels per row.

    Args:
        task: task name, path of a task folder, or a card.
        **options: options of the classifier. One that the class lacks may have its default value.

    Raises:
        ConfigError: an option that this class does not have.

    >>> classifier_of("review_sentiment", k=2)
    FewShotClassifier(k=2)
    >>> classifier_of("review_aspects", passes=1)
    MultiLabelClassifier(task='review_aspects')
    >>> classifier_of("review_aspects", passes=2)
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: --passes with task 'review_aspects', which has several labels ...
    """
    card = task if isinstance(task, TaskCard) else load_task(task)
    if card.multi_label:
        return MultiLabelClassifier(task, **_own(MultiLabelClassifier, card, options))
    if card.hierarchy is not None:
        own = {"separator": card.hierarchy, **_own(TaxonomyClassifier, card, options)}
        return TaxonomyClassifier(task, **own)
    return FewShotClassifier(task, **options)


def _own(kind: type, card: TaskCard, options: dict[str, Any]) -> dict[str, Any]:
    known = parameters(kind)
    what = "several labels a row" if card.multi_label else "a hierarchy"
    for name, value in options.items():
        if name not in known and name not in _UNUSED and value != DEFAULTS.get(name):
            flag = OPTIONS[name].cli if name in OPTIONS else name
            raise ConfigError(
                f"{flag} with task {card.name!r}, which has {what}", hint="leave it out"
            )
    return {name: value for name, value in options.items() if name in known}


__all__ = ["Classifier", "classifier_of"]
