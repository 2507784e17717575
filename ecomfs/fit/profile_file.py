"""Profiles as files of JSON: reading, and what is wrong with one that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ecomfs.errors import ConfigError, MissingFileError
from ecomfs.io import read_text, write_text


class StrictRecord(BaseModel):
    """A part of a profile: unknown keys are an error, and nothing is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProfileFile(StrictRecord):
    """A profile of some kind: its ``format`` is a number, and its ``kind`` a word where it is not
    of one label a row.

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
            MissingFileError: it is not there.
            ConfigError: it is no profile of this kind.
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
        """What is wrong: another kind, another format, or a key."""
        wanted = cls.model_fields["kind"].default if "kind" in cls.model_fields else None
        if (other := _named(text, "kind")) != wanted:
            of = f"a task with {other}" if other else "one label a row"
            return ConfigError(
                f"{path}: a profile of {of}, and this task has {wanted or 'one label a row'}",
                hint="fit again: ecomfs fit",
            )
        known = cls.model_fields["format"].default
        if (older := _named(text, "format")) not in (None, known):
            return ConfigError(
                f"{path}: a profile of format {older}, and this version reads format {known}",
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
    """What a file says of itself; ``None``: nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get(key) if isinstance(found, dict) else None


__all__ = ["ProfileFile", "StrictRecord"]
