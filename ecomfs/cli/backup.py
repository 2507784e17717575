"""``ecomfs backup`` and ``ecomfs restore``: an SQLite database of pools and reviews as one file."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ecomfs.cli.terminal import say

DatabaseFile = Annotated[Path, typer.Argument(metavar="FILE.db", help="of pools and reviews")]


def backup(
    database: DatabaseFile,
    output: Annotated[Path, typer.Argument(metavar="BACKUP.db", help="file to write")],
) -> None:
    """Copy a database while it is in use: the copy is of one moment, whole, and checked."""
    from ecomfs.cli.json_result import set_result

    _copy(database, output, replace=False)
    set_result({"database": database, "backup": output, "bytes": output.stat().st_size})
    say(f"{output}: {output.stat().st_size:,} bytes, checked")


def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP.db", help="what backup wrote")],
    database: DatabaseFile,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="replace a database that is there (it is kept beside it)"),
    ] = False,
) -> None:
    """Put a backup in the place of a database. A running service reads it from its next request
    on."""
    from ecomfs.cli.json_result import set_result

    _copy(backup_file, database, replace=replace)
    set_result({"backup": backup_file, "database": database})
    say(f"{database}: restored from {backup_file}")


def _copy(source: Path, target: Path, *, replace: bool) -> None:
    from ecomfs.errors import ConfigError, MissingFileError, OutputError, PoolError

    if not source.is_file():
        raise MissingFileError(f"{source}: no such file", hint="name an SQLite database")
    if target.exists() and (not replace or not target.is_file()):
        hint = "name another file, or give --replace" if target.is_file() else "name a file in it"
        raise ConfigError(f"{target}: is there already", hint=hint)
    if target.exists():
        if target.samefile(source):
            raise ConfigError(f"{target} and the backup are the same file", hint="name another")
        if not _is_sqlite(target):
            raise ConfigError(f"{target}: is no SQLite database", hint="name the one to replace")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.absolute().parent)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}", hint="choose another folder") from error
    os.close(handle)
    part = Path(name)
    try:
        # SQLite's own online copy: it waits for writers, and sees none of them half.
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(part)) as new,
        ):
            old.backup(new)
            [(found,)] = new.execute("PRAGMA integrity_check(1)").fetchall()
            if found != "ok":
                raise PoolError(f"{source}: damaged: {found}", hint="restore an older backup")
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
            kept = _free(target)
            for end in ("", "-wal", "-shm"):
                beside = target.with_name(target.name + end)
                if beside.exists():
                    beside.replace(kept.with_name(kept.name + end))
        part.replace(target)
    except sqlite3.Error as error:
        raise PoolError(f"{source}: {error}", hint="is it an SQLite database?") from error
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}", hint="nothing was replaced") from error
    finally:
        part.unlink(missing_ok=True)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) in (b"", b"SQLite format 3\0")


def _free(target: Path) -> Path:
    """Where a replaced database is kept: what was kept before stays."""
    kept, number = target.with_name(f"{target.name}.old"), 2
    while kept.exists():
        kept, number = target.with_name(f"{target.name}.old{number}"), number + 1
    return kept
