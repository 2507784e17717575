"""Who answers the rows of ``ecomfs score``: this process, or actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ecomfs.cli import groups as g
from ecomfs.cli.scoring import Cluster, fitted
from ecomfs.core.progress import FITTING, LOADING

if TYPE_CHECKING:
    from ecomfs.batch import Gold, RowScorer
    from ecomfs.core.progress import Phases
    from ecomfs.pipeline import Pipeline
    from ecomfs.types import Example
    from ecomfs_eval import Predictions

RUNNERS = ("plain", "ray")
_SERVED = ("vllm:", "litellm:")
"""Engines whose model is not in the process: an actor needs no GPU for them."""


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers, and what is told of it.

    Attributes:
        by: goes to :func:`ecomfs.batch.score_table`.
        k: demonstrations a prompt.
        spec: of the engine.
        systems: the predictions and the baselines beside them, for true labels and a seed.
    """

    by: Pipeline | RowScorer
    k: int
    spec: str
    systems: Callable[[Gold, int], dict[str, Predictions]]


@contextmanager
def answering(
    cluster: Cluster,
    pool: list[Example],
    labelled: g.MaybeLabelled,
    reading: g.Reading,
    fitting: g.Fitting,
    promises: g.Promises,
    phases: Phases,
) -> Iterator[Answering]:
    """Load the model here, or have it loaded by the actors of a cluster.

    Args:
        pool: the labelled examples, read already.
        phases: are told how far it is.

    Raises:
        ConfigError: an unknown runner, or options of Ray without it.
        EcomfsError: anything else that the options get wrong.
    """
    from ecomfs.errors import ConfigError

    if cluster.runner not in RUNNERS:
        raise ConfigError(f"--runner {cluster.runner!r}", hint="use plain or ray")
    promises.check(labelled, fitting)
    if cluster.runner == "plain":
        # The address may come from the environment of a cluster's machines.
        for name, given in (
            ("--actors", cluster.actors),
            ("--partition-rows", cluster.partition_rows),
        ):
            if given is not None:
                raise ConfigError(f"{name} is of --runner ray")
        pipeline = fitted(labelled, reading, fitting, promises, pool, phases)
        yield Answering(pipeline, pipeline.k, pipeline.engine.spec, partial(systems, pipeline))
        return
    from ecomfs.batch.ray.runner import PARTITION_ROWS, RayScorer
    from ecomfs.cli.present import note

    # Every actor reads the labelled examples itself: a pool in a database has its version.
    build = partial(fitted, labelled, reading, fitting, promises)
    phases(f"{LOADING} and {FITTING} in the actors")
    served = reading.engine.startswith(_SERVED)
    scorer = RayScorer(
        build,
        address=cluster.ray_address or None,
        actors=cluster.actors,
        gpus=0 if served else None,
        partition_rows=cluster.partition_rows or PARTITION_ROWS,
        on_event=note,
    )
    with scorer as by:
        yield Answering(by, by.facts.k, by.facts.spec, partial(by.call, systems))


def systems(pipeline: Pipeline, gold: Gold, seed: int) -> dict[str, Predictions]:
    """The model and all baselines on the rows that have a true label."""
    from ecomfs.evaluation.evaluate import systems as with_votes
    from ecomfs.evaluation.trained import trained

    return with_votes(gold, pipeline) | trained(gold, pipeline, seed)
