"""What ``score`` and ``plan`` have in common: from options to inputs, outputs and a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecomfs.cli import options as o

if TYPE_CHECKING:
    from ecomfs.batch import Selection
    from ecomfs.batch.files import Job
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import TaskCard
    from ecomfs.types import Example

_OPTIONAL = ("similarity", "sharing", "shortlist", "passes", "profile", "fusion")
"""Passed on under their own names, when the command has them."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known before a model is loaded.

    Attributes:
        pool: the labelled examples.
        jobs: inputs and outputs.
    """

    card: TaskCard
    pool: list[Example]
    fields: dict[str, str]
    selection: Selection
    jobs: list[Job]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a command decided.

    Attributes:
        jobs: inputs and outputs.
        n_examples: labelled examples behind the pipeline.
    """

    card: TaskCard
    pipeline: Pipeline
    n_examples: int
    fields: dict[str, str]
    selection: Selection
    jobs: list[Job]


def prepare(options: Mapping[str, Any]) -> Prepared:
    """Check files, columns and conditions, then load the model and fit.

    Args:
        options: the arguments of :func:`ecomfs.cli.score.score`, by name.

    Raises:
        EcomfsError: anything that the options get wrong.
    """
    known = check(options)
    pipeline = fitted(options, known.pool)
    return Prepared(
        known.card, pipeline, len(known.pool), known.fields, known.selection, known.jobs
    )


def check(options: Mapping[str, Any]) -> Checked:
    """Check files, columns and conditions: a model takes a while to load, and a wrong column
    should not wait for it. Arguments and errors as of :func:`prepare`."""
    from ecomfs.batch import Selection, Where, find_columns
    from ecomfs.batch.files import find_inputs, name_outputs
    from ecomfs.batch.score import check_paths
    from ecomfs.table import TableReader

    card, pool, fields = _examples(options)
    selection = Selection(
        tuple(Where.parse(text) for text in options["where"] or ()),
        options["sample"],
        options["limit"],
        options["seed"],
    )
    jobs = name_outputs(find_inputs(options["sources"]), options["output"])
    for job in jobs:
        check_paths(job.source, job.output)
        reader = TableReader(job.source)
        reader.require(*(w.column for w in selection.where))
        find_columns(
            job.source, card, fields=fields, id_column=options["id_column"],
            gold_column=options["gold"], reader=reader,
        )  # fmt: skip
    return Checked(card, pool, fields, selection, jobs)


def fitted(options: Mapping[str, Any], pool: list[Example] | None = None) -> Pipeline:
    """Load the model and fit it on the labelled examples.

    Args:
        options: as of :func:`prepare`; inputs and outputs are not looked at.
        pool: the examples, when they are read already.

    Raises:
        EcomfsError: anything that the options get wrong.
    """
    fields = o.parse_fields(options["field"])
    if pool is None:
        _, pool, fields = _examples(options)
    named = ("engine", "k", "embedder", "language", "template", "readout", "strategy", "seed")
    more = {name: options[name] for name in _OPTIONAL if name in options}
    clf = o.classifier(
        options["task"], **{name: options[name] for name in named}, **more, fields=fields,
        calibration_size=options["calibrate"],
    )  # fmt: skip
    source = (options["examples"], pool, options["shots"], options["pool_name"])
    with o.to_fit(*source, options["synthetic"]) as labelled:
        clf.fit(labelled)
    return clf.pipeline_


def _examples(options: Mapping[str, Any]) -> tuple[TaskCard, list[Example], dict[str, str]]:
    fields = o.parse_fields(options["field"])
    card, pool = o.load_pool(
        options["task"], options["examples"], fields, options["label_column"], None,
        options["shots"], options["seed"], options["pool_name"], options["synthetic"],
    )  # fmt: skip
    return card, pool, fields
