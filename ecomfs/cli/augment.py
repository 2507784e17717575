"""``ecomfs prepare augment``: more examples of rare labels, each checked and marked synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from ecomfs.cli import groups as g
from ecomfs.cli import options as o
from ecomfs.cli import progress
from ecomfs.cli.borrowing import Borrowing
from ecomfs.cli.unfold import unfolded
from ecomfs.core.progress import LOADING
from ecomfs.errors import ConfigError

if TYPE_CHECKING:
    from ecomfs.prepare.augment import Augmented, RareLabel
    from ecomfs.task import LabelSpace, TaskCard
    from ecomfs.types import Example


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Who rewrites examples, and how."""

    PANEL: ClassVar[str] = "Rewrites"

    rewrite: Annotated[
        bool, typer.Option("--rewrite/--no-rewrite", help="let a model rewrite rare examples")
    ] = True
    writer: Annotated[
        str | None, typer.Option(help="engine that writes [the one that reads, --engine]")
    ] = None
    prompt: Annotated[
        Path | None, typer.Option(help="template that asks for a rewrite [the shipped one]")
    ] = None
    rewrite_field: Annotated[
        str | None, typer.Option(help="text field that is rewritten [the only one]")
    ] = None
    temperature: Annotated[float, typer.Option(help="of the rewrites, above 0")] = 0.8
    attempts: Annotated[int, typer.Option(help="rewrites of one example at most")] = 4
    generations: Annotated[int | None, typer.Option(help="rewrites in all at most")] = None
    max_tokens: Annotated[int, typer.Option(help="tokens of a rewrite at most")] = 256


@unfolded
def augment(
    reading: g.Reading,
    fitting: g.Fitting,
    borrowing: Borrowing,
    rewriting: Rewriting,
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
    confidence: Annotated[
        float, typer.Option(help="least probability of the label, as the classifier reads it")
    ] = 0.7,
    near: Annotated[
        float, typer.Option(help="shingle similarity from which texts are near copies, 0.5 to 1")
    ] = 0.7,
    report: Annotated[Path | None, typer.Option(help="write the report here (.json)")] = None,
    field: o.Fields = None,
    label_column: o.LabelColumn = None,
    input_encoding: o.InputEncoding = None,
    id_column: o.IdColumn = None,
    pool_name: o.PoolName = "default",
    seed: o.Seed = 0,
) -> None:
    """Add rewrites and borrowed examples to rare labels, each checked by the classifier.

    Rejected texts are written to OUT.rejected.csv with their reasons. Every new example is marked
    synthetic; --no-synthetic leaves them out again.
    """
    from ecomfs.cli.prepare import check_targets
    from ecomfs.cli.present_augment import finish, say_left_out, told
    from ecomfs.core import event_loop
    from ecomfs.engine.shared import shared_engine
    from ecomfs.io import is_stream
    from ecomfs.prepare.augment import (
        CandidateFilter,
        FilterPolicy,
        RewriteSettings,
        load_prompts,
        rewrite,
    )

    r = rewriting
    base = Path(source) if is_stream(output) else output
    rejected = base.with_name(f"{base.stem}.rejected.csv")
    inputs = [Path(source), *(path for path in (borrowing.borrow, r.prompt) if path)]
    check_targets(inputs, [output, rejected, report])
    policy = FilterPolicy(confidence=confidence, near=near)
    settings = RewriteSettings(r.temperature, seed, r.attempts, r.generations, r.max_tokens)
    labelled = g.Labelled(
        task=task,
        examples=[source],
        pool_name=pool_name,
        label_column=label_column,
        field=field,
        seed=seed,
        input_encoding=input_encoding,
    )
    card, pool = labelled.load(id_column=id_column)
    # Everything that can be wrong without a model is found before one is loaded.
    borrows = borrowing.borrow is not None
    plan = _plan(card, pool, target, share, label, borrows, r.rewrite, r.rewrite_field)
    prompts = load_prompts(r.prompt)
    say_left_out(labelled, card, id_column)
    lent = borrowing.load(card, plan.space, labelled)
    phases = progress.show(LOADING)
    clf = g.classifier(labelled, reading, fitting).fit(pool, progress=phases)
    phases.clear()
    checks = CandidateFilter(clf.pipeline_, plan.field, policy)
    results: list[Augmented] = []
    if lent is not None:
        results.append(lent.borrow(checks, plan.needs or None))
    needs = _still_missing(plan.needs, results)
    if r.rewrite and needs and not any(result.error for result in results):
        writer = clf.engine_ if r.writer is None else shared_engine(r.writer)
        anew = rewrite(checks, writer, needs, plan.field or "", settings, prompts, on_round=told)
        results.append(event_loop.run(anew))
    finish(clf.pipeline_, pool, results, plan.needs, output, rejected, report)


@dataclass(frozen=True, slots=True)
class _Plan:
    space: LabelSpace
    needs: list[RareLabel]
    field: str | None


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
    from ecomfs.prepare.augment import rare_labels, text_field
    from ecomfs.task import LabelSpace

    space = LabelSpace.resolve(card, (e.label for e in pool))
    if target is None and share is None:
        if not borrows:
            raise ConfigError("what is a rare label?", hint="give --target or --share")
        if only:
            raise ConfigError("--label without --target or --share", hint="say how many it needs")
        rewrites = False  # borrow whatever fits
    needs = (
        rare_labels(pool, space, target=target, share=share, only=only or ())
        if (target is not None or share is not None)
        else []
    )
    if not rewrites and not borrows:
        raise ConfigError("--no-rewrite without --borrow", hint="then there is nothing to do")
    texts = [spec.name for spec in card.fields if spec.kind == "text"]
    if rewrites or field is not None:
        return _Plan(space, needs, text_field(card, field))
    return _Plan(space, needs, texts[0] if len(texts) == len(card.fields) == 1 else None)


def _still_missing(needs: Sequence[RareLabel], results: Sequence[Augmented]) -> list[RareLabel]:
    from dataclasses import replace

    added = [e.label for result in results for e in result.kept]
    left = [replace(n, present=n.present + added.count(n.label)) for n in needs]
    return [need for need in left if need.missing > 0]
