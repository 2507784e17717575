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

_OPTIONAL = ("similarity", "sharing", "shortlist", "passes", "profile", "fusion")
"""Passed on under their own names, when the command has them."""


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
    from ecomfs.batch import Selection, Where, find_columns
    from ecomfs.batch.files import find_inputs, name_outputs
    from ecomfs.batch.score import check_paths
    from ecomfs.table import TableReader

    fields = o.parse_fields(options["field"])
    examples, shots, seed = options["examples"], options["shots"], options["seed"]
    pool_name, synthetic = options["pool_name"], options["synthetic"]
    card, pool = o.load_pool(
        options["task"], examples, fields, options["label_column"], None, shots, seed, pool_name,
        synthetic,
    )  # fmt: skip
    selection = Selection(
        tuple(Where.parse(text) for text in options["where"] or ()),
        options["sample"],
        options["limit"],
        seed,
    )
    jobs = name_outputs(find_inputs(options["sources"]), options["output"])
    # A model takes a while to load; a wrong column should not wait for it.
    for job in jobs:
        check_paths(job.source, job.output)
        reader = TableReader(job.source)
        reader.require(*(w.column for w in selection.where))
        find_columns(
            job.source, card, fields=fields, id_column=options["id_column"],
            gold_column=options["gold"], reader=reader,
        )  # fmt: skip
    named = ("engine", "k", "embedder", "language", "template", "readout", "strategy", "seed")
    more = {name: options[name] for name in _OPTIONAL if name in options}
    clf = o.classifier(
        options["task"], **{name: options[name] for name in named}, **more, fields=fields,
        calibration_size=options["calibrate"],
    )  # fmt: skip
    with o.to_fit(examples, pool, shots, pool_name, synthetic) as labelled:
        clf.fit(labelled)
    return Prepared(card, clf.pipeline_, len(pool), fields, selection, jobs)
