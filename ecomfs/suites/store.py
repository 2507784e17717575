"""The results folder of a suite.

    RESULTS/
      suite.json                               the suite, as it was run
      cells/DATASET/n32-s0/manifest.json       inputs and options of the cell; written last
      cells/DATASET/n32-s0/predictions/…       one table per system

A cell with a manifest is complete. It is not run again if its manifest equals that of the new run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecomfs.core.messages import one_line
from ecomfs.errors import ConfigError, InputError, MissingFileError, OutputError
from ecomfs.evaluation.harness import harness_errors
from ecomfs.io import write_text
from ecomfs.suites.cell import Cell, CellResult
from ecomfs.suites.config import Suite
from ecomfs_eval import Predictions
from ecomfs_eval.manifest import (
    FileHash,
    Manifest,
    StoredResults,
    compare_manifests,
    hash_file,
    load_manifest,
    read_results,
    write_results,
)

SUITE = "suite.json"


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored results of a cell."""

    folder: Path
    results: StoredResults

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :func:`ecomfs.suites.cell.identity`."""
        found: Mapping[str, Any] = self.results.manifest.settings["cell"]
        return found

    @property
    def budget(self) -> tuple[str, int | str, str]:
        """Data set, number of labelled examples, and variant, which all seeds share."""
        who = self.identity
        return who["dataset"], who["shots"], who["variant"]

    def system(self, name: str) -> Predictions:
        """The predictions of one system.

        Raises:
            ConfigError: there is no such system.
        """
        for p in self.results.systems:
            if p.name == name:
                return p
        have = ", ".join(p.name for p in self.results.systems)
        raise ConfigError(f"{self.folder}: no system {name!r}", hint=f"there are: {have}")

    @property
    def measured(self) -> Mapping[str, Any]:
        """See :class:`ecomfs.suites.cell.CellResult`."""
        found: Mapping[str, Any] = self.results.manifest.settings["measured"]
        return found


class ResultsFolder:
    """The results folder of a suite.

    Args:
        folder: the folder; created at the first write.

    >>> import tempfile
    >>> list(ResultsFolder(tempfile.mkdtemp()).cells())
    []
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def suite(self) -> Suite:
        """The suite that was run.

        Raises:
            MissingFileError: there are no results.
            InputError: the results were not written by this version.
        """
        path = self.folder / SUITE
        if not path.is_file():
            raise MissingFileError(
                f"{path}: no such file", hint="name the folder that ecomfs eval run wrote"
            )
        try:
            return Suite.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: not a suite of this version: {one_line(error, 160)}"
            ) from error

    def begin(self, suite: Suite) -> None:
        """Store the suite.

        Raises:
            ConfigError: the folder has results of another suite.
            OutputError: it cannot be written.
        """
        path = self.folder / SUITE
        if path.is_file() and (was := self.suite()).name != suite.name:
            raise ConfigError(
                f"{self.folder} has results of the suite {was.name!r}", hint="choose another -o"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        write_text(path, suite.model_dump_json(indent=2) + "\n")

    def changes(
        self, cell: Cell, identity: Mapping[str, Any], inputs: Mapping[str, Path]
    ) -> list[str] | None:
        """Differences between the stored cell and the new one; empty if they are equal, ``None`` if
        nothing is stored."""
        try:
            with harness_errors():
                was = load_manifest(self.folder / cell.folder)
        except MissingFileError:
            return None
        now: dict[str, Any] = json.loads(json.dumps(identity))
        return changes(was, now, {name: hash_file(path) for name, path in inputs.items()})

    def write(
        self,
        cell: Cell,
        identity: Mapping[str, Any],
        inputs: Mapping[str, Path],
        result: CellResult,
    ) -> None:
        """Keep a cell's results; whole or not at all.

        Raises:
            OutputError: the folder cannot be written.
        """
        folder = self.folder / cell.folder
        try:
            (folder / "manifest.json").unlink(missing_ok=True)
            for old in folder.glob("predictions/*"):  # of systems that no longer exist
                old.unlink()
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror or error}") from error
        settings = {"cell": identity, "measured": result.measured, "absent": result.absent}
        with harness_errors():
            write_results(folder, result.systems, settings=settings, inputs=inputs)

    def cells(self) -> Iterator[Stored]:
        """All complete cells, sorted by name; a file that differs from its manifest is an error."""
        for path in sorted(self.folder.glob("cells/*/*/manifest.json")):
            yield Stored(path.parent, read_results(path.parent))


def changes(
    was: Manifest, identity: Mapping[str, Any], inputs: Mapping[str, FileHash]
) -> list[str]:
    """Differences between the inputs of a stored and a new cell, in words."""
    before = replace(was, settings=was.settings.get("cell", {}), systems=())
    lines = []
    for change in compare_manifests(before, Manifest(identity, inputs, ())):
        if change.what == "setting":
            lines.append(f"{change.name} was {change.old!r}, is {change.new!r}")
        elif change.new is None:
            lines.append(f"{change.name} was used, and is not used now")
        elif change.old is None:
            lines.append(f"{change.name} was not used, and is used now")
        else:
            lines.append(f"{change.name} has changed")
    return lines
