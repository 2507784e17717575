"""Paths of a run: inputs, output, journal and failed rows."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ecomfs.errors import ConfigError, MissingFileError, OutputError
from ecomfs.io import (
    InputFile,
    OutputFormat,
    SqlTable,
    check_output,
    check_read,
    check_target,
    is_stream,
    reading,
    split_book,
)

_FORMATS = {
    *(".csv", ".tsv", ".tab", ".txt", ".parquet", ".pq", ".gz", ".zst", ".zstd"),
    *(".jsonl", ".ndjson", ".json", ".xlsx", ".xlsm", ".xls"),
}
Output = Path | SqlTable
"""A file, standard output, or a table of a database."""
_RESULTS = (".scored", ".failed")
FAILED_COLUMNS = ("failed_status", "failed_reason")
"""Columns of a table of failed rows, after those of the input."""


@dataclass(frozen=True)
class Job:
    """One input and its output.

    >>> Job("in/a.csv", Path("-")).base.as_posix()
    'in/a.scored.csv'
    """

    source: str
    output: Output

    @cached_property
    def base(self) -> Path:
        """The path from which the paths of journal and failed rows derive: the output. For standard
        output, a pipe or a device, it is the default output; for a table of a database, its name in
        the working folder."""
        if isinstance(self.output, SqlTable):
            return Path(f"{self.output.table}.table")
        if is_stream(self.output):
            return _folder(self.source) / f"{_name(self.source)}.scored.csv"
        return self.output


def find_inputs(words: Sequence[str]) -> list[str]:
    """Expand the inputs of a command.

    Parameters
    ----------
    words : sequence of str
        Tables, or patterns such as ``in/*.csv`` (``**`` for folders at any depth), whose files are
        sorted by name. A pattern skips results of earlier runs: ``*.scored.*`` and
        ``*.failed.csv``.

    Raises
    ------
    MissingFileError
        A pattern matches no file.
    ConfigError
        A file is given twice.

    Examples
    --------
    >>> find_inputs(["reviews.csv", "hf:owner/reviews@test"])
    ['reviews.csv', 'hf:owner/reviews@test']
    """
    found: list[str] = []
    for word in words:
        # Data sets, queries and sheets (book.xlsx#*) are not patterns, and a file name may look
        # like a pattern.
        file = split_book(word)[0]
        if word.startswith(("hf:", "sql:")) or not glob.has_magic(file) or Path(file).exists():
            found.append(word)
            continue
        matches = sorted(p for p in glob.glob(word, recursive=True) if Path(p).is_file())
        kept = [p for p in matches if not _stem(Path(p)).endswith(_RESULTS)]
        if not kept:
            why = f"only results: {', '.join(matches[:3])}" if matches else "no file matches"
            raise MissingFileError(f"{word}: {why}", hint="quote the pattern: 'in/*.csv'")
        found += kept
    doubled = [name for name, count in Counter(found).items() if count > 1]
    if doubled:
        raise ConfigError(f"{doubled[0]} is given twice", hint="give each input once")
    return found


def read_output(text: str | os.PathLike[str] | SqlTable) -> Output:
    """Parse an output.

    Parameters
    ----------
    text : str, path or SqlTable
        A file, ``-``, or ``sql:URL#TABLE``.

    Raises
    ------
    ConfigError
        The table is invalid (:class:`ecomfs.io.SqlTable`).

    Examples
    --------
    >>> read_output("sql:duckdb:///shop.duckdb#scored").name, read_output("out.csv").name
    ('scored', 'out.csv')
    """
    if isinstance(text, SqlTable):
        return text
    written = os.fspath(text)
    return SqlTable.parse(written) if written.startswith("sql:") else Path(written)


def name_outputs(
    inputs: Sequence[str],
    output: str | os.PathLike[str] | None,
    form: OutputFormat | None = None,
) -> list[Job]:
    """Choose the output of each input.

    Parameters
    ----------
    inputs : sequence of str
        From :func:`find_inputs`.
    output : str or path, optional
        For one input: its result; by default ``<name>.scored.csv`` beside it. For several: the
        folder of the results, which is created; by default ``scored`` beside the first.
    form : OutputFormat, optional
        Format of results without a given name; CSV by default.

    Raises
    ------
    ConfigError
        Several inputs and one output file, or inputs whose results would have the same name.
    OutputError
        The folder cannot be created.

    Examples
    --------
    >>> name_outputs(["in/a.csv"], None)[0].output.as_posix()
    'in/a.scored.csv'
    >>> [job.output.as_posix() for job in name_outputs(["hf:owner/reviews@test"], None, "jsonl")]
    ['reviews@test.scored.jsonl']
    """
    names = [f"{_name(source)}.scored.{form or 'csv'}" for source in inputs]
    target = None if output is None else read_output(output)
    if isinstance(target, SqlTable):
        if len(inputs) == 1:
            return [Job(inputs[0], target)]
        raise ConfigError(
            f"-o {target} is one table for {len(inputs)} inputs", hint="score them one by one"
        )
    if len(inputs) == 1 and not (target is not None and target.is_dir()):
        return [Job(inputs[0], target or _folder(inputs[0]) / names[0])]
    return _in_a_folder(inputs, names, target)


def _in_a_folder(inputs: Sequence[str], names: Sequence[str], output: Path | None) -> list[Job]:
    if output is not None and is_stream(output):
        raise ConfigError(
            f"{output} is one output for {len(inputs)} inputs", hint="name a folder with -o"
        )
    folder = output if output is not None else _folder(inputs[0]) / "scored"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder} is one output file for {len(inputs)} inputs", hint="name a folder with -o"
        )
    if not folder.exists() and folder.suffix.lower() in _FORMATS:
        raise ConfigError(
            f"{folder}: {len(inputs)} inputs need an output folder, and this looks like a file"
        )
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(
                f"{count} inputs would be written to {folder / name}",
                hint="score the folders one by one",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    return [Job(source, folder / name) for source, name in zip(inputs, names, strict=True)]


def journal_path(output: Path) -> Path:
    """The path of the journal of an output.

    >>> journal_path(Path("out/reviews.scored.csv")).name
    'reviews.scored.csv.journal'
    """
    return output.with_name(f"{output.name}.journal")


def failed_path(output: Path) -> Path:
    """The path of the table of failed rows.

    >>> failed_path(Path("out/reviews.scored.csv.gz")).name
    'reviews.scored.failed.csv'
    """
    return output.with_name(f"{_stem(output)}.failed.csv")


def check_paths(job: Job, form: OutputFormat | None = None, *, replace_table: bool = False) -> None:
    """Refuse an output that would replace the input, before any work.

    Parameters
    ----------
    job : Job
        The input and its output.
    form : OutputFormat, optional
        The format given by the user.
    replace_table : bool
        Whether a table of a database may be replaced.

    Raises
    ------
    ConfigError
        Output, table of failed rows or journal is a file that the run reads; or the format cannot
        be written.
    OutputError
        The output cannot be written, or the path of the failed rows is another file.

    Examples
    --------
    >>> check_paths(Job("reviews.csv", Path("reviews.csv")))
    Traceback (most recent call last):
    ecomfs.errors.ConfigError: -o reviews.csv and the input are the same file ...
    """
    source, output = job.source, job.output
    if not source:
        raise ConfigError("the input is empty", hint="name a table")
    if isinstance(output, SqlTable):
        if form is not None:
            raise ConfigError(
                f"-o {output} has another format than --output-format {form}", hint="leave one out"
            )
        output.check(source, replace=replace_table)
    elif not output.name:  # Path("") is the current folder
        raise OutputError(f"-o {output}: this is a folder", hint="name a file in it")
    else:
        check_output(output, form)
        if replace_table:
            raise ConfigError(
                f"--replace-table with -o {output}, which is not a table of a database",
                hint="leave --replace-table out",
            )
    failed, journal = failed_path(job.base), journal_path(job.base)
    with reading([InputFile("the input", Path(split_book(source)[0]))]):
        if isinstance(output, Path):
            check_target(output, "-o")
        check_target(failed, "the table of failed rows")
        if journal.exists():
            check_read(journal, "the journal")
    if failed.exists() and not is_failed_table(failed):
        raise OutputError(
            f"{failed} would be replaced by failed rows, but it is another file",
            hint="move it away, or choose another -o",
        )


def is_failed_table(path: Path) -> bool:
    """Whether a file is a table of failed rows, which may be replaced or removed."""
    try:
        with path.open("rb") as file:
            return FAILED_COLUMNS[1].encode() in file.readline(1 << 20)
    except OSError:
        return False


def _stem(path: Path) -> str:
    """A file name without the suffixes of format and compression."""
    while path.suffix.lower() in _FORMATS and path.stem:
        path = path.with_suffix("")
    return path.name


def _name(source: str) -> str:
    if source.startswith("sql:"):
        return "query"
    if source == "-":
        return "stdin"
    book, sheets = split_book(source)
    if sheets:
        return "-".join([_stem(Path(book)), *(s for s in sheets if s != "*")])
    return _stem(Path(source.removeprefix("hf:").replace("#", "-")))


def _folder(source: str) -> Path:
    return Path() if source.startswith(("hf:", "sql:")) else Path(split_book(source)[0]).parent
