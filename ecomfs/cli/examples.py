"""``ecomfs examples``: add, correct and export the labelled examples of a pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import parse_fields, parse_pairs
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say
from ecomfs.core.options import DEFAULTS

if TYPE_CHECKING:
    from ecomfs.pool import Pool
    from ecomfs.types import Example

app = typer.Typer(
    help="Labelled examples in a database; every version is kept.", no_args_is_help=True
)

Where = Annotated[
    str,
    typer.Option(
        "--pool",
        "-p",
        help="pool.db, sqlite:///pool.db or postgresql://USER@HOST/DB",
        envvar="ECOMFS_POOL",
        show_default=False,
    ),
]
Note = Annotated[str, typer.Option("--note", help="reason, kept in the history")]
NewLabel = Annotated[
    bool,
    typer.Option("--new-label", help="allow a label that the pool (or an open task) does not have"),
]


@app.command()
def add(
    pool: Where,
    task: o.Task,
    label: Annotated[str, typer.Option("--label", "-l", help="label of the example")],
    text: Annotated[
        str | None, typer.Argument(help="text of the example, for tasks with one required field")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE, for other tasks (repeatable)")
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", help="id of the example [made from its fields]")
    ] = None,
    new_label: NewLabel = False,
    pool_name: o.PoolName = o.POOL_NAME,
    note: Note = "",
) -> None:
    """Add one example."""
    from ecomfs.batch import make_example, refuse_new_labels
    from ecomfs.task import load_task

    card = load_task(task)
    example = make_example(card, text, parse_pairs(values, "--set", "FIELD=VALUE"), label, id_)
    with _open(pool, pool_name, create=True) as opened:
        if not new_label:
            refuse_new_labels(opened, {"the example": example.label}, card)
        version = opened.add([example], note)
        set_result({"id": example.id, "label": label, "version": version})
        say(f"added {example.id} as {label!r}: version {version}")


@app.command(name="import")
def import_(
    source: Annotated[str, typer.Argument(metavar="FILE.csv", help="table of labelled examples")],
    pool: Where,
    task: o.Task,
    pool_name: o.PoolName = o.POOL_NAME,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    id_column: o.IdColumn = None,
    input_encoding: o.InputEncoding = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="relabel examples whose label changed")
    ] = False,
    new_label: NewLabel = False,
    note: Annotated[
        str | None, typer.Option("--note", help="reason, kept in the history [the file's name]")
    ] = None,
) -> None:
    """Add the examples of a table. Examples that the pool already has are unchanged; rows without a
    label, as in the output of ecomfs suggest, are skipped and counted."""
    from ecomfs.batch import check_cells, import_examples, read_partly_labelled, refuse_new_labels
    from ecomfs.task import load_task

    card = load_task(task)
    found, blank = read_partly_labelled(
        source,
        card,
        fields=parse_fields(field),
        label_column=label_column,
        id_column=id_column,
        encoding=input_encoding,
    )
    for example in found:
        check_cells(card, example.fields, f"{Path(source).name}: example {example.id!r}")
    why = f"import of {Path(source).name}" if note is None else note
    with _open(pool, pool_name, create=True) as opened:
        if not new_label:
            where = {f"{Path(source).name}: example {e.id!r}": e.label for e in found}
            refuse_new_labels(opened, where, card)
        done = import_examples(opened, found, replace=replace, note=why)
    set_result(
        {
            "added": done.added,
            "unchanged": done.unchanged,
            "changed": done.changed,
            "unlabelled": blank,
            "version": done.version,
        }
    )
    say(
        f"{done.added} added · {done.unchanged} unchanged · {done.changed} changed"
        + (f" · {blank} without a label yet, left out" if blank else "")
        + f": version {done.version}"
    )


@app.command()
def relabel(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    label: Annotated[str, typer.Argument(metavar="LABEL")],
    pool: Where,
    task: Annotated[
        str | None,
        typer.Option("--task", "-t", help="task that defines the labels [the labels of the pool]"),
    ] = None,
    new_label: NewLabel = False,
    pool_name: o.PoolName = o.POOL_NAME,
    note: Note = "",
) -> None:
    """Change the label of an example to another label of the pool or the task."""
    from ecomfs.batch import refuse_new_labels
    from ecomfs.pool import shown_ids
    from ecomfs.task import label_text, load_task

    card = None if task is None else load_task(task)
    label = label_text(label) or ""  # an empty one is refused by the pool
    with _open(pool, pool_name) as opened:
        if label and (not new_label or (card is not None and card.label_space == "closed")):
            refuse_new_labels(opened, {f"example {id_!r}": label}, card)
        version = opened.relabel(id_, label, note)
        say(f"{id_} is {label!r}: version {version}")
        set_result({"id": id_, "label": label, "version": version})
        made = [e.id for e in opened.examples() if e.source_id == id_ and e.label != label]
        if made:
            say(
                f"note: {shown_ids(made)} made from it keep their label: relabel or retire them too"
            )


@app.command()
def retire(
    ids: Annotated[list[str], typer.Argument(metavar="ID…")],
    pool: Where,
    pool_name: o.PoolName = o.POOL_NAME,
    note: Note = "",
) -> None:
    """Remove examples from the current version of a pool; older versions keep them."""
    with _open(pool, pool_name) as opened:
        version = opened.retire(ids, note)
    set_result({"retired": [*dict.fromkeys(ids)], "version": version})
    say(f"retired {len(set(ids))}: version {version}")


@app.command()
def history(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    pool: Where,
    pool_name: o.PoolName = o.POOL_NAME,
) -> None:
    """Show every version of an example, oldest first."""
    from ecomfs.errors import PoolError

    with _open(pool, pool_name) as opened:
        revisions = opened.history(id_)
    if not revisions:
        raise PoolError(f"pool {pool_name!r} never held example {id_!r}", hint="check the id")
    set_result({"id": id_, "versions": revisions})
    for r in revisions:  # in lines: a narrow terminal would cut a table
        last = "now" if r.retired_in is None else str(r.retired_in - 1)
        note = f" · {r.note}" if r.note else ""
        say(f"version {r.added_in} to {last} · {r.example.label} · {r.at}{note}")
    for field, value in revisions[-1].example.fields.items():
        say(f"  {field}: {value}")


@app.command()
def export(
    output: Annotated[Path, typer.Argument(metavar="OUT.csv", help="table to write")],
    pool: Where,
    pool_name: o.PoolName = o.POOL_NAME,
    version: Annotated[int | None, typer.Option(help="an older version [the current one]")] = None,
) -> None:
    """Write the examples of a version as a table."""
    from ecomfs.batch import export_examples

    with _open(pool, pool_name) as opened:
        version, count = export_examples(opened, output, version)
    set_result({"output": output, "examples": count, "version": version})
    say(f"wrote {output}: {count} examples of version {version}")


@app.command()
def stats(
    pool: Where,
    pool_name: o.PoolName = o.POOL_NAME,
    last: Annotated[int, typer.Option(min=0, help="how many of the latest versions to show")] = 10,
) -> None:
    """Show labels, counts and versions of a pool."""
    from rich.table import Column

    from ecomfs.cli.present import plain, show_table

    with _open(pool, pool_name) as opened:
        found, changes = opened.stats(), opened.changes()
    set_result({"pool": found, "changes": changes[-last:] if last else []})
    made_up = f" ({found.synthetic} synthetic)" if found.synthetic else ""
    plain(
        f"pool {found.name} · version {found.version} · {found.examples} examples{made_up} · "
        f"{found.retired} earlier states"
    )
    labels = found.labels.items()
    show_table(("label", "examples"), ((label, str(n)) for label, n in labels))
    if last:
        show_table(
            ("version", "change", Column("at", no_wrap=True), "note"),
            (
                (str(each.version), f"{each.action} {each.examples}", each.at, each.note)
                for each in changes[-last:]
            ),
        )


@app.command()
def audit(
    pool: Where,
    task: o.Task,
    pool_name: o.PoolName = o.POOL_NAME,
    author: Annotated[
        str | None,
        typer.Option(
            "--author",
            help="field of the examples that says who wrote them [author; else whom the note of "
            "a version names: review by NAME]",
        ),
    ] = None,
    cap: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="largest share of a label that one author may have written"
        ),
    ] = 0.5,
    embedder: o.EmbedderOption = DEFAULTS["embedder"],
) -> None:
    """Find examples that may be wrong: near copies with different labels, labels that the other
    examples contradict, authors above a cap, and attacks on the model. Nothing is changed."""
    from ecomfs.embed import open_embedder
    from ecomfs.prepare.audit import KINDS
    from ecomfs.prepare.audit import audit as look
    from ecomfs.task import load_task

    card = load_task(task)
    with _open(pool, pool_name) as opened:
        version, examples = opened.snapshot()
        wrote = _authors(opened, examples, author)
    found = look(card, examples, open_embedder(embedder), authors=wrote, cap=cap)
    set_result(
        {
            "version": version,
            "examples": found.examples,
            "authors": len(set(wrote.values())),
            "counts": found.counts,
            "doubts": [asdict(doubt) for doubt in found.doubts],
        }
    )
    for doubt in found.doubts:
        instead = f" → {doubt.instead}?" if doubt.instead else ""
        say(f"{doubt.kind} · {doubt.id} · {doubt.label}{instead} · {doubt.detail}")
    say(f"{found.examples} examples of version {version}")
    for kind, count in found.counts.items():
        say(f"  {count} {kind}: {KINDS[kind]}")
    if not wrote:
        say("  no author is known: --author names the field that says who wrote an example")


def _authors(opened: Pool, examples: Sequence[Example], field: str | None) -> dict[str, str]:
    """Example id → author, if known."""
    from ecomfs.errors import PoolError

    name = field or "author"
    found = {e.id: str(e.fields[name]) for e in examples if e.fields.get(name)}
    if field is not None and not found:
        raise PoolError(
            f"no example has a field {field!r}", hint="import the examples with this field"
        )
    if found:
        return found
    for example in examples:
        _, by, who = opened.history(example.id)[-1].note.partition("review by ")
        if by and who:
            found[example.id] = who
    return found


@contextmanager
def _open(url: str, name: str, *, create: bool = False) -> Iterator[Pool]:
    """A pool for one command; it must exist unless ``create``."""
    from ecomfs.errors import PoolError
    from ecomfs.pool import Pool

    with Pool.open(url, name, create=create) as opened:
        if not create and not opened.version:
            raise PoolError(
                f"{opened.url} has no pool {name!r}",
                hint="check --pool and --pool-name; ecomfs examples import makes one",
            )
        yield opened
