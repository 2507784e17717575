"""Metrics of tasks with several labels a row, and of hierarchies, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ecomfs.cli.present import metrics_table, plain, usual

if TYPE_CHECKING:
    from ecomfs.batch import Gold
    from ecomfs.core.progress import Phases
    from ecomfs.estimators.multilabel.rows import MultiLabelRows
    from ecomfs.estimators.taxonomy.rows import TaxonomyRows
    from ecomfs_eval import Predictions


def print_metrics(
    gold: Gold,
    answers: MultiLabelRows | TaxonomyRows,
    n_examples: int,
    seed: int,
    phases: Phases,
) -> dict[str, Any]:
    """Print the metrics on the rows that have true labels, beside those of simple baselines, and
    the paired differences from the first.

    Returns:
        System → metric → value, interval and the like.
    """
    from ecomfs.suites.several import several_systems

    systems = several_systems(gold, answers)
    phases.clear()
    return print_systems(systems, n_examples, seed)


def print_systems(
    systems: Mapping[str, Predictions], n_examples: int | None, seed: int
) -> dict[str, Any]:
    """As :func:`print_metrics`, of systems."""
    from ecomfs_eval import Bootstrap, get_metric
    from ecomfs_eval.compare import differences

    first, *others = systems.values()
    shown = usual(first.kind)
    out: dict[str, Any] = metrics_table(systems, n_examples, seed=seed, shown=shown)
    metrics = [get_metric(name) for name in shown]
    for other in others:
        found = differences(other, first, metrics, Bootstrap(seed=seed))
        plain(
            f"{first.name} − {other.name}: "
            + ", ".join(f"{shown[d.metric]} {d.text()}" for d in found)
        )
    silent = sum(~first.answered)
    if silent and first.kind == "sets":
        plain(f"{silent} rows of {first.name} have no answer: they have none of the labels")
    return out
