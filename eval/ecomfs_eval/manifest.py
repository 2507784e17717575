"""Write predictions to a results folder with a manifest, and read them back.

    results/
      manifest.json            inputs, settings and files; written last
      predictions/01-bm25.csv  one file per system, Parquet where pyarrow is installed

The manifest holds the SHA-256 of every file, so that a changed file is an error.

>>> import tempfile
>>> from ecomfs_eval import Predictions
>>> p = Predictions.of(["a", "b"], ["a", "a"], name="bm25")
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = write_results(folder, [p], settings={"k": 8}, table="csv")
...     found = read_results(folder)
>>> found.systems[0].predicted, found.manifest.settings
(('a', 'a'), {'k': 8})
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ecomfs_eval.errors import (
    DataError,
    MissingLibraryError,
    NoSuchFileError,
    OptionError,
)
from ecomfs_eval.files import read_table, whole_file, write_text, writing
from ecomfs_eval.predictions import Predictions
from ecomfs_eval.reading import ColumnNames, from_frame
from ecomfs_eval.structure import LabelStructure

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
NAME = "manifest.json"
TableFormat = Literal["parquet", "csv"]


@dataclass(frozen=True, slots=True)
class FileHash:
    """A file and its SHA-256."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class SystemEntry:
    """One system in the folder.

    Attributes:
        name, rows, labels, positive, currency: as in its predictions.
        file: its predictions file, relative to the folder.
        columns: which columns hold groups, queries, slices and extra texts.
        structure: parts of the labels, see :class:`ecomfs_eval.structure.LabelStructure`; ``None``
            for a flat list.
    """

    name: str
    rows: int
    labels: tuple[str, ...]
    positive: str | None
    currency: str
    file: FileHash
    columns: Mapping[str, Any]
    structure: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The inputs, settings and files of a results folder.

    Attributes:
        settings: plain values to compare later (seed, k, template, fingerprints, pool version).
        inputs: name → file the results were made from (data, templates).
        systems: the systems, in order.
        format: version of this layout.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, FileHash]
    systems: tuple[SystemEntry, ...]
    format: int = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class StoredResults:
    """A results folder that was read and checked."""

    manifest: Manifest
    systems: tuple[Predictions, ...]


def hash_file(path: str | Path, *, name: str | None = None) -> FileHash:
    """SHA-256 and size of a file.

    Args:
        path: the file.
        name: name to record; by default the file name without the folder.

    Raises:
        NoSuchFileError: it is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise NoSuchFileError(f"{path}: no such file", hint="check the path")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileHash(name if name is not None else path.name, digest, path.stat().st_size)


def write_results(
    folder: str | Path,
    systems: Sequence[Predictions],
    *,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    table: TableFormat | None = None,
) -> Manifest:
    """Write predictions and their manifest into a folder, created if it does not exist.

    Files are written under a temporary name and renamed. The manifest comes last, so a folder with
    a manifest is complete.

    Args:
        folder: the results folder.
        systems: predictions, each under its own name.
        settings: plain values that describe how the results were made.
        inputs: name → file to record by its hash.
        table: file type; by default Parquet if pyarrow is installed, else CSV.

    Raises:
        OptionError: no systems, two of one name, or settings that JSON cannot hold.
        NoSuchFileError: an input is not there.
        MissingLibraryError: ``table="parquet"`` without pyarrow.
        WriteError: the folder cannot be written.
    """
    names = [p.name for p in systems]
    if not names or len(set(names)) != len(names):
        raise OptionError(
            f"systems are named {names}", hint="give one or more, each with its own name="
        )
    try:
        json.dumps(dict(settings or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"settings cannot be written as JSON: {error}", hint="use text, numbers, lists, maps"
        ) from error
    folder = Path(folder)
    kind: TableFormat = table or ("parquet" if find_spec("pyarrow") else "csv")
    if kind == "parquet" and not find_spec("pyarrow"):
        raise MissingLibraryError("writing Parquet needs pyarrow", hint="pip install pyarrow")
    hashed = {k: hash_file(v) for k, v in (inputs or {}).items()}
    hint = "choose a folder you may write to, with space left"
    with writing("results", folder, hint):
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        entries = []
        for number, p in enumerate(systems, start=1):
            relative = f"predictions/{number:02d}-{_slug(p.name)}.{kind}"
            _write_table(p.to_frame(), folder / relative, kind)
            entries.append(_entry(p, folder, relative))
        manifest = Manifest(dict(settings or {}), hashed, tuple(entries))
        text = json.dumps(manifest.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        write_text(folder / NAME, text)
    return manifest


def load_manifest(folder: str | Path) -> Manifest:
    """The manifest of a results folder, without reading the predictions.

    Raises:
        NoSuchFileError: there is none.
        DataError: it is not one.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise NoSuchFileError(
            f"{path}: no such file", hint="check the folder; an unfinished run has no manifest"
        )
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not a manifest of format {FORMAT}: {error}", hint="write the results again"
        ) from error


def read_results(folder: str | Path) -> StoredResults:
    """Read a results folder and check every hash.

    Raises:
        NoSuchFileError: the manifest or a file of it is missing.
        DataError: the manifest is damaged, or a file differs from it.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    systems = []
    for entry in manifest.systems:
        file = folder / entry.file.path
        if hash_file(file).sha256 != entry.file.sha256:
            raise DataError(
                f"{file}: the file differs from the one in the manifest",
                hint="it was changed after the run; run again",
            )
        columns = ColumnNames(
            group=entry.columns.get("group"),
            query=entry.columns.get("query"),
            slices=tuple(entry.columns["slices"]),
            extra=tuple(entry.columns["extra"]),
        )
        systems.append(
            from_frame(
                read_table(file),
                columns,
                labels=entry.labels,
                positive=entry.positive,
                currency=entry.currency,
                structure=None
                if entry.structure is None
                else LabelStructure.from_dict(entry.structure),
                name=entry.name,
                source=str(file),
            )
        )
    return StoredResults(manifest, tuple(systems))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "system"


def _entry(p: Predictions, folder: Path, relative: str) -> SystemEntry:
    columns: dict[str, Any] = {"slices": list(p.slices), "extra": list(p.extra)}
    if p.groups is not None:
        columns["group"] = "group"
    if p.queries is not None:
        columns["query"] = "query"
    file = hash_file(folder / relative, name=relative)
    made = None if p.structure is None else p.structure.to_dict()
    return SystemEntry(p.name, len(p), p.labels, p.positive, p.currency, file, columns, made)


def _write_table(frame: pd.DataFrame, path: Path, kind: TableFormat) -> None:
    with whole_file(path) as part:
        if kind == "parquet":
            frame.to_parquet(part, index=False)
        else:
            frame.to_csv(part, index=False, lineterminator="\n")


def _parse(data: Mapping[str, Any]) -> Manifest:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}")
    names = [f.name for f in fields(SystemEntry)]
    systems = tuple(
        SystemEntry(
            **{k: s[k] for k in names if k in s}
            | {"labels": tuple(s["labels"]), "file": FileHash(**s["file"])}
        )
        for s in data["systems"]
    )
    inputs = {k: FileHash(**v) for k, v in data["inputs"].items()}
    return Manifest(data["settings"], inputs, systems)


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """One input or setting that differs between two manifests.

    Attributes:
        what: ``input`` or ``setting``.
        name: its name, such as ``test.csv`` or ``k``.
        old, new: the values; ``None`` where it is missing.
    """

    what: Literal["input", "setting"]
    name: str
    old: Any
    new: Any


def compare_manifests(old: Manifest, new: Manifest) -> tuple[ManifestChange, ...]:
    """The inputs and settings that differ.

    >>> a = Manifest({"k": 4}, {}, ())
    >>> compare_manifests(a, Manifest({"k": 8}, {}, ()))
    (ManifestChange(what='setting', name='k', old=4, new=8),)
    """
    hashes = [{name: file.sha256 for name, file in m.inputs.items()} for m in (old, new)]
    sides: tuple[tuple[Literal["input", "setting"], Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("input", hashes[0], hashes[1]),
        ("setting", old.settings, new.settings),
    )
    return tuple(
        ManifestChange(what, name, before.get(name), after.get(name))
        for what, before, after in sides
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    )
