"""``ecomfs rank``: rank items for users by the probability of the positive label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import (
    OptionalExamples,
    classifier,
    is_pool,
    one_label_only,
    print_notes,
    without_fit,
)
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import show_phases
from ecomfs.core.progress import CHECKING, LOADING, Phases
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.pipeline import Pipeline
    from ecomfs.rank import Catalogue, PairTable, User
    from ecomfs.types import Prediction

COLUMNS = (
    *("rank", "score", "status", "suggestion", "prediction_set", "novelty", "suspicious"),
    *("source", "error", "note"),
)
TOP = 10


@o.flatten_options
def rank(
    labelled: OptionalExamples,
    settings: o.Fitting,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[PAIRS.csv]", help="table whose rows are pairs of user and item"),
    ] = None,
    user: Annotated[
        Path | None,
        typer.Option(
            "--user",
            help="table of users: one row per user with the history as a JSON list, or one row "
            "per event, oldest first",
        ),
    ] = None,
    items: Annotated[Path | None, typer.Option("--items", help="table of candidates")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="result table [ITEMS.ranked.csv]")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="length of the lists [10; all rows for PAIRS.csv]")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="label whose probability is the score (the card's positive)")
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="also rank items in the user's history")
    ] = False,
    user_column: Annotated[
        str | None, typer.Option(help="column of --user with the user's id")
    ] = None,
    item_column: Annotated[
        str | None, typer.Option(help="column of --items with unique ids")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="column of PAIRS with the list of a row, such as the user")
    ] = None,
    gold_column: o.GoldColumn = None,
    resample: Annotated[
        str | None,
        typer.Option(
            hidden=True,
            help="column of PAIRS with the unit that intervals resample, if a user has several "
            "lists [--group]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="only the first rows of PAIRS, or the first items")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="only print the number of readings and the time")
    ] = False,
    probe: Annotated[
        int, typer.Option(help="with --plan: pairs to read now to measure the speed")
    ] = 0,
) -> None:
    """Rank the items of a catalogue for each user, or the rows of a table of pairs.

    --field maps a field to a column of any of the tables; other columns have the field's name.
    """
    phases = show_phases(CHECKING)
    from ecomfs.cli.present import note
    from ecomfs.pipeline import needs_uniform_draw
    from ecomfs.rank import check_top, positive_label, read_pairs, read_users_and_items
    from ecomfs.task import LabelSpace

    if probe < 0 or (probe and not plan):
        raise ConfigError(f"--probe {probe}", hint="use 0 or more, together with --plan")
    target = _target(source, user, items, group, output)
    check_top(top)
    fields = labelled.fields
    card, pool = labelled.load(_of_pool(labelled, fields))
    one_label_only(card)
    # Check the columns before the model is loaded.
    label = positive_label(LabelSpace.resolve(card, (e.label for e in pool)), card, positive)
    tables = pairs = None
    if source is not None and group is not None:
        pairs = read_pairs(
            source,
            card,
            group=group,
            gold=gold_column,
            unit=resample,
            fields=fields,
            limit=limit,
            encoding=labelled.input_encoding,
        )
    elif user is not None and items is not None:
        tables = read_users_and_items(
            card,
            user,
            items,
            fields=fields,
            user_column=user_column,
            item_column=item_column,
            encoding=labelled.input_encoding,
        )
    if tables is not None:
        tables = tables[0], replace(tables[1], items=tables[1].items[:limit])
    phases(LOADING)
    clf = classifier(labelled, without_fit(settings) if plan else settings)
    with labelled.to_fit(pool) as shown:
        clf.fit(shown, progress=phases)
    phases.clear()
    pipeline = clf.pipeline_
    if plan:
        # A plan counts the leave-one-out readings but does not make them.
        readings = 0 if settings["profile"] else settings["calibration_size"]
        how = {"readings": readings, "uniform": needs_uniform_draw(settings)}
        how |= {"probe": probe, "seed": labelled.seed}
        _plan(pipeline, pairs, tables, keep_seen, phases, how)
        return
    print_notes(clf, settings)
    result = {"output": target, "positive": label, "engine": pipeline.engine.spec}
    if pairs is not None:
        predictions, scores = _rank_pairs(pipeline, pairs, target, label, top, phases)
        lists = len(set(pairs.lists))
        result |= {"pairs": len(scores), "lists": lists, "failed": scores.count(None)}
        what = f"{len(scores)} rows in {lists} lists by {group!r}"
        _print_summary(what, result, len(pool))
        if pairs.truth is not None:
            result["metrics"] = _measure(pipeline, pairs, predictions, label, len(pool), labelled)
    if tables is not None:
        users, catalogue = tables
        options = {"positive": label, "top": TOP if top is None else top, "keep_seen": keep_seen}
        counts = _rank_catalogue(pipeline, users, catalogue, target, phases, options)
        pairs_read = counts["candidates"]
        result |= {"pairs": pairs_read, "lists": len(users), "failed": counts["failed"]}
        what = f"{len(users)} users × {len(catalogue.items)} items: {pairs_read} pairs read"
        if not keep_seen:
            what += f" · {counts['seen']} already in a history, left out"
        _print_summary(what, result, len(pool))
    set_result(result)
    note(phases.text())


def _target(
    source: Path | None, user: Path | None, items: Path | None, group: str | None, out: Path | None
) -> Path:
    """The output path, after a check that the options fit one of the two forms."""
    if source is not None:
        if user is not None or items is not None:
            raise ConfigError(
                "PAIRS.csv together with --user or --items",
                hint="give either PAIRS.csv, or --user and --items",
            )
        if group is None:
            raise ConfigError(
                f"{source.name}: the column that defines the lists is not known",
                hint="name it with --group",
            )
    elif user is None or items is None:
        raise ConfigError(
            "nothing to rank", hint="give --user and --items, or a table of pairs with --group"
        )
    main = source or items
    assert main is not None
    from ecomfs.cli.prepare import check_targets, derived_path
    from ecomfs.io import check_output

    target = out or derived_path(main, "ranked")
    check_output(target)
    check_targets([path for path in (source, user, items) if path], [target])
    return target


def _of_pool(labelled: OptionalExamples, fields: dict[str, str]) -> dict[str, str]:
    """The entries of --field whose column is in the pool."""
    from ecomfs.io import TableReader, text_encoding

    header: set[str] = set()
    for path in labelled.sources:
        if not is_pool(path):
            encoding = text_encoding(path, labelled.input_encoding)
            header |= set(TableReader(path, encoding=encoding).header)
    return {name: column for name, column in fields.items() if column in header}


def _rank_catalogue(
    pipeline: Pipeline,
    users: Sequence[User],
    catalogue: Catalogue,
    target: Path,
    phases: Phases,
    options: dict[str, Any],
) -> Counter[str]:
    """Write the list of every user."""
    from ecomfs.io import AtomicWriter, added_columns, cell_text, writing
    from ecomfs.rank import rank_users

    first, *last = added_columns(catalogue.header, ("user", *COLUMNS))
    header = [first, *last[:2], *catalogue.header, *last[2:]]
    counts: Counter[str] = Counter()
    with writing(target, header, marked=(first, *last)) as writer:
        for one in rank_users(pipeline, users, catalogue, progress=phases, **options):
            counts.update(candidates=one.candidates, seen=one.seen, failed=one.failed)
            for r in one.items:
                place, tail = _cells(r.rank, r.score, r.prediction)
                cells = [cell_text(r.item.cells.get(name, "")) for name in catalogue.header]
                writer.write([[one.user.id, *place, *cells, *tail]])
            if isinstance(writer, AtomicWriter):
                writer.flush()
    phases.clear()
    return counts


def _rank_pairs(
    pipeline: Pipeline,
    pairs: PairTable,
    target: Path,
    positive: str,
    top: int | None,
    phases: Phases,
) -> tuple[list[Prediction], list[float | None]]:
    """Write the rows in the order of their lists."""
    from ecomfs.io import added_columns, writing
    from ecomfs.rank import list_order, score_pairs

    added = added_columns(pairs.header, COLUMNS)
    with writing(target, [*added[:2], *pairs.header, *added[2:]], marked=added) as writer:
        predictions = score_pairs(pipeline, pairs, progress=phases)
        scores = [p.probabilities.get(positive) for p in predictions]
        for i, rank in list_order(pairs.lists, scores, top):
            place, tail = _cells(rank, scores[i], predictions[i], pairs.rows[i].note)
            cells = (pairs.rows[i].cells[name] for name in pairs.header)
            writer.write([[*place, *cells, *tail]])
    phases.clear()
    return predictions, scores


def _measure(
    pipeline: Pipeline,
    pairs: PairTable,
    predictions: Sequence[Prediction],
    positive: str,
    n_examples: int,
    labelled: OptionalExamples,
) -> dict[str, Any]:
    from ecomfs.cli.present import metrics_table, note
    from ecomfs.evaluation.evaluate import unknown_labels
    from ecomfs.rank import METRICS, rankings

    truth = [pipeline.space.true_label(text) for text in pairs.truth or ()]
    if unknown := unknown_labels(truth, pipeline.space):
        note(f"note: {unknown}")
    found = rankings(pairs, predictions, pipeline, positive)
    return metrics_table(found, n_examples, seed=labelled.seed, shown=METRICS, notes=True)


def _plan(
    pipeline: Pipeline,
    pairs: PairTable | None,
    tables: tuple[list[User], Catalogue] | None,
    keep_seen: bool,
    phases: Phases,
    how: dict[str, Any],
) -> None:
    """Print how many pairs would be read, and how long it would take."""
    from ecomfs.batch import plan_rows
    from ecomfs.cli.plan import plan_lines
    from ecomfs.cli.present import show_table
    from ecomfs.rank import candidates_of, pair_row

    card, left_out, unusable = pipeline.card, 0, 0
    if pairs is not None:
        rows = [f for f, row in zip(pairs.fields, pairs.rows, strict=True) if not row.error]
        unusable = len(pairs.rows) - len(rows)
    else:
        assert tables is not None
        users, catalogue = tables
        rows = []
        for user, items in candidates_of(card, users, catalogue, keep_seen=keep_seen):
            left_out += len(catalogue.items) - len(items)
            unusable += sum(bool(item.error) for item in items)
            rows += [pair_row(card, user, item) for item in items if not item.error]
    phases("counting tokens")
    found = plan_rows(pipeline, rows, unusable=unusable, **how)
    phases.clear()
    set_result({"plan": found, "engine": pipeline.engine.spec, "left_out": left_out})
    seen = [("already in a history, left out", f"{left_out:,}")] if left_out else []
    title = f"pairs · {pipeline.engine.spec}"
    show_table((), [*seen, *plan_lines(found)], title=title, show_header=False)


def _cells(
    rank: int | None, score: float | None, prediction: Prediction, note: str = ""
) -> tuple[list[str], list[str]]:
    from ecomfs.batch import detail_cells, number_cell

    place = ["" if rank is None else str(rank), number_cell(score)]
    notes = "; ".join(text for text in (note, prediction.note) if text)
    return place, [str(prediction.status), *detail_cells(prediction), prediction.error, notes]


def _print_summary(what: str, result: dict[str, Any], n_examples: int) -> None:
    from ecomfs.cli.present import labelled, note

    failed = result["failed"]
    bad = f" · {failed} without a score, at the end of their lists" if failed else ""
    note(
        f"{what}{bad}\nscore = P({result['positive']}) · {labelled(n_examples)} · "
        f"{result['engine']} · wrote {result['output']}"
    )
