"""What ``ecomfs prepare augment`` says and writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecomfs.cli.groups import is_pool
from ecomfs.cli.prepare import write_json

if TYPE_CHECKING:
    from ecomfs.cli.groups import Labelled
    from ecomfs.pipeline import Pipeline
    from ecomfs.prepare.augment import Augmented, Candidate, RareLabel
    from ecomfs.task import TaskCard
    from ecomfs.types import Example


def say_left_out(labelled: Labelled, card: TaskCard, id_column: str | None) -> None:
    """Columns that are none of the task's are not in the result: not silently."""
    from ecomfs.io import TableReader, text_encoding
    from ecomfs.task import FieldMap, find_column

    (source,) = labelled.sources
    if is_pool(source):
        return
    header = TableReader(source, encoding=text_encoding(source, labelled.input_encoding)).header
    used = {*FieldMap.resolve(card, header, labelled.fields).columns.values(), id_column}
    used.add(
        find_column(header, labelled.label_column, card.label_column, source, "--label-column ")
    )
    known = {"id", "synthetic", "source_id", "method"}
    left = [name for name in header if name not in used and name.casefold() not in known]
    if left:
        print(f"note: columns that are none of the task's are left out: {', '.join(left)}")


def told(found: Sequence[Candidate]) -> None:
    """A round of rewrites, as it comes."""
    kept = sum(not c.reason for c in found)
    Console(stderr=True).print(f"{len(found)} written, {kept} kept", highlight=False)


def finish(
    pipeline: Pipeline,
    pool: Sequence[Example],
    results: Sequence[Augmented],
    needs: Sequence[RareLabel],
    output: Path,
    rejected: Path,
    report: Path | None,
) -> None:
    """Write what was found, even when the engine was lost on the way; then say so."""
    from ecomfs.batch import write_examples
    from ecomfs.prepare.augment import Augmented

    candidates = [c for result in results for c in result.candidates]
    about = {
        "engine": pipeline.engine.fingerprint,
        "steps": [{**dict(r.about), "candidates": len(r.candidates)} for r in results],
    }
    error = next((r.error for r in results if r.error is not None), None)
    whole = Augmented(candidates, needs, about, error)
    _write_rejected(rejected, whole.rejected, [spec.name for spec in pipeline.card.fields])
    write_examples(output, [*pool, *whole.kept])
    if report is not None:
        write_json(report, whole.to_dict())
    _show(whole)
    print(f"wrote {output} and {rejected}")
    if error is not None:
        raise error


def _show(result: Augmented) -> None:
    from ecomfs.prepare.augment import REASONS

    console = Console(highlight=False)
    console.print(f"{len(result.candidates)} candidates, {len(result.kept)} kept")
    table = Table("rejected because", "candidates")
    for reason, count in result.counts().items():
        if count:
            table.add_row(REASONS[reason], str(count))  # type: ignore[index]
    if table.row_count:
        console.print(table)
    for name, counts in result.to_dict()["labels"].items():
        said = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in counts.items())
        console.print(escape(f"{name}: {said}"))


def _write_rejected(path: Path, rejected: Sequence[Candidate], fields: Sequence[str]) -> None:
    from ecomfs.io import AtomicWriter, added_columns

    names = ["id", "source_id", "method", "label", "reason", "detail", "read_as", "confidence"]
    shown = added_columns(names, fields)
    with AtomicWriter(path, [*names[:4], *shown, *names[4:]]) as out:
        for c in rejected:
            e = c.example
            confidence = "" if c.confidence is None else f"{c.confidence:.4f}"
            cells = [str(e.fields.get(name, "")) for name in fields]
            head = [e.id, e.source_id, e.method, e.label]
            out.write([[*head, *cells, c.reason, c.detail, c.read_as, confidence]])


__all__ = ["finish", "say_left_out", "told"]
