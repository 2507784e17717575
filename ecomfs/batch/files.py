"""Which files a command means, and where their results go."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecomfs.batch.output import stem
from ecomfs.errors import ConfigError, MissingFileError, OutputError
from ecomfs.io import is_stream

_ENDS = (".scored", ".failed")
FOLDER = "scored"


@dataclass(frozen=True, slots=True)
class Job:
    """One input and its output."""

    source: str
    output: Path

    @property
    def base(self) -> Path:
        """See :func:`beside`."""
        return beside(self.output, self.source)


def beside(output: Path, source: str | Path) -> Path:
    """The name that a run's other files are derived from: the output's; of standard output, a pipe
    or a device, which have no place in a folder, that of the input's usual result.

    >>> beside(Path("-"), "in/a.csv").as_posix(), beside(Path("b.csv"), "in/a.csv").as_posix()
    ('in/a.scored.csv', 'b.csv')
    """
    source = str(source)
    return _folder(source) / f"{_name(source)}.scored.csv" if is_stream(output) else output


def find_inputs(words: Sequence[str]) -> list[str]:
    """The inputs that words name: each a table, or a pattern such as ``in/*.csv`` (``**`` for
    folders at any depth), whose files come in the order of their names. A pattern passes over
    what this program wrote: ``*.scored.*`` and ``*.failed.csv``.

    Raises:
        MissingFileError: a pattern that matches no file.
        ConfigError: one file named twice.
    """
    found: list[str] = []
    for word in words:
        # A data set or a query is no pattern, and a file may have a name that looks like one.
        if word.startswith(("hf:", "sql:")) or not glob.has_magic(word) or Path(word).exists():
            found.append(word)
            continue
        matches = sorted(p for p in glob.glob(word, recursive=True) if Path(p).is_file())
        kept = [p for p in matches if not stem(Path(p)).endswith(_ENDS)]
        if not kept:
            why = f"only results: {', '.join(matches[:3])}" if matches else "no file matches"
            raise MissingFileError(f"{word}: {why}", hint="quote the pattern: 'in/*.csv'")
        found += kept
    doubled = [name for name, count in Counter(found).items() if count > 1]
    if doubled:
        raise ConfigError(f"{doubled[0]} is named twice")
    return found


def name_outputs(inputs: Sequence[str], output: Path | None) -> list[Job]:
    """Where each result goes.

    One input: ``output``, or beside the input as ``<name>.scored.csv``. Several: into the folder
    ``output``, or the folder ``scored`` beside the first, which is made.

    Raises:
        ConfigError: several inputs and one output file, or inputs whose results have one name.
        OutputError: the folder cannot be made.

    >>> name_outputs(["in/a.csv"], None)[0].output.as_posix()
    'in/a.scored.csv'
    >>> [job.output.as_posix() for job in name_outputs(["hf:owner/reviews@test"], None)]
    ['reviews@test.scored.csv']
    """
    names = [f"{_name(source)}.scored.csv" for source in inputs]
    if len(inputs) == 1 and not (output is not None and output.is_dir()):
        return [Job(inputs[0], output or _folder(inputs[0]) / names[0])]
    if output is not None and is_stream(output):
        raise ConfigError(
            f"{output}: {len(inputs)} inputs, and one output", hint="name a folder with -o"
        )
    folder = output if output is not None else _folder(inputs[0]) / FOLDER
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder}: {len(inputs)} inputs, and one output file", hint="name a folder with -o"
        )
    if not folder.exists() and folder.suffix.lower() in (".csv", ".tsv", ".parquet", ".gz", ".zst"):
        raise ConfigError(
            f"{folder}: {len(inputs)} inputs go into a folder, this looks like a file"
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


def _name(source: str) -> str:
    if source.startswith("sql:"):
        return "query"
    path = Path(source.removeprefix("hf:").replace("#", "-"))
    return stem(path).removesuffix(path.suffix) if path.suffix in _SPREAD else stem(path)


_SPREAD = (".jsonl", ".ndjson", ".json", ".xlsx", ".xlsm", ".xls")


def _folder(source: str) -> Path:
    return Path() if source.startswith(("hf:", "sql:")) else Path(source).parent
