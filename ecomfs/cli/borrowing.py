"""Examples that ``ecomfs prepare augment`` borrows from the table of another task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from ecomfs.cli import options as o
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.cli.labelled import Labelled
    from ecomfs.prepare.augment import Augmented, CandidateFilter, RareLabel
    from ecomfs.task import LabelSpace, TaskCard
    from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Lent:
    """Examples of another table, and what they mean here.

    Attributes:
        examples: of the table, as its own task reads them.
        labels: label there → label here.
        fields: field here → field there.
        origin: task and file, for the mark that every borrowed example bears.
    """

    examples: list[Example]
    labels: dict[str, str]
    fields: dict[str, str]
    origin: str

    def borrow(self, checks: CandidateFilter, needs: list[RareLabel] | None) -> Augmented:
        """CandidateFilter them; those that pass are kept, up to what is needed (``None``: all)."""
        from ecomfs.core import event_loop
        from ecomfs.prepare.augment import borrow

        return event_loop.run(
            borrow(checks, self.examples, self.labels, self.fields, self.origin, needs)
        )


@dataclass(frozen=True, slots=True)
class Borrowing:
    """From which table examples are borrowed, and how its labels and fields are read."""

    PANEL: ClassVar[str] = "Borrowed examples"

    borrow: Annotated[
        Path | None, typer.Option(help="labelled table of a related task or the other language")
    ] = None
    borrow_task: Annotated[
        str | None, typer.Option(help="task of that table [the same as --task]")
    ] = None
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="label there=label here (repeatable)")
    ] = None
    borrow_field: Annotated[
        list[str] | None, typer.Option(help="field here=field there (repeatable)")
    ] = None
    borrow_label_column: Annotated[str | None, typer.Option(help="its label column")] = None
    borrow_limit: Annotated[
        int, typer.Option(min=1, help="of a longer table, a seeded sample of so many rows")
    ] = 200

    def load(self, card: TaskCard, space: LabelSpace, labelled: Labelled) -> Lent | None:
        """The examples and their meanings, checked; ``None`` where nothing is borrowed.

        Args:
            space: labels of the pool that borrows.
            labelled: what the command line says of the pool: the task of that table, unless it
                is named, its encoding and the seed.

        Raises:
            EcomfsError: the table, or a label or field of it, does not fit.
        """
        from ecomfs.batch import read_examples
        from ecomfs.pool import sample_examples
        from ecomfs.prepare.augment import map_fields, map_labels
        from ecomfs.task import load_task

        labels = o.parse_pairs(self.map_, "--map")
        fields = o.parse_pairs(self.borrow_field, "--borrow-field")
        path = self.borrow
        if path is None:
            if labels or fields:
                raise ConfigError("--map and --borrow-field need --borrow", hint="name the table")
            return None
        other = load_task(self.borrow_task or labelled.task)
        examples = read_examples(
            path, other, label_column=self.borrow_label_column, encoding=labelled.input_encoding
        )
        meanings = map_labels(labels, [e.label for e in examples], space, path.name)
        if len(examples) > self.borrow_limit:
            told = f"a sample of {self.borrow_limit} of {len(examples)} rows (--borrow-limit)"
            print(f"{path.name}: {told}")
            examples = sample_examples(examples, self.borrow_limit, labelled.seed)
        mapped = map_fields(card, other, fields)
        return Lent(examples, meanings, mapped, f"{other.name}:{path.name}")


__all__ = ["Borrowing", "Lent"]
