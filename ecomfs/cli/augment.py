"""``ecomfs prepare augment``: more examples of rare labels, each checked and marked synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecomfs.cli import groups as g
from ecomfs.cli import options as o
from ecomfs.cli.unfold import unfolded
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.augment import Augmented, Candidate, Judge, Need
    from ecomfs.pipeline import Pipeline
    from ecomfs.task import LabelSpace, TaskCard
    from ecomfs.types import Example


@unfolded
def augment(
    reading: g.Reading,
    fitting: g.Fitting,
    source: Annotated[str, typer.Argument(metavar="POOL", help="labelled table, or a pool (.db)")],
    task: o.Task,
    output: Annotated[Path, typer.Option("--output", "-o", help="table with the new examples too")],
    target: Annotated[int | None, typer.Option(help="examples each label should have")] = None,
    share: Annotated[
        float | None, typer.Option(help="or: as a share of the pool's size, such as 0.1")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="only this label (repeatable)")
    ] = None,
    borrow: Annotated[
        Path | None, typer.Option(help="labelled table of a related task or the other language")
    ] = None,
    borrow_task: Annotated[
        str | None, typer.Option(help="task of that table [the same as --task]")
    ] = None,
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="label there=label here (repeatable)")
    ] = None,
    borrow_field: Annotated[
        list[str] | None, typer.Option(help="field here=field there (repeatable)")
    ] = None,
    borrow_label_column: Annotated[str | None, typer.Option(help="its label column")] = None,
    borrow_limit: Annotated[
        int, typer.Option(min=1, help="of a longer table, a seeded sample of so many rows")
    ] = 200,
    rewrite: Annotated[
        bool, typer.Option("--rewrite/--no-rewrite", help="let a model rewrite rare examples")
    ] = True,
    writer: Annotated[
        str | None, typer.Option(help="engine that writes [the one that reads, --engine]")
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="template that asks for a rewrite [the shipped one]")
    ] = None,
    rewrite_field: Annotated[
        str | None, typer.Option(help="text field that is rewritten [the only one]")
    ] = None,
    temperature: Annotated[float, typer.Option(help="of the rewrites, above 0")] = 0.8,
    attempts: Annotated[int, typer.Option(help="rewrites of one example at most")] = 4,
    generations: Annotated[int | None, typer.Option(help="rewrites in all at most")] = None,
    max_tokens: Annotated[int, typer.Option(help="tokens of a rewrite at most")] = 256,
    confidence: Annotated[
        float, typer.Option(help="least probability of the label, as the classifier reads it")
    ] = 0.7,
    near: Annotated[
        float, typer.Option(help="shingle similarity from which texts are near copies, 0.5 to 1")
    ] = 0.7,
    report: Annotated[Path | None, typer.Option(help="write the report here (.json)")] = None,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    id_column: o.IdColumn = None,
    pool_name: o.PoolName = "default",
    seed: o.Seed = 0,
) -> None:
    """Add rewrites and borrowed examples to rare labels, each checked by the classifier.

    Rejected texts are written to OUT.rejected.csv with their reasons. Every new example is marked
    synthetic; --no-synthetic leaves them out again.
    """
    from ecomfs import aio
    from ecomfs.augment import Judge, Policy, RewriteSettings, load_prompts
    from ecomfs.augment import rewrite as write_anew
    from ecomfs.cli.prepare import check_targets, write_json

    rejected = output.with_name(f"{output.stem}.rejected.csv")
    inputs = [Path(source), *(path for path in (borrow, prompt) if path)]
    check_targets(inputs, [output, rejected, report])
    policy = Policy(confidence=confidence, near=near)
    settings = RewriteSettings(temperature, seed, attempts, generations, max_tokens)
    labelled = g.Labelled(
        task=task, examples=source, pool_name=pool_name, label_column=label_column, field=field,
        seed=seed,
    )  # fmt: skip
    card, pool = labelled.load(id_column=id_column)
    # Everything that can be wrong without a model is found before one is loaded.
    plan = _plan(card, pool, target, share, label, borrow is not None, rewrite, rewrite_field)
    prompts = load_prompts(prompt)
    _say_left_out(source, card, id_column, label_column, labelled.fields)
    lent = _lent(
        card, plan.space, borrow, borrow_task or task, borrow_label_column,
        o.parse_pairs(map_, "--map"), o.parse_pairs(borrow_field, "--borrow-field"),
        borrow_limit, seed,
    )  # fmt: skip
    clf = g.classifier(labelled, reading, fitting).fit(pool)
    judge = Judge(clf.pipeline_, plan.field, policy)
    results: list[Augmented] = []
    if lent is not None:
        results.append(lent.borrow(judge, plan.needs or None))
    needs = _still_missing(plan.needs, results)
    if rewrite and needs and not any(result.error for result in results):
        results.append(
            aio.run(
                write_anew(
                    judge, _writer(writer, clf), needs, plan.field or "", settings, prompts,
                    on_round=_told,
                )
            )
        )  # fmt: skip
    _finish(clf.pipeline_, pool, results, plan.needs, output, rejected, report, write_json)


@dataclass(frozen=True, slots=True)
class _Plan:
    space: LabelSpace
    needs: list[Need]
    field: str | None


@dataclass(frozen=True, slots=True)
class _Lent:
    examples: list[Example]
    labels: dict[str, str]
    fields: dict[str, str]
    origin: str

    def borrow(self, judge: Judge, needs: list[Need] | None) -> Augmented:
        from ecomfs import aio
        from ecomfs.augment import borrow

        return aio.run(borrow(judge, self.examples, self.labels, self.fields, self.origin, needs))


def _plan(
    card: TaskCard,
    pool: Sequence[Example],
    target: int | None,
    share: float | None,
    only: list[str] | None,
    borrows: bool,
    rewrites: bool,
    field: str | None,
) -> _Plan:
    from ecomfs.augment import rare_labels, text_field
    from ecomfs.task import LabelSpace

    space = LabelSpace.resolve(card, (e.label for e in pool))
    if target is None and share is None:
        if not borrows:
            raise ConfigError("what is a rare label?", hint="give --target or --share")
        if only:
            raise ConfigError("--label without --target or --share", hint="say how many it needs")
        rewrites = False  # borrow whatever fits
    needs = rare_labels(pool, space, target=target, share=share, only=only or ()) if (
        target is not None or share is not None
    ) else []  # fmt: skip
    if not rewrites and not borrows:
        raise ConfigError("--no-rewrite without --borrow", hint="then there is nothing to do")
    texts = [spec.name for spec in card.fields if spec.kind == "text"]
    if rewrites or field is not None:
        return _Plan(space, needs, text_field(card, field))
    return _Plan(space, needs, texts[0] if len(texts) == len(card.fields) == 1 else None)


def _lent(
    card: TaskCard,
    space: LabelSpace,
    path: Path | None,
    task: str,
    label_column: str | None,
    labels: dict[str, str],
    fields: dict[str, str],
    limit: int,
    seed: int,
) -> _Lent | None:
    from ecomfs.augment import map_fields, map_labels
    from ecomfs.batch import read_examples
    from ecomfs.pool.sample import sample_examples
    from ecomfs.task import load_task

    if path is None:
        if labels or fields:
            raise ConfigError("--map and --borrow-field need --borrow", hint="name the table")
        return None
    other = load_task(task)
    examples = read_examples(path, other, label_column=label_column)
    meanings = map_labels(labels, [e.label for e in examples], space, path.name)
    if len(examples) > limit:
        print(f"{path.name}: a sample of {limit} of {len(examples)} rows (--borrow-limit)")
        examples = sample_examples(examples, limit, seed)
    mapped = map_fields(card, other, fields)
    return _Lent(examples, meanings, mapped, f"{other.name}:{path.name}")


def _say_left_out(
    source: str,
    card: TaskCard,
    id_column: str | None,
    label_column: str | None,
    fields: dict[str, str],
) -> None:
    """Columns that are none of the task's are not in the result: not silently."""
    from ecomfs.table import TableReader
    from ecomfs.task import FieldMap, find_column

    if g.is_pool(source):
        return
    header = TableReader(source).header
    used = {*FieldMap.resolve(card, header, fields).columns.values(), id_column}
    used.add(find_column(header, label_column, card.label_column, source, "--label-column "))
    known = {"id", "synthetic", "source_id", "method"}
    left = [name for name in header if name not in used and name.casefold() not in known]
    if left:
        print(f"note: columns that are none of the task's are left out: {', '.join(left)}")


def _writer(spec: str | None, clf: Any) -> Any:
    from ecomfs.engine.shared import shared_engine

    return clf.engine_ if spec is None else shared_engine(spec)


def _still_missing(needs: Sequence[Need], results: Sequence[Augmented]) -> list[Need]:
    from dataclasses import replace

    added = [e.label for result in results for e in result.kept]
    left = [replace(n, present=n.present + added.count(n.label)) for n in needs]
    return [need for need in left if need.missing > 0]


def _told(found: Sequence[Candidate]) -> None:
    from rich.console import Console

    kept = sum(not c.reason for c in found)
    Console(stderr=True).print(f"{len(found)} written, {kept} kept", highlight=False)


def _finish(
    pipeline: Pipeline,
    pool: Sequence[Example],
    results: Sequence[Augmented],
    needs: Sequence[Need],
    output: Path,
    rejected: Path,
    report: Path | None,
    write_json: Any,
) -> None:
    """Write what was found, even when the engine was lost on the way; then say so."""
    from ecomfs.augment import Augmented
    from ecomfs.batch.imports import write_examples

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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ecomfs.augment.result import REASONS

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
    from ecomfs.table import AtomicWriter, added_columns

    names = ["id", "source_id", "method", "label", "reason", "detail", "read_as", "confidence"]
    shown = added_columns(names, fields)
    with AtomicWriter(path, [*names[:4], *shown, *names[4:]]) as out:
        for c in rejected:
            e = c.example
            confidence = "" if c.confidence is None else f"{c.confidence:.4f}"
            cells = [str(e.fields.get(name, "")) for name in fields]
            head = [e.id, e.source_id, e.method, e.label]
            out.write([[*head, *cells, c.reason, c.detail, c.read_as, confidence]])
