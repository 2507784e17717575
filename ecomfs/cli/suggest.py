"""``ecomfs suggest``: which rows a person should label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import OptionalExamples, classifier
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.options import DEFAULTS, NO_MODEL
from ecomfs.core.progress import LOADING
from ecomfs.errors import ConfigError, DuplicateIdError, EmptyInputError, RowError

if TYPE_CHECKING:
    from ecomfs.features import RowText
    from ecomfs.prepare.suggest import Suggestion
    from ecomfs.task import TaskCard
    from ecomfs.types import Example, Row

_READ_FOR_EACH = 8  # rows the model reads per suggested row


@o.flatten_options
def suggest(
    source: Annotated[Path, typer.Argument(metavar="UNLABELLED.csv", help="table of rows")],
    labelled: OptionalExamples,
    output: Annotated[Path, typer.Option("--output", "-o", help="table to fill in")],
    n: Annotated[int, typer.Option("--rows", "-n", help="how many rows to label")] = 50,
    engine: Annotated[
        str | None,
        typer.Option(help="model for the uncertainty [the neighbours' vote]"),
    ] = None,
    embedder: o.EmbedderOption = DEFAULTS["embedder"],
    id_column: o.IdColumn = None,
    candidates: Annotated[
        int,
        typer.Option(
            hidden=True, help="consider a seeded sample of this many rows of a larger table"
        ),
    ] = 20_000,
) -> None:
    """Choose rows to label: rows that represent many others and whose label is uncertain.

    Fill in the label column of the result; it can then be given to --examples.
    """
    import numpy as np

    from ecomfs.cli.prepare import check_targets
    from ecomfs.embed import open_embedder
    from ecomfs.features import RowText
    from ecomfs.io import check_output
    from ecomfs.task import load_task

    check_output(output)
    if n < 1 or candidates < n:
        raise ConfigError(f"-n {n} with --candidates {candidates}", hint="use 1 ≤ n ≤ candidates")
    check_targets([source, *(Path(path) for path in labelled.sources)], [output])
    seed = labelled.seed
    card = load_task(labelled.task)
    pool: list[Example] = []
    if labelled.sources:
        card, pool = labelled.load()
    words: RowText = RowText(card).fit([e.fields for e in pool], [e.label for e in pool])
    rows = _read(source, card, labelled, id_column, words)
    if len(rows) > candidates:
        keep = np.sort(np.random.default_rng(seed).choice(len(rows), candidates, replace=False))
        say(f"{source.name}: looked at a sample of {candidates} of {len(rows)} rows")
        rows = [rows[i] for i in keep]
    known = [words.render(e.fields, "en") for e in pool]
    encoder = open_embedder(embedder)
    vote = _vote(rows, pool, known, open_embedder(embedder), seed) if pool else None
    fitted = encoder.fit([row.text for row in rows] + known)
    options: dict[str, Any] = {"pool_texts": known, "seed": seed}
    if known:
        options["pool_vectors"] = fitted.embed(known, query=False)
    vectors = fitted.embed([row.text for row in rows], query=False)
    chosen, how = _choose(rows, n if engine is None else n * _READ_FOR_EACH, vectors, vote, options)
    if engine is not None:
        places = [s.position for s in chosen]
        rows, vectors = [rows[i] for i in places], vectors[places]
        vote = _read_by_model(rows, pool, labelled, o.Settings(engine=engine, embedder=embedder))
        chosen, how = _choose(rows, n, vectors, vote, options)
        by = "the experts, who answered" if engine == NO_MODEL else f"{engine}, which read"
        how = f"{how}, {by} {len(rows)} rows"
    if not chosen:
        raise EmptyInputError(
            f"{source}: every row is in the pool already", hint="give a table with other rows"
        )
    _write(output, card, rows, chosen)
    set_result({"output": output, "rows": len(chosen), "of": len(rows), "chosen_by": how})
    say(f"{len(chosen)} of {len(rows)} rows to label, chosen by {how}: {output}")
    if len(chosen) < n:
        say(f"note: only {len(chosen)} different rows are not in the pool yet")
    if not pool:
        say("note: without labelled examples, rows are chosen by coverage only")


@dataclass(frozen=True, slots=True)
class _Unlabelled:
    id: str
    fields: Row
    text: str


@dataclass(frozen=True, slots=True)
class _Vote:
    """The predicted label and the uncertainty of each row."""

    labels: list[str]
    uncertainty: list[float]


def _read(
    source: Path, card: TaskCard, labelled: OptionalExamples, id_column: str | None, words: RowText
) -> list[_Unlabelled]:
    """The rows that can be labelled; prints the number of the others."""
    from ecomfs.batch import read_marks
    from ecomfs.io import TableReader
    from ecomfs.task import FieldMap, first_empty

    reader = TableReader(source, encoding=labelled.input_encoding)
    mapping = FieldMap.resolve(card, reader.header, labelled.fields, source.name)
    id_name = id_column or next((c for c in reader.header if c.casefold() == "id"), None)
    if id_name is not None:
        reader.require(id_name)
    mapping = read_marks(mapping, words.card, reader)
    rows: list[_Unlabelled] = []
    bad: list[str] = []
    seen: set[str] = set()
    for row in reader.rows():
        values = mapping.fields(row.cells, card)
        empty = first_empty(values, card)
        id_ = row.cells[id_name] if id_name else f"line{row.line}"
        if row.error or empty is not None:
            bad.append(row.error or f"line {row.line}: field {empty!r} is empty")
            continue
        if id_ in seen:
            raise DuplicateIdError(
                f"{source.name}, line {row.line}: id {id_!r} occurs twice",
                hint="make the ids unique, or name another column with --id-column",
            )
        seen.add(id_)
        try:
            rows.append(_Unlabelled(id_, values, words.render(values, "en")))
        except RowError as error:
            bad.append(f"line {row.line}: {error.message}")
    if bad:
        say(f"{source.name}: {len(bad)} rows cannot be labelled and are left out; {bad[0]}")
    if not rows:
        raise EmptyInputError(f"{source}: no row can be labelled")
    return rows


def _vote(
    rows: Sequence[_Unlabelled], pool: Sequence[Example], known: list[str], embedder: Any, seed: int
) -> _Vote:
    import numpy as np

    from ecomfs.prepare.suggest import normalised_entropy
    from ecomfs.retrieve import Retriever

    retriever = Retriever(pool, known, embedder, seed=seed)
    shares = retriever.vote([row.text for row in rows])
    best = shares.argmax(axis=1)
    entropy = [normalised_entropy(row) for row in np.asarray(shares).tolist()]
    return _Vote([retriever.labels[i] for i in best], entropy)


def _read_by_model(
    rows: Sequence[_Unlabelled],
    pool: Sequence[Example],
    labelled: OptionalExamples,
    settings: o.Settings,
) -> _Vote:
    """The classifier's predictions; a row without one has the highest uncertainty."""
    phases = show_phases(LOADING)
    clf = classifier(labelled, settings).fit(list(pool), progress=phases)
    found = clf.classify([row.fields for row in rows], [row.id for row in rows], progress=phases)
    phases.clear()
    unread = [p for p in found if not p.probabilities]
    if unread:
        why = unread[0].error or unread[0].status
        say(f"{len(unread)} rows have no prediction and count as uncertain; {unread[0].id}: {why}")
    from ecomfs.prepare.suggest import normalised_entropy

    shares = [[*p.probabilities.values()] for p in found]
    uncertainty = [normalised_entropy(p) if p else 1.0 for p in shares]
    return _Vote([p.label or "" for p in found], uncertainty)


def _choose(
    rows: Sequence[_Unlabelled], n: int, vectors: Any, vote: _Vote | None, options: dict[str, Any]
) -> tuple[list[Suggestion], str]:
    from ecomfs.prepare.suggest import suggest as choose

    found = choose(
        [row.text for row in rows],
        n,
        vectors=vectors,
        uncertainty=vote.uncertainty if vote else None,
        groups=vote.labels if vote else None,
        **options,
    )
    return found, "coverage, uncertainty and predicted label" if vote else "coverage"


def _write(
    path: Path, card: TaskCard, rows: Sequence[_Unlabelled], chosen: Sequence[Suggestion]
) -> None:
    from ecomfs.io import added_columns, writing

    names = [spec.name for spec in card.fields]
    label = card.label_column[0]
    extra = added_columns(["id", *names, label], ["predicted", "uncertainty", "stands_for", "why"])
    with writing(path, ["id", *names, label, *extra], marked=extra) as out:
        for s in chosen:
            row = rows[s.position]
            cells = [str(row.fields[name]) for name in names]
            uncertainty = "" if s.uncertainty is None else f"{s.uncertainty:.4f}"
            tail = [s.group or "", uncertainty, str(s.stands_for), s.why]
            out.write([[row.id, *cells, "", *tail]])
