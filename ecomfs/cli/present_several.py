"""Metrics of tasks with several labels a row, and of hierarchies, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ecomfs.cli.console import Console
from ecomfs.cli.present import labelled, metrics_table, plain

if TYPE_CHECKING:
    from ecomfs.batch import Gold
    from ecomfs.core.progress import Phases
    from ecomfs.estimators.multilabel.rows import MultiLabelRows
    from ecomfs.estimators.taxonomy.rows import TaxonomyRows
    from ecomfs_eval import Bootstrap, Predictions
    from ecomfs_eval.label_sets import LabelSets


def print_set_metrics(
    gold: Gold, answers: MultiLabelRows, n_examples: int, seed: int, phases: Phases
) -> dict[str, Any]:
    """Print the metrics of label sets, beside those of simple baselines."""
    from ecomfs.evaluation.several import set_systems
    from ecomfs_eval import Bootstrap

    systems = set_systems(gold, answers)
    phases.clear()
    return set_table(list(systems.values()), Bootstrap(seed=seed), n_examples)


def set_table(
    systems: Sequence[LabelSets], how: Bootstrap, n_examples: int | None = None
) -> dict[str, Any]:
    """Print the metrics of label sets with intervals, one line per system, and the paired
    differences from the first.

    Args:
        n_examples: how many labelled examples they had; ``None``: unknown.

    Returns:
        System → metric → value, interval and the like.
    """
    from ecomfs_eval.label_sets import SET_METRICS, set_difference, set_scores

    had = "" if n_examples is None else f" · {labelled(n_examples)}"
    level = f"{100 * how.level:g} % intervals"
    table = Table(
        title=f"n = {len(systems[0])} rows with true labels{had} · {level}", title_justify="left"
    )
    for column in ("system", *SET_METRICS.values()):
        table.add_column(column)
    out: dict[str, Any] = {}
    for sets in systems:
        found = set_scores(sets, how)
        out[sets.name] = {name: score.to_dict() for name, score in found.items()}
        table.add_row(sets.name, *(score.text() for score in found.values()))
    Console().print(table)
    first = systems[0]
    for other in systems[1:]:
        deltas = set_difference(other, first, how)
        shown = ", ".join(f"{SET_METRICS[m]} {score.text()}" for m, score in deltas.items())
        plain(f"{first.name} − {other.name}: {shown}")
    silent = sum(~first.answered)
    if silent:
        plain(f"{silent} rows of {first.name} have no answer: they have none of the labels")
    return out


def print_tree_metrics(
    gold: Gold, answers: TaxonomyRows, n_examples: int, seed: int, phases: Phases
) -> dict[str, Any]:
    """Print the metrics of whole labels, and of their parents."""
    from ecomfs.evaluation.several import tree_systems

    systems = tree_systems(gold, answers)
    phases.clear()
    return tree_table(systems, answers.space.separator, n_examples, seed=seed)


def tree_table(
    systems: Mapping[str, Predictions], separator: str, n_examples: int | None, *, seed: int
) -> dict[str, Any]:
    """Print the metrics of whole labels, then those of their parents.

    Returns:
        System → metric → value, interval and the like; ``parents`` has those of the parents.
    """
    from ecomfs.evaluation.several import parents

    plain("whole labels:")
    out: dict[str, Any] = metrics_table(systems, n_examples, seed=seed)
    plain("parents:")
    return {**out, "parents": metrics_table(parents(systems, separator), n_examples, seed=seed)}
