"""``ecomfs eval score``: metrics and comparisons of predictions of any system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import arguments, set_result
from ecomfs.core.options import DEFAULTS
from ecomfs.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pandas as pd

    from ecomfs.task import TaskCard
    from ecomfs_eval import ColumnNames, Predictions
    from ecomfs_eval.compare import Comparisons

Resamples = Annotated[int, typer.Option(hidden=True, help="bootstrap resamples", min=100)]
RESAMPLES = 2000
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", help="instead of the usual ones (repeatable)")
]


HINTS = {
    "ColumnNames(id=...), or ColumnNames(id='')": "--id-column, or --id-column ''",
    "ColumnNames(gold=...)": "--gold-column",
    "ColumnNames(predicted=...)": "--predicted-column",
    "set ColumnNames(probability_prefix=...)": "set --prefix",
    "read the file with unknown_predicted='invalid'": "use --invalid",
}
"""Hint of the harness → the option of this command."""


def score(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="PREDICTIONS",
            help="tables with one prediction per row: id, label (the true one), "
            "predicted, and where there are any p_LABEL; several hold the same rows",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            help="task whose card says that a row has several labels, or that labels have parents",
            rich_help_panel=o.FIRST,
        ),
    ] = None,
    id_column: Annotated[str, typer.Option(help="column with unique ids; '' numbers them")] = "id",
    gold_column: Annotated[
        str | None, typer.Option(help="column with true labels [gold or label]")
    ] = None,
    predicted_column: Annotated[
        str | None, typer.Option(help="column with answers [predicted, prediction, …]")
    ] = None,
    prefix: Annotated[
        str, typer.Option(hidden=True, help="of the columns with probabilities")
    ] = "p_",
    resample: Annotated[
        str | None,
        typer.Option(help="column whose values are drawn for the intervals, such as the user"),
    ] = None,
    slice_columns: o.Slices = None,
    input_encoding: o.InputEncoding = None,
    positive: Annotated[
        str | None, typer.Option(help="the positive label, for AUC and the like")
    ] = None,
    invalid: Annotated[
        bool,
        typer.Option(
            "--invalid", hidden=True, help="predictions that are no label count as invalid"
        ),
    ] = False,
    metric: Metrics = None,
    resamples: Resamples = RESAMPLES,
    seed: o.Seed = DEFAULTS["seed"],
    report: o.ReportFolder = None,
    report_language: o.ReportLanguage = "en",
) -> None:
    """Print metrics of the predictions of any system, with intervals; for several systems on the
    same rows also the paired differences from the first."""
    from ecomfs.cli.console import Console
    from ecomfs.cli.present import metrics_table, usual
    from ecomfs.evaluation.harness import harness_errors
    from ecomfs.evaluation.source import numbers_source
    from ecomfs_eval import Bootstrap, ColumnNames, compare_many, get_metric
    from ecomfs_eval.report import build_report, write_figures, write_report

    columns = ColumnNames(
        id=id_column,
        gold=gold_column,
        predicted=predicted_column,
        probability_prefix=prefix,
        group=resample,
        slices=tuple(slice_columns or ()),
    )
    how = Bootstrap(resamples=resamples, seed=seed)
    card = None
    if task is not None:
        from ecomfs.task import load_task

        card = load_task(task)
    if card is not None:
        from ecomfs.evaluation.labels import check_metrics

        check_metrics(metric or (), card, "--metric")
    with harness_errors(HINTS):
        systems = _read(files, columns, positive, input_encoding, card, invalid=invalid)
        named = {name: get_metric(name).title for name in metric or ()}
        shown = named or usual(systems[0].kind)
        found = compare_many(systems, metrics=tuple(shown), how=how) if len(systems) > 1 else None
        scores = metrics_table(
            {p.name: p for p in systems}, None, seed=seed, shown=shown, notes=True
        )
        set_result(
            lambda: {
                "metrics": scores,
                "comparisons": None if found is None else found.to_dict(),
                "report": report,
            }
        )
        for line in _words(found):
            Console().print(line, highlight=False, markup=False, soft_wrap=True)
        if report is not None:
            page = build_report(
                systems,
                comparisons=found or (),
                title=" · ".join(p.name for p in systems),
                language="zh" if _language(report_language) == "zh" else "en",
                how=how,
                source=numbers_source(arguments(), files),
            )
            written = write_report(page, report)
            write_figures(page, report / "figures")
            Console(stderr=True).print(f"wrote {written[0]}", highlight=False)


def _read(
    files: Sequence[str],
    columns: ColumnNames,
    positive: str | None,
    encoding: str | None,
    card: TaskCard | None,
    *,
    invalid: bool,
) -> list[Predictions]:
    from ecomfs_eval.reading import from_frame

    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):  # run1/predictions.csv and run2/predictions.csv
        names = list(files)
    frames = [_frame(file, encoding) for file in files]
    classes: list[str] = []
    if card is not None and card.several_labels:
        # The probabilities of several labels are no distribution.
        columns = replace(columns, probability_prefix="")
        frames, columns, classes = _cells(files, frames, columns, card)
    found = [
        from_frame(
            frame,
            columns,
            name=name,
            source=file,
            positive=positive,
            unknown_predicted="invalid" if invalid else "error",
        )
        for file, name, frame in zip(files, names, frames, strict=True)
    ]
    return found if card is None else [_structured(p, card, classes) for p in found]


def _structured(p: Predictions, card: TaskCard, classes: Sequence[str]) -> Predictions:
    """With what the labels of the task are made of."""
    from ecomfs.evaluation.labels import structure_of

    made = structure_of(card, p.labels, classes)
    positive = None if card.several_labels else p.positive
    return replace(p, structure=made, positive=positive)


def _cells(
    files: Sequence[str], frames: Sequence[pd.DataFrame], columns: ColumnNames, card: TaskCard
) -> tuple[list[pd.DataFrame], ColumnNames, list[str]]:
    """The tables with the labels of each cell in one order and spelling; their columns; and every
    label. The prediction of a row without an answer is empty; none of the labels is ``[]``."""
    from ecomfs.task import CellSpace, Label, LabelSpace, find_column

    known = LabelSpace([Label(spec.name, spec) for spec in card.labels])
    seen: dict[str, None] = dict.fromkeys(known.names)
    read: list[dict[str, list[tuple[str, ...]]]] = []
    gold = given = ""
    for file, frame in zip(files, frames, strict=True):
        header = [str(name) for name in frame.columns]
        gold = find_column(
            header, columns.gold, ("gold", *card.label_column), file, "--gold-column "
        )
        given = find_column(
            header, columns.predicted, ("predicted", "prediction"), file, "--predicted-column "
        )
        own: dict[str, list[tuple[str, ...]]] = {}
        for column in (gold, given):
            own[column] = []
            for row, cell in enumerate(frame[column], 1):
                where = f"{file}, row {row}, column {column!r}"
                empty = cell is None or cell != cell or not str(cell).strip()
                labels = () if empty else card.labels_of(str(cell), where)
                names = [x if (i := known.index(x)) is None else known.names[i] for x in labels]
                own[column].append(tuple(names))
                seen |= dict.fromkeys(names)
        read.append(own)
    classes = [*known.names, *sorted(set(seen) - set(known.names))]
    space = CellSpace([Label(name) for name in classes], card.label_separator or "")
    made = []
    for frame, own in zip(frames, read, strict=True):
        frame = frame.copy()
        for column, rows in own.items():
            cells = zip(rows, frame[column], strict=True)
            frame[column] = [
                "" if not labels and not str(cell or "").strip() else space.true_label(list(labels))
                for labels, cell in cells
            ]
        made.append(frame)
    return made, replace(columns, gold=gold, predicted=given), classes


def _frame(file: str, encoding: str | None) -> pd.DataFrame:
    """A table as every other verb reads it; a row that cannot be read is an error."""
    from ecomfs.io import plain_cell, read_frame, text_encoding

    frame = read_frame(file, encoding=text_encoding(file, encoding))
    for error in frame.errors.values():
        raise InputError(f"{file}: {error}", hint="correct that line, and score again")
    if "predicted" in frame.data.columns:  # ecomfs score marks what a spreadsheet would run
        frame.data["predicted"] = [plain_cell(str(v)) for v in frame.data["predicted"]]
    return frame.data


def _words(found: Comparisons | None) -> Iterable[str]:
    if found is not None:
        for comparison in found.comparisons:
            yield comparison.to_text()


def _language(language: str) -> str:
    if language not in ("en", "zh"):
        raise ConfigError(f"--report-language {language!r}", hint="en or zh")
    return language
