"""``ecomfs rank``: recommendation as ranking by P(like)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import groups as g
from ecomfs.cli.unfold import unfolded
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecomfs.pipeline import Pipeline
    from ecomfs.rank import Catalogue, Pairs, User
    from ecomfs.types import Prediction

COLUMNS = ("rank", "score", "status", "error", "note")
TOP = 10


@unfolded
def rank(
    labelled: g.MaybeLabelled,
    reading: g.Reading,
    fitting: g.Fitting,
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[PAIRS.csv]", help="rows that are user and item already"),
    ] = None,
    user: Annotated[
        Path | None,
        typer.Option(
            "--user",
            help="table of users: a row a user with the history as a JSON list, or a row for "
            "each thing they did, oldest first",
        ),
    ] = None,
    items: Annotated[Path | None, typer.Option("--items", help="table of candidates")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="result table [ITEMS.ranked.csv]")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="longest list [10; every row of PAIRS.csv]")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="label whose probability is the score (the card's positive)")
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="rank items of the user's own history too")
    ] = False,
    user_column: Annotated[
        str | None, typer.Option(help="column of --user with the user's id")
    ] = None,
    item_column: Annotated[
        str | None, typer.Option(help="column of --items with unique ids")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="column of PAIRS that names the list of a row (the user)")
    ] = None,
    gold: Annotated[
        str | None, typer.Option(help="column of PAIRS with true labels: prints metrics")
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(
            help="column of PAIRS whose values are drawn for the intervals, where a user has "
            "several lists [--group]"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="only the first rows of PAIRS, or the first items")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bar")] = False,
) -> None:
    """Rank the items of a catalogue for each user, or rows that are pairs already.

    --field names a column of whichever table has it; the others keep the task's names.
    """
    from ecomfs.rank import positive_label, read_pairs, read_parties
    from ecomfs.rank.order import check_top
    from ecomfs.task import LabelSpace

    target = _target(source, user, items, group, output)
    check_top(top)
    fields = labelled.fields
    card, pool = labelled.load(_of_pool(labelled.examples, fields))
    # A model takes a while to load; a wrong column should not wait for it.
    label = positive_label(LabelSpace.resolve(card, (e.label for e in pool)), card, positive)
    parties = pairs = None
    if source is not None and group is not None:
        pairs = read_pairs(
            source, card, group=group, gold=gold, unit=resample, fields=fields, limit=limit
        )
    elif user is not None and items is not None:
        parties = read_parties(
            card, user, items, fields=fields, user_column=user_column, item_column=item_column
        )
    clf = g.classifier(labelled, reading, fitting)
    with labelled.to_fit(pool) as shown:
        clf.fit(shown)
    if pairs is not None:
        _pairs(
            clf.pipeline_, pairs, target, label, top, str(group), len(pool), labelled.seed, quiet
        )  # fmt: skip
    if parties is not None:
        users, catalogue = parties
        catalogue = replace(catalogue, items=catalogue.items[:limit])
        how = {"positive": label, "top": TOP if top is None else top, "keep_seen": keep_seen}
        _catalogue(clf.pipeline_, users, catalogue, target, how, len(pool), quiet)


def _target(
    source: Path | None, user: Path | None, items: Path | None, group: str | None, out: Path | None
) -> Path:
    """Where the result goes, once the options make one of the two forms."""
    if source is not None:
        if user is not None or items is not None:
            raise ConfigError(
                "PAIRS.csv and --user or --items", hint="give pairs, or users and items"
            )
        if group is None:
            raise ConfigError(
                f"{source.name}: which rows are one list?", hint="name a column with --group"
            )
    elif user is None or items is None:
        raise ConfigError(
            "nothing to rank", hint="give --user and --items, or a table of pairs with --group"
        )
    main = source or items
    assert main is not None
    from ecomfs.cli.prepare import check_targets

    target = out or main.with_name(f"{main.stem}.ranked.csv")
    check_targets([path for path in (source, user, items) if path], [target])
    return target


def _of_pool(examples: str | None, fields: dict[str, str]) -> dict[str, str]:
    """The entries of --field whose column the pool has."""
    if examples is None or g.is_pool(examples):
        return {}
    from ecomfs.table import TableReader

    header = TableReader(examples).header
    return {name: column for name, column in fields.items() if column in header}


@contextmanager
def _progress(name: str, total: int, quiet: bool) -> Iterator[Callable[[Prediction], None]]:
    from ecomfs.batch import Tally
    from ecomfs.cli.present import progress

    tally, started = Tally(), time.monotonic()
    with progress(name, quiet=quiet) as report:

        def saw(prediction: Prediction) -> None:
            tally.add(prediction)
            tally.seconds = time.monotonic() - started
            tally.progress = tally.rows / total
            report(tally)

        yield saw


def _catalogue(
    pipeline: Pipeline,
    users: Sequence[User],
    catalogue: Catalogue,
    target: Path,
    how: dict[str, Any],
    n_examples: int,
    quiet: bool,
) -> None:
    from ecomfs.rank import rank_users
    from ecomfs.table import AtomicWriter, added_columns
    from ecomfs.table.cells import cell_text

    first, *last = added_columns(catalogue.header, ("user", *COLUMNS))
    header = [first, *last[:2], *catalogue.header, *last[2:]]
    counts: Counter[str] = Counter()
    total = len(users) * len(catalogue.items)
    with (
        _progress(target.name, total, quiet) as saw,
        AtomicWriter(target, header) as writer,
    ):
        for one in rank_users(pipeline, users, catalogue, on_prediction=saw, **how):
            counts.update(candidates=one.candidates, seen=one.seen, failed=one.failed)
            for r in one.items:
                place, tail = _cells(r.rank, r.score, r.prediction)
                cells = [cell_text(r.item.cells.get(name, "")) for name in catalogue.header]
                writer.write([[one.user.id, *place, *cells, *tail]])
            writer.flush()
    left_out = "" if how["keep_seen"] else f" · {counts['seen']} already in a history, left out"
    _said(
        f"{len(users)} users × {len(catalogue.items)} items: {counts['candidates']} pairs read"
        f"{left_out}",
        counts["failed"], pipeline, how["positive"], n_examples, target,
    )  # fmt: skip


def _pairs(
    pipeline: Pipeline,
    pairs: Pairs,
    target: Path,
    positive: str,
    top: int | None,
    group: str,
    n_examples: int,
    seed: int,
    quiet: bool,
) -> None:
    from ecomfs.cli.present import metrics_table
    from ecomfs.rank import METRICS, rankings, score_pairs
    from ecomfs.rank.pairs import list_order
    from ecomfs.table import AtomicWriter, added_columns

    added = added_columns(pairs.header, COLUMNS)
    with (
        AtomicWriter(target, [*added[:2], *pairs.header, *added[2:]]) as writer,
        _progress(target.name, len(pairs.rows), quiet) as saw,
    ):
        predictions = score_pairs(pipeline, pairs, on_prediction=saw)
        scores = [p.probabilities.get(positive) for p in predictions]
        for i, rank in list_order(pairs.lists, scores, top):
            place, tail = _cells(rank, scores[i], predictions[i], pairs.rows[i].note)
            cells = (pairs.rows[i].cells[name] for name in pairs.header)
            writer.write([[*place, *cells, *tail]])
    _said(
        f"{len(pairs.rows)} rows in {len(set(pairs.lists))} lists by {group!r}",
        scores.count(None), pipeline, positive, n_examples, target,
    )  # fmt: skip
    if pairs.truth is not None:
        found = rankings(pairs, predictions, pipeline, positive)
        metrics_table(found, n_examples, seed=seed, shown=METRICS, notes=True)


def _cells(
    rank: int | None, score: float | None, prediction: Prediction, note: str = ""
) -> tuple[list[str], list[str]]:
    place = ["" if rank is None else str(rank), "" if score is None else f"{score:.6f}"]
    notes = "; ".join(text for text in (note, prediction.note) if text)
    return place, [str(prediction.status), prediction.error, notes]


def _said(
    what: str, failed: int, pipeline: Pipeline, positive: str, n_examples: int, target: Path
) -> None:
    from rich.console import Console

    from ecomfs.cli.present import labelled

    bad = f" · {failed} without a score, at the end of their lists" if failed else ""
    Console(stderr=True).print(
        f"{what}{bad}\nscore = P({positive}) · {labelled(n_examples)} · "
        f"{pipeline.engine.spec} · wrote {target}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
