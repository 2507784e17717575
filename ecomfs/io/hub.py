"""Data sets of the Hugging Face hub, and folders saved by its ``datasets`` package."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from ecomfs.errors import ConfigError, EmptyInputError, InputError
from ecomfs.io.cells import cell_text
from ecomfs.io.rows import Record
from ecomfs.io.source import TypedSource
from ecomfs.io.table_optional import optional_module

PREFIX = "hf:"


class HubSource(TypedSource):
    """``hf:NAME[#CONFIG][@SPLIT]`` where NAME is a hub id or a saved folder.

    A hub data set is streamed, not downloaded whole. Class labels are given by name. The split
    may be left out when there is only one.

    Raises:
        InputError: the data set cannot be loaded (no such id, no network).
        ConfigError: a split must be named, or ``datasets`` is not installed.
    """

    def __init__(self, spec: str) -> None:
        name, _, split = spec.removeprefix(PREFIX).partition("@")
        name, _, config = name.partition("#")
        library = optional_module("datasets", need="reading Hugging Face data sets")
        try:
            if is_saved_folder(Path(name)):
                loaded = library.load_from_disk(name)
            else:
                loaded = library.load_dataset(name, config or None, streaming=True)
        except Exception as problem:  # the library raises what its many back ends raise
            said = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise InputError(
                f"{spec}: cannot be loaded: {said}",
                hint="check the id and the network, or save it to a folder first",
            ) from problem
        self._data = _split(spec, loaded, split)
        features = self._data.features or {}
        self._names = {
            column: feature.names
            for column, feature in features.items()
            if isinstance(feature, library.ClassLabel)
        }
        header = tuple(features) or tuple(next(iter(self._data), {}))
        if not header:
            raise EmptyInputError(f"{spec}: the data set has no columns")
        super().__init__(header)
        self.size = getattr(self._data, "num_rows", None)

    def records(self) -> Generator[Record]:
        """The rows in order; ``line`` is the row's number, counted from 1."""
        for number, row in enumerate(self._data, 1):
            cells = [cell_text(self._named(name, row.get(name))) for name in self.header]
            yield Record(number, cells, end=number)

    def _named(self, column: str, value: Any) -> Any:
        names = self._names.get(column)
        if not names or not isinstance(value, int):
            return value
        if value == -1:  # what the library writes where a row has no label
            return None
        return names[value] if 0 <= value < len(names) else value


def is_saved_folder(path: Path) -> bool:
    """Whether ``datasets`` saved something there."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _split(spec: str, loaded: Any, split: str) -> Any:
    if not isinstance(loaded, dict):
        if split:
            raise ConfigError(f"{spec}: it has no splits", hint=f"leave @{split} out")
        return loaded
    names = list(loaded)
    if not split and len(names) == 1:
        return loaded[names[0]]
    if split not in names:
        base = spec.partition("@")[0]
        hint = "name one: " + ", ".join(f"{base}@{name}" for name in names)
        said = f"no split {split!r}" if split else "it has several splits"
        raise ConfigError(f"{spec}: {said}", hint=hint)
    return loaded[split]
