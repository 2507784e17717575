"""Reads and writes profiles as JSON, with precise errors for invalid files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.io import read_text, write_text


class StrictRecord(BaseModel):
    """An immutable part of a profile; unknown keys and numbers such as NaN are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ProfileFile(StrictRecord):
    """A profile with a ``format`` number, and a ``kind`` unless it is for one label per row.

    >>> from typing import Literal
    >>> class Notes(ProfileFile):
    ...     format: Literal[1] = 1
    ...     found: str = ""
    >>> Notes.load("none.json")
    Traceback (most recent call last):
    ecomfs.errors.MissingFileError: none.json: No such file or directory (make a profile with: ...
    """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a profile.

        Raises:
            MissingFileError: the file does not exist.
            ConfigError: it is not a profile of this kind.
        """
        path = Path(path)
        try:
            text = read_text(path)
        except OSError as error:
            raise MissingFileError(
                f"{path}: {error.strerror}", hint="make a profile with: ecomfs fit"
            ) from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise cls._unfit(path, text, error) from error

    @classmethod
    def _unfit(cls, path: Path, text: str, error: ValidationError) -> ConfigError:
        """The error for an invalid file: another kind, another format, or a wrong key."""
        wanted = cls.model_fields["kind"].default if "kind" in cls.model_fields else None
        if (other := _named(text, "kind")) != wanted:
            of = f"a task with {other}" if other else "one label per row"
            return ConfigError(
                f"{path} is a profile of {of}; this task has {wanted or 'one label per row'}",
                hint="fit again: ecomfs fit",
            )
        known = cls.model_fields["format"].default
        if (older := _named(text, "format")) not in (None, known):
            return ConfigError(
                f"{path} is a profile of format {older}; this version reads format {known}",
                hint="fit again: ecomfs fit",
            )
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        return ConfigError(
            f"{path}: {key or 'not a profile'}: {first['msg']}",
            hint="make a profile with: ecomfs fit",
        )

    def save(self, path: str | Path) -> None:
        """Write the profile as JSON.

        Raises:
            OutputError: it cannot be written there.
        """
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=2)
        write_text(Path(path), text + "\n", private=False)


def _named(text: str, key: str) -> Any:
    """The value of a key in a file, or ``None``."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get(key) if isinstance(found, dict) else None


__all__ = ["ProfileFile", "StrictRecord"]
