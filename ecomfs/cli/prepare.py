"""``ecomfs prepare``: clean and augment tables of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say
from ecomfs.errors import ConfigError, MissingFileError, OutputError

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs.prepare.clean import CleanPolicy

JsonReport = Annotated[Path | None, typer.Option(help="write the report here (.json)")]
ACTIONS = "remove, report, ignore"
app = typer.Typer(help="Prepare tables of examples.", no_args_is_help=True)

_MAX_CELL_CHARS = 4_000_000


@app.callback()
def prepare() -> None:
    """Prepare tables of examples."""


@dataclass(frozen=True, slots=True)
class CleanOptions:
    """The options of :class:`ecomfs.prepare.clean.CleanPolicy`."""

    unicode: Annotated[str, typer.Option(hidden=True, help="normal form: NFC, NFKC, keep")] = "NFC"
    html: Annotated[str, typer.Option(hidden=True, help="strip, unescape, keep")] = "strip"
    emoji: Annotated[str, typer.Option(hidden=True, help="keep, name, drop")] = "keep"
    mojibake: Annotated[
        bool, typer.Option(hidden=True, help="correct text that was decoded in a wrong encoding")
    ] = True
    labels: Annotated[bool, typer.Option(hidden=True, help="unify spellings of a label")] = True
    max_chars: Annotated[int, typer.Option(hidden=True, help="longer texts are over-long")] = 4000
    near_threshold: Annotated[
        float,
        typer.Option(hidden=True, help="least shingle similarity of near duplicates, 0.5 to 1"),
    ] = 0.8
    empty: Annotated[
        str, typer.Option(hidden=True, help="rows without text: remove, report, ignore")
    ] = "remove"
    over_long: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "report"
    unlabelled: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "remove"
    duplicate: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "remove"
    near_duplicate: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "remove"
    conflict: Annotated[
        str,
        typer.Option(
            hidden=True, help="one text, several labels: remove, majority, report, ignore"
        ),
    ] = "remove"
    leak: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "remove"
    near_leak: Annotated[str, typer.Option(hidden=True, help=ACTIONS)] = "remove"

    @property
    def policy(self) -> CleanPolicy:
        """The policy with these options."""
        from pydantic import ValidationError

        from ecomfs.prepare.clean import CleanPolicy

        options = asdict(self)
        try:
            return CleanPolicy(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            hint = first["msg"][:1].lower() + first["msg"][1:]
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {options[name]!r}", hint=hint) from error


@app.command("clean")
@o.flatten_options
def clean(
    how: CleanOptions,
    source: Annotated[Path, typer.Argument(metavar="IN.csv", help="table to clean")],
    output: Annotated[Path, typer.Option("--output", "-o", help="cleaned table")],
    text_column: Annotated[
        list[str], typer.Option("--text-column", help="column with text (repeatable)")
    ],
    label_column: o.LabelColumn = None,
    id_column: o.IdColumn = None,
    input_encoding: o.InputEncoding = None,
    test: Annotated[
        Path | None, typer.Option(help="test table: remove rows of IN with the same text (leakage)")
    ] = None,
    report: JsonReport = None,
) -> None:
    """Repair the texts of a table and remove unusable rows, each with its reason.

    Removed rows are written to OUT.removed.csv; changed cells keep their originals.
    """
    from ecomfs.io import TableReader, check_output, is_stream, read_frame
    from ecomfs.prepare.clean import clean as clean_frame

    check_output(output)
    removed = derived_path(source if is_stream(output) else output, "removed")
    check_targets([source, *([test] if test else [])], [output, removed, report])
    policy = how.policy
    needed = [name for name in (*text_column, label_column, id_column) if name is not None]
    for path, names in ((source, needed), *([(test, text_column)] if test else [])):
        TableReader(path, **_how(path, input_encoding)).require(*names)
    frame = read_frame(source, **_how(source, input_encoding))
    other = read_frame(test, **_how(test, input_encoding)).data if test else None
    result = clean_frame(
        frame.data,
        text_columns=text_column,
        label_column=label_column,
        id_column=id_column,
        test=other,
        policy=policy,
        errors=dict[Hashable, str](frame.errors.items()),
        notes=dict[Hashable, str](frame.notes.items()),
    )
    # Write the removed rows first: if the second file fails, no row is lost.
    _write(removed, result.removed, line=True)
    _write(output, result.frame)
    if report is not None:
        write_json(report, result.report.to_dict())
    set_result(lambda: {"output": output, "removed": removed, "report": result.report.to_dict()})
    say(result.report)
    for detail, rows in Counter(f.detail for f in result.report if f.kind == "label").items():
        say(
            f"note: label {detail}, in {rows} row{'s' if rows > 1 else ''} "
            "(--no-labels keeps both spellings)"
        )
    say(f"wrote {output} and {removed}")


def _how(path: Path, encoding: str | None) -> dict[str, Any]:
    """Reader options for a table whose cells will be cleaned."""
    from ecomfs.io import text_encoding

    return {
        "encoding": text_encoding(path, encoding),
        "allow_nul": True,
        "max_cell_chars": _MAX_CELL_CHARS,
    }


def derived_path(path: Path, what: str) -> Path:
    """``OUT.csv`` → ``OUT.<what>.csv``; of standard input, ``stdin.<what>.csv``.

    >>> derived_path(Path("out/a.csv.gz"), "ranked").as_posix()
    'out/a.csv.ranked.csv'
    """
    if path.is_dir():
        raise MissingFileError(f"{path}: this is a folder, not a file", hint="name a file in it")
    stem = "stdin" if path == Path("-") else path.stem
    return path.with_name(f"{stem}.{what}.csv")


def check_targets(sources: list[Path], targets: list[Path | None]) -> None:
    """Refuse outputs that would overwrite an input or another output."""
    from ecomfs.io import InputFile, check_target, is_standard, reading

    taken = [InputFile(f"the input {path.name}", path) for path in sources]
    for target in targets:
        if target is None:
            continue
        with reading(taken):
            check_target(target)
        taken.append(InputFile("another output", target))
        if is_standard(target):
            continue
        if not target.parent.is_dir():
            raise OutputError(
                f"{target}: its folder does not exist",
                hint=f"create it first: mkdir -p {target.parent}",
            )


def _write(path: Path, frame: pd.DataFrame, *, line: bool = False) -> None:
    from ecomfs.io import added_columns, writing

    header = [str(name) for name in frame.columns]
    extra = list(added_columns(header, ["line"])) if line else []
    with writing(path, [*extra, *header]) as out:
        for index, cells in zip(frame.index, frame.itertuples(index=False), strict=True):
            out.write([[*([str(index)] if line else []), *map(str, cells)]])


def write_json(path: Path, report: dict[str, Any]) -> None:
    import json

    from ecomfs.io import write_text

    write_text(path, json.dumps(report, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
