"""Two results of one suite: what they were made from, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecomfs.errors import ConfigError, InputError
from ecomfs.evaluation.harness import harness_errors
from ecomfs.suites.store import ResultsFolder, Stored, changes
from ecomfs_eval import Bootstrap, Predictions
from ecomfs_eval.compare import Difference
from ecomfs_eval.errors import RowsDifferError
from ecomfs_eval.metrics import USUAL
from ecomfs_eval.repeated import average_difference


@dataclass(frozen=True, slots=True)
class Changed:
    """A data set with one label budget in both results.

    Attributes:
        name, shots, variant: which.
        runs: seeds that both have.
        causes: what differs in inputs, options, model and code; empty when nothing does.
        differences: metric → new − old of one system, paired; empty when the rows differ.
        note: why there are no differences.
    """

    name: str
    shots: int | str
    variant: str
    runs: int
    causes: tuple[str, ...]
    differences: dict[str, Difference]
    note: str = ""

    @property
    def title(self) -> str:
        """For people."""
        variant = f" · {self.variant}" if self.variant else ""
        runs = "1 run" if self.runs == 1 else f"mean of {self.runs} runs"
        return f"{self.name} · {self.shots} labelled{variant} · {runs}"


@dataclass(frozen=True, slots=True)
class ResultsDiff:
    """Attributes:
    changed: the cells that both results have, by data set and label budget.
    only_old, only_new: folders of the cells that one has alone.
    """

    changed: tuple[Changed, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


@harness_errors()
def compare_results(
    new: str | Path,
    old: str | Path,
    *,
    system: str | None = None,
    metrics: Sequence[str] = (),
    how: Bootstrap | None = None,
) -> ResultsDiff:
    """Compare two folders of results, cell by cell.

    Parameters
    ----------
    new, old : str or Path
        Folders that :func:`ecomfs.suites.run_suite` wrote.
    system : str, optional
        Which; by default the main one of the new results' suite.
    metrics : sequence of str
        Instead of the suite's.
    how : Bootstrap, optional
        Resamples, level and seed of the intervals.

    Returns
    -------
    ResultsDiff
        The cells that both have, with paired differences; and those that one has alone.

    Raises
    ------
    MissingFileError
        One of them holds no results.
    InputError
        No cell is in both, or a file is damaged.
    ConfigError
        One has no such system, or an unknown metric.

    Examples
    --------
    >>> compare_results("no-such-folder", "old")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: no-such-folder/suite.json: no such file (name the folder ...
    """
    suite = ResultsFolder(new).suite()
    ResultsFolder(old).suite()
    now, was = (_by_folder(ResultsFolder(x)) for x in (new, old))
    common = [key for key in now if key in was]
    if not common:
        raise InputError(f"{new} and {old} share no cell", hint="compare runs of one suite")
    pairs = [(now[key], was[key]) for key in common]
    changed = _changed(pairs, system or suite.main, tuple(metrics) or suite.metrics, how)
    return ResultsDiff(
        tuple(changed),
        tuple(key for key in was if key not in now),
        tuple(key for key in now if key not in was),
    )


def _by_folder(results: ResultsFolder) -> dict[str, Stored]:
    return {str(c.folder.relative_to(results.folder)): c for c in results.cells()}


def _changed(
    pairs: Sequence[tuple[Stored, Stored]],
    system: str,
    metrics: Sequence[str],
    how: Bootstrap | None,
) -> Iterator[Changed]:
    def key(cell: Stored) -> tuple[str, int | str, str]:
        who = cell.identity
        return who["dataset"], who["shots"], who["variant"]

    for name, shots, variant in dict.fromkeys(key(new) for new, _ in pairs):
        mine = [pair for pair in pairs if key(pair[0]) == (name, shots, variant)]
        causes = [
            c
            for new, old in mine
            for c in changes(old.results.manifest, new.identity, new.results.manifest.inputs)
        ]
        news = [_system(new, system) for new, _ in mine]
        shown = tuple(metrics) or USUAL[news[0].kind]
        olds = [replace(_system(old, system), name=f"{system} (old)") for _, old in mine]
        note, found = "", {}
        try:
            found = average_difference(olds, news, shown, how)
        except RowsDifferError:
            note = "the test rows differ: no paired difference"
        yield Changed(name, shots, variant, len(mine), tuple(dict.fromkeys(causes)), found, note)


def _system(cell: Stored, name: str) -> Predictions:
    for p in cell.results.systems:
        if p.name == name:
            return p
    have = ", ".join(p.name for p in cell.results.systems)
    raise ConfigError(f"{cell.folder}: no system {name!r}", hint=f"there are: {have}")
