"""Files in (CSV, JSON lines, Parquet), frames out; and files that are whole or not there, for their
user alone."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ecomfs_eval.errors import (
    DataError,
    EmptyDataError,
    MissingLibraryError,
    NoSuchFileError,
    OptionError,
    WriteError,
)

if TYPE_CHECKING:
    import pandas as pd

FileKind = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, FileKind] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def read_table(path: str | Path, kind: FileKind | None = None) -> pd.DataFrame:
    """A file as a frame: one row per record, columns named as in the file.

    CSV values stay text (an empty field is ``""``, ``NA`` is the text ``NA``); JSON and Parquet
    keep their types.

    Args:
        path: the file.
        kind: by default from the suffix.

    Raises:
        NoSuchFileError, EmptyDataError, DataError, OptionError, MissingLibraryError: the message
            names the file, and the line where there is one.
    """
    path = Path(path)
    if not path.is_file():
        raise NoSuchFileError(f"{path}: no such file", hint="check the path")
    if kind is None:
        kind = SUFFIXES.get(path.suffix.lower())
        if kind is None:
            raise OptionError(
                f"{path}: cannot tell the format from {path.suffix!r}",
                hint="name the file .csv, .jsonl or .parquet, or give kind=",
            )
    if kind == "parquet":
        return _parquet(path)
    raw = path.read_bytes()
    if not raw.strip():
        raise EmptyDataError(f"{path}: the file is empty", hint="write a header and rows")
    return _csv(path, decode(raw, path)) if kind == "csv" else _jsonl(path, decode(raw, path))


def decode(raw: bytes, path: Path) -> str:
    """Decode bytes: UTF-8 with or without a byte order mark, else GB18030 if the text then looks
    like Chinese. German in cp1252 is also valid GB18030, and is refused."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    import chardet

    # Ids, commas and repeated words carry no evidence, and would outvote short labels.
    words = dict.fromkeys(re.split(rb"[\x00-\x2f\x3a-\x3f]+", raw))
    other = b" ".join(word for word in words if not word.isascii())
    likely = chardet.detect(other, compat_names=False)["encoding"]
    if likely == "gb18030":
        try:
            return raw.decode("gb18030")
        except UnicodeDecodeError:
            pass
    raise DataError(
        f"{path}: neither UTF-8 nor GB18030 text" + (f", but perhaps {likely}" if likely else ""),
        hint="save the file as UTF-8, or name its encoding: ecomfs eval score --input-encoding",
    )


def _csv(path: Path, text: str) -> pd.DataFrame:
    # pandas silently pads short rows and cuts long ones, so the fields are counted here.
    import pandas as pd

    before = csv.field_size_limit(len(text) + 1)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, [])
        if not header:
            raise DataError(
                f"{path}: the first line is empty", hint="begin the file with the header"
            )
        rows: list[list[str]] = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}: row {len(rows) + 1} (line {reader.line_num}) has {len(row)} fields, "
                    f"the header {len(header)}",
                    hint="quote fields that hold commas or line breaks",
                )
            rows.append(row)
    except csv.Error as error:
        raise DataError(
            f"{path}: broken quoting near line {reader.line_num}: {error}",
            hint="close every quote, and double quotes inside quoted fields",
        ) from error
    finally:
        csv.field_size_limit(before)
    doubled = sorted({c for c in header if header.count(c) > 1})
    if doubled:
        raise DataError(
            f"{path}: column {doubled[0]!r} occurs twice in the header", hint="rename one of them"
        )
    return pd.DataFrame(rows, columns=header, dtype=str)


def _jsonl(path: Path, text: str) -> pd.DataFrame:
    import pandas as pd

    records = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # also thousands of digits, or of levels
            raise DataError(
                f"{path}: line {number} is not JSON: {getattr(error, 'msg', error)}",
                hint="write one object per line",
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}: line {number} is not a JSON object", hint="write one object per line"
            )
        records.append(record)
    # As objects from the start: a column of integers with a gap would lose digits as floats.
    return pd.DataFrame(records, dtype=object)


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: reading Parquet needs pyarrow", hint="pip install pyarrow"
        ) from error
    except (ValueError, OSError) as error:
        detail = str(error).splitlines()[0]
        raise DataError(
            f"{path}: not a Parquet file: {detail}", hint="write the file again"
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file that replaces ``path`` when the block ends without an exception.

    Its name is random and the file is created exclusively, so no link is followed. Reports and
    predictions contain row text, so a new file is readable by its user only (mode 0600). An
    existing file keeps its mode, and a link stays a link.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.md"
    >>> with whole_file(path) as part:
    ...     _ = part.write_text("done")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('done', ['report.md'])
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(
    what: str, folder: Path, hint: str = "choose a folder you may write to"
) -> Iterator[None]:
    """Turn an error of the operating system in the block into one of the harness.

    Raises:
        WriteError: ``what`` cannot be written to the folder.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder}: cannot write {what}: {error.strerror or error}", hint=hint
        ) from error


def write_text(path: Path, text: str) -> Path:
    """Write a whole text file."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
