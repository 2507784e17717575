"""``ecomfs prepare augment``: more examples of rare labels, checked and marked synthetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

import typer

from ecomfs.cli import options as o
from ecomfs.cli.classifier import RequiredExamples, classifier, is_pool, one_label_only, parse_pairs
from ecomfs.cli.json_result import set_result
from ecomfs.cli.prepare import JsonReport, check_targets, derived_path, write_json
from ecomfs.cli.terminal import say, show_phases
from ecomfs.core.options import DEFAULTS
from ecomfs.core.progress import LOADING
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.pipeline import Pipeline
    from ecomfs.prepare.augment import Augmented, Candidate, CandidateFilter, RareLabel
    from ecomfs.task import LabelSpace, TaskCard
    from ecomfs.types import Example

    Borrow: TypeAlias = Callable[[CandidateFilter, list[RareLabel] | None], Augmented]


@dataclass(frozen=True, slots=True)
class RewriteOptions:
    """Options of rewriting."""

    PANEL: ClassVar[str] = "Rewrites"

    rewrite: Annotated[
        bool, typer.Option("--rewrite/--no-rewrite", help="let a model rewrite rare examples")
    ] = True
    writer: Annotated[
        str | None, typer.Option(hidden=True, help="engine that writes [--engine]")
    ] = None
    prompt: Annotated[
        Path | None,
        typer.Option(hidden=True, help="template that asks for a rewrite [the shipped one]"),
    ] = None
    rewrite_field: Annotated[
        str | None, typer.Option(hidden=True, help="text field that is rewritten [the only one]")
    ] = None
    temperature: Annotated[
        float, typer.Option(hidden=True, help="sampling temperature of the rewrites, above 0")
    ] = 0.8
    attempts: Annotated[int, typer.Option(hidden=True, help="most rewrites of one example")] = 4
    generations: Annotated[int | None, typer.Option(hidden=True, help="most rewrites in total")] = (
        None
    )
    max_tokens: Annotated[int, typer.Option(hidden=True, help="most tokens per rewrite")] = 256


@dataclass(frozen=True, slots=True)
class BorrowOptions:
    """Options of borrowing: the table, and how its labels and fields are mapped."""

    PANEL: ClassVar[str] = "Borrowed examples"

    borrow: Annotated[
        Path | None, typer.Option(help="labelled table of a related task or the other language")
    ] = None
    borrow_task: Annotated[
        str | None, typer.Option(hidden=True, help="task of that table [the same as --task]")
    ] = None
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="BORROWED_LABEL=LABEL_OF_THIS_TASK (repeatable)"),
    ] = None
    borrow_field: Annotated[
        list[str] | None,
        typer.Option(hidden=True, help="FIELD_OF_THIS_TASK=BORROWED_FIELD (repeatable)"),
    ] = None
    borrow_label_column: Annotated[
        str | None, typer.Option(hidden=True, help="label column of the borrowed table")
    ] = None
    borrow_limit: Annotated[
        int,
        typer.Option(min=1, hidden=True, help="borrow from a seeded sample of this many rows"),
    ] = 200

    def load(self, card: TaskCard, space: LabelSpace, labelled: RequiredExamples) -> Borrow | None:
        """A function that borrows the examples of the table, after a check of its labels and
        fields; ``None`` without ``--borrow``.

        Args:
            space: labels of the pool that gets the examples.
            labelled: options of the pool; they give the task (unless ``borrow_task`` is set), the
                encoding and the seed.
        """
        from ecomfs.batch import read_examples
        from ecomfs.core import event_loop
        from ecomfs.pool import sample_examples
        from ecomfs.prepare.augment import borrow, map_fields, map_labels
        from ecomfs.task import load_task

        labels = parse_pairs(self.map_, "--map")
        fields = parse_pairs(self.borrow_field, "--borrow-field")
        path = self.borrow
        if path is None:
            if labels or fields:
                raise ConfigError(
                    "--map and --borrow-field need --borrow", hint="name the table with --borrow"
                )
            return None
        other = load_task(self.borrow_task or labelled.task)
        examples = read_examples(
            path, other, label_column=self.borrow_label_column, encoding=labelled.input_encoding
        )
        meanings = map_labels(labels, [e.label for e in examples], space, path.name)
        if len(examples) > self.borrow_limit:
            part = f"a sample of {self.borrow_limit} of {len(examples)} rows (--borrow-limit)"
            say(f"{path.name}: {part}")
            examples = sample_examples(examples, self.borrow_limit, labelled.seed)
        mapped = map_fields(card, other, fields)
        origin = f"{other.name}:{path.name}"  # stored in every borrowed example
        return lambda checks, needs: event_loop.run(
            borrow(checks, examples, meanings, mapped, origin, needs)
        )


@o.flatten_options
def augment(
    settings: o.Fitting,
    borrowing: BorrowOptions,
    rewriting: RewriteOptions,
    source: Annotated[str, typer.Argument(metavar="POOL", help="labelled table, or a pool (.db)")],
    task: o.Task,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="table to write: all examples and the new ones")
    ],
    target: Annotated[int | None, typer.Option(help="examples each label should have")] = None,
    share: Annotated[
        float | None, typer.Option(help="or: as a share of the pool's size, such as 0.1")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="only this label (repeatable)")
    ] = None,
    confidence: Annotated[
        float,
        typer.Option(
            hidden=True, help="least probability of the label, as predicted by the classifier"
        ),
    ] = 0.7,
    near: Annotated[
        float,
        typer.Option(hidden=True, help="least shingle similarity of near copies, 0.5 to 1"),
    ] = 0.7,
    report: JsonReport = None,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    input_encoding: o.InputEncoding = None,
    id_column: o.IdColumn = None,
    pool_name: o.PoolName = o.POOL_NAME,
    seed: o.Seed = DEFAULTS["seed"],
) -> None:
    """Add rewritten and borrowed examples to rare labels; the classifier checks each of them.

    Rejected texts are written to OUT.rejected.csv with the reason. New examples are marked
    synthetic; --no-synthetic leaves them out.
    """
    from ecomfs.core import event_loop
    from ecomfs.engine.shared import shared_engine
    from ecomfs.io import check_output, is_stream
    from ecomfs.prepare.augment import (
        CandidateFilter,
        FilterPolicy,
        RewriteSettings,
        load_prompts,
        rewrite,
    )

    check_output(output)
    r = rewriting
    rejected = derived_path(Path(source) if is_stream(output) else output, "rejected")
    inputs = [Path(source), *(path for path in (borrowing.borrow, r.prompt) if path)]
    check_targets(inputs, [output, rejected, report])
    policy = FilterPolicy(confidence=confidence, near=near)
    how = RewriteSettings(r.temperature, seed, r.attempts, r.generations, r.max_tokens)
    labelled = RequiredExamples(
        task=task,
        examples=[source],
        pool_name=pool_name,
        label_column=label_column,
        field=field,
        seed=seed,
        input_encoding=input_encoding,
    )
    card, pool = labelled.load(id_column=id_column)
    one_label_only(card)
    # Errors that need no model are found before it is loaded.
    borrows = borrowing.borrow is not None
    space, needs, text = _plan(
        card, pool, target, share, label, borrows, r.rewrite, r.rewrite_field
    )
    prompts = load_prompts(r.prompt)
    print_left_out(labelled, card, id_column)
    borrow = borrowing.load(card, space, labelled)
    phases = show_phases(LOADING)
    clf = classifier(labelled, settings).fit(pool, progress=phases)
    phases.clear()
    checks = CandidateFilter(clf.pipeline_, text, policy)
    results: list[Augmented] = []
    if borrow is not None:
        results.append(borrow(checks, needs or None))
    missing = _still_missing(needs, results)
    if r.rewrite and missing and not any(result.error for result in results):
        writer = clf.engine_ if r.writer is None else shared_engine(r.writer)
        job = rewrite(checks, writer, missing, text or "", how, prompts, on_round=print_round)
        results.append(event_loop.run(job))
    finish(clf.pipeline_, pool, results, needs, output, rejected, report)


def _plan(
    card: TaskCard,
    pool: Sequence[Example],
    target: int | None,
    share: float | None,
    only: list[str] | None,
    borrows: bool,
    rewrites: bool,
    field: str | None,
) -> tuple[LabelSpace, list[RareLabel], str | None]:
    """The labels of the pool, those that need examples, and the field that is rewritten."""
    from ecomfs.prepare.augment import rare_labels, text_field
    from ecomfs.task import LabelSpace

    space = LabelSpace.resolve(card, (e.label for e in pool))
    if target is None and share is None:
        if not borrows:
            raise ConfigError("--target and --share are missing", hint="give one of them")
        if only:
            raise ConfigError("--label without --target or --share", hint="give one of them")
        rewrites = False  # no rare labels: borrow every example that passes
        needs = []
    else:
        needs = rare_labels(pool, space, target=target, share=share, only=only or ())
    if not rewrites and not borrows:
        raise ConfigError(
            "--no-rewrite without --borrow",
            hint="leave out --no-rewrite, or name a table to borrow from",
        )
    texts = [spec.name for spec in card.fields if spec.kind == "text"]
    if rewrites or field is not None:
        return space, needs, text_field(card, field)
    return space, needs, texts[0] if len(texts) == len(card.fields) == 1 else None


def _still_missing(needs: Sequence[RareLabel], results: Sequence[Augmented]) -> list[RareLabel]:
    added = [e.label for result in results for e in result.kept]
    left = [replace(n, present=n.present + added.count(n.label)) for n in needs]
    return [need for need in left if need.missing > 0]


def print_left_out(labelled: RequiredExamples, card: TaskCard, id_column: str | None) -> None:
    """Print the columns that the result lacks because the task has no such field."""
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
        say(f"note: columns that are not fields of the task are left out: {', '.join(left)}")


def print_round(found: Sequence[Candidate]) -> None:
    """Print one round of rewrites."""
    from ecomfs.cli.present import note

    note(f"{len(found)} written, {sum(not c.reason for c in found)} kept")


def finish(
    pipeline: Pipeline,
    pool: Sequence[Example],
    results: Sequence[Augmented],
    needs: Sequence[RareLabel],
    output: Path,
    rejected: Path,
    report: Path | None,
) -> None:
    """Write the results, even if the engine failed during the run; then raise its error."""
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
    set_result(lambda: {"output": output, "rejected": rejected, "report": whole.to_dict()})
    _print_result(whole)
    say(f"wrote {output} and {rejected}")
    if error is not None:
        raise error


def _print_result(result: Augmented) -> None:
    from ecomfs.cli.present import plain, show_table
    from ecomfs.prepare.augment import REASONS

    plain(f"{len(result.candidates)} candidates, {len(result.kept)} kept")
    why = {str(reason): text for reason, text in REASONS.items()}
    if rows := [(why[reason], str(count)) for reason, count in result.counts().items() if count]:
        show_table(("rejected because", "candidates"), rows)
    for name, counts in result.to_dict()["labels"].items():
        shown = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in counts.items())
        plain(f"{name}: {shown}")


def _write_rejected(path: Path, rejected: Sequence[Candidate], fields: Sequence[str]) -> None:
    from ecomfs.io import AtomicWriter, added_columns

    names = ["id", "source_id", "method", "label", "reason", "detail", "read_as", "confidence"]
    added = added_columns(names, fields)
    with AtomicWriter(path, [*names[:4], *added, *names[4:]], marked=names) as out:
        for c in rejected:
            e = c.example
            confidence = "" if c.confidence is None else f"{c.confidence:.4f}"
            cells = [str(e.fields.get(name, "")) for name in fields]
            head = [e.id, e.source_id, e.method, e.label]
            out.write([[*head, *cells, c.reason, c.detail, c.read_as, confidence]])
