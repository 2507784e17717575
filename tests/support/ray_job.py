"""A process that scores a table on Ray with a scripted engine; its actors import this module."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import victim
from scripted import classifier

from ecomfs.batch import score_table
from ecomfs.batch.ray.runner import RayScorer
from ecomfs.pipeline import Pipeline
from ecomfs.types import Prompt, Question


class Engine(victim.SlowEngine):
    """Records its prompts and its process; the engine that gets the first ``dies_after`` prompts
    kills its process.
    """

    def __init__(self, folder: Path, seconds: float, dies_after: int | None) -> None:
        super().__init__(folder / "asked", seconds, fails_on="Review: poison")
        self._folder = folder
        self._dies_after = dies_after
        self._asked = 0

    async def read(self, prompts: Sequence[Prompt], questions: Sequence[Question]) -> list[Any]:
        (self._folder / f"actor-{os.getpid()}").touch()
        self._asked += len(prompts)
        if self._dies_after is not None and self._asked > self._dies_after:
            try:
                (self._folder / "died").touch(exist_ok=False)
            except FileExistsError:
                pass  # somebody else was the first
            else:
                os._exit(1)
        return await super().read(prompts, questions)


def build(folder: Path, seconds: float = 0.004, dies_after: int | None = None) -> Pipeline:
    """The pipeline of :func:`victim.score`, with an engine that records its calls in ``folder``."""
    made: Pipeline = classifier(Engine(folder, seconds, dies_after)).pipeline_
    return made


def never(folder: Path) -> Pipeline:
    """A model that kills its process when it is loaded."""
    os._exit(1)


def main(source: str, output: str, folder: str, how: str) -> None:
    """Score ``source``; ``how`` is the Python of more arguments of :func:`build`."""
    made = partial(never, Path(folder)) if how == "never" else None
    made = made or partial(build, Path(folder), **eval(how))
    with RayScorer(made, actors=2, partition_rows=24, on_event=print) as scorer:
        result = score_table(source, output, scorer, chunk_rows=16, probabilities=True)
        print(result.tally)


if __name__ == "__main__":
    main(*sys.argv[1:])
