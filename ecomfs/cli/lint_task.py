"""``ecomfs lint-task``: check a task card, its templates and examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.errors import EcomfsError, TaskError

if TYPE_CHECKING:
    from ecomfs.prompt import PromptBuilder
    from ecomfs.task import LintFinding, TaskCard
    from ecomfs.types import Example, Language

_LANGUAGES: tuple[Language, ...] = ("en", "zh")


def lint_task(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_FOLDER", help="the task")],
    examples: Annotated[
        list[Path] | None,
        typer.Option("--examples", "-e", help="check these examples against the card too"),
    ] = None,
    label_column: o.LabelColumn = None,
    input_encoding: o.InputEncoding = None,
    budget: Annotated[
        int, typer.Option(hidden=True, help="most tokens per prompt, without --engine")
    ] = 2048,
    engine: Annotated[
        str | None, typer.Option(help="count tokens as this model does, within its context")
    ] = None,
) -> None:
    """Check a card, its templates and its examples; exit code 1 where there are errors."""
    from rich.markup import escape
    from rich.table import Table

    from ecomfs.cli.console import Console

    findings = _lint(name, examples, label_column, input_encoding, engine, budget)
    console = Console()
    set_result({"task": name, "findings": findings})
    if not findings:
        console.print(f"{name}: nothing wrong", highlight=False, markup=False)
        return
    table = Table("", "where", "what", "how to fix it")
    for f in findings:
        colour = "red" if f.level == "error" else "yellow"
        cells = (escape(text) for text in (f.where, f.what, f.hint))
        table.add_row(f"[{colour}]{f.level}[/]", *cells)
    console.print(table)
    errors = sum(f.level == "error" for f in findings)
    console.print(f"{errors} errors, {len(findings) - errors} warnings", highlight=False)
    if errors:
        raise typer.Exit(1)


def _lint(
    name: str,
    examples: list[Path] | None,
    label_column: str | None,
    encoding: str | None,
    engine: str | None,
    budget: int,
) -> list[LintFinding]:
    from ecomfs.batch import read_several
    from ecomfs.task import LintFinding, available_tasks, lint_card, load_task

    if os.sep not in name and name not in available_tasks() and Path(name).is_dir():
        name = str(Path(name).resolve())
    if os.sep in name and not (Path(name) / "task.yaml").is_file():
        load_task(name)  # raises: there is nothing to check
    try:
        card = load_task(name)
    except TaskError as error:
        if os.sep not in name and name not in available_tasks():
            raise
        return [LintFinding("error", "task.yaml", error.message, error.hint)]
    findings = lint_card(card)
    pool: list[Example] = []
    if examples:
        try:
            pool = read_several(examples, card, label_column=label_column, encoding=encoding)
        except EcomfsError as error:
            findings.append(LintFinding("error", "examples", error.message, error.hint))
    count, limit = _counter(engine, budget)
    for language in _LANGUAGES:
        used = card.language in ("auto", language)
        try:
            if card.several_labels:
                # The common template asks about each label; see ecomfs.estimators.multilabel.
                if pool and used:
                    asking = _asking(card, language, pool)
                    findings += _fits(asking, pool, count, limit)
                continue
            builder = _builder(card, name, language, pool)
            findings += _shows_everything(builder)
            if pool and used:
                findings += _fits(builder, pool, count, limit)
        except EcomfsError as error:
            where = f"{language}.{card.templates.get(language)}.jinja"
            findings.append(
                LintFinding("error" if used else "warning", where, error.message, error.hint)
            )
    return findings


def _builder(
    card: TaskCard, task: str, language: Language, pool: Sequence[Example]
) -> PromptBuilder:
    """The template over the labels it will meet; loading it compiles it and tries it."""
    from ecomfs.features import RowText
    from ecomfs.pipeline import load_template
    from ecomfs.prompt import PromptBuilder
    from ecomfs.task import Label, LabelSpace

    template = load_template(card, None, language, task)
    if pool:
        space = LabelSpace.resolve(card, [e.label for e in pool])
    elif len(card.labels) > 1:
        space = LabelSpace([Label(spec.name, spec) for spec in card.labels])
    else:
        space = LabelSpace([Label("a"), Label("b")])
    rows = RowText(card).fit([e.fields for e in pool], [e.label for e in pool])
    answers = tuple(label.word(language) for label in space.labels)
    return PromptBuilder(card, space, template, language, answers, rows)


def _asking(card: TaskCard, language: Language, pool: Sequence[Example]) -> PromptBuilder:
    """The prompt that asks about the first label of a row that may have several."""
    from ecomfs.estimators.multilabel.prompts import label_prompts
    from ecomfs.features import RowText
    from ecomfs.readout import words
    from ecomfs.task import LabelSpace

    own = {e.id: card.labels_of(e.label, f"example {e.id!r}") for e in pool}
    space = LabelSpace.resolve(card, [label for labels in own.values() for label in labels])
    sets = {
        id_: frozenset(space.require(label, f"example {id_!r}") for label in labels)
        for id_, labels in own.items()
    }
    rows = RowText(card).fit([e.fields for e in pool], [e.label for e in pool])
    return label_prompts(card, space, words(space, language).answers, sets, language, rows)[0]


def _shows_everything(builder: PromptBuilder) -> list[LintFinding]:
    """With a row, a demonstration and all labels in it: is each of them in the prompt?"""
    from ecomfs.task import LintFinding
    from ecomfs.types import Demonstration, Example

    # Answers no template can hold by itself.
    builder = replace(builder, answers=tuple(f"qa{i}aq" for i in range(len(builder.answers))))
    card, where = builder.card, builder.template.ref.name
    findings: list[LintFinding] = []
    builder.separator()
    if card.tabular:  # cells are put into words there: no text to look for
        return [
            LintFinding("warning", where, f"field {name!r} does not stand in the prompt")
            for name in builder.hidden_fields()
        ]
    row = {spec.name: f"qz{i}qz" for i, spec in enumerate(card.fields)}
    other = {spec.name: f"zq{i}zq" for i, spec in enumerate(card.fields)}
    label = builder.space.names[0]
    shown = Demonstration(Example("lint", other, label), "")
    bare = builder.build(row, []).text
    full = builder.build(row, [shown]).text
    for spec in card.fields:
        for values, text, what in ((row, bare, "the row"), (other, full, "a demonstration")):
            if values[spec.name] not in text:
                findings.append(
                    LintFinding(
                        "error" if spec.required else "warning",
                        where,
                        f"field {spec.name!r} of {what} does not stand in the prompt",
                        "print row.… and demonstration.row.…, or text",
                    )
                )
    answer = builder.answers[0]
    if full.count(answer) <= bare.count(answer):
        findings.append(
            LintFinding(
                "error", where, "a demonstration shows no answer", "print demonstration.answer"
            )
        )
    if card.instruction.get(builder.language).strip() not in bare:
        findings.append(LintFinding("warning", where, "the instruction is not in the prompt"))
    return findings


def _fits(
    builder: PromptBuilder, pool: Sequence[Example], count: Callable[[str], int], limit: int
) -> list[LintFinding]:
    """A prompt of typical examples must fit; of the longest ones, a warning says what is lost."""
    from ecomfs.task import LintFinding
    from ecomfs.types import Demonstration

    sized = sorted(pool, key=lambda e: (len(builder.build(e.fields, []).text), e.id))
    k = min(builder.card.default_k, len(pool))
    middle, longest = sized[len(sized) // 2], sized[-1]
    where = f"examples, {builder.language}"

    def tokens(row: Example, demonstrations: Sequence[Example]) -> int:
        shown = [Demonstration(e, "") for e in demonstrations]
        return count(builder.build(row.fields, shown).text)

    alone = tokens(longest, [])
    typical = tokens(middle, [middle] * k)
    most = tokens(longest, sized[-k:] if k else [])
    if alone > limit:
        what = f"example {longest.id!r} alone makes a prompt of {alone} tokens, {limit} fit"
        return [LintFinding("error", where, what, "shorten it, or the definitions")]
    if typical > limit:
        what = f"{k} examples of middle length make a prompt of {typical} tokens, {limit} fit"
        return [LintFinding("error", where, what, "lower default_k, or shorten the examples")]
    if most > limit:
        what = f"the {k} longest examples make a prompt of {most} tokens, {limit} fit"
        return [LintFinding("warning", where, what, "some would be left out of the prompt")]
    return []


def _counter(engine: str | None, budget: int) -> tuple[Callable[[str], int], int]:
    """How tokens are counted, and how many fit."""
    if engine is None:
        return _approximate, budget
    from ecomfs.engine.shared import shared_engine
    from ecomfs.pipeline import ANSWER_TOKENS

    opened = shared_engine(engine)
    limit = opened.capabilities.context_tokens - ANSWER_TOKENS
    tokenizer = opened.tokenizer
    if tokenizer is None:
        return _approximate, limit
    return (lambda text: len(tokenizer.encode(text, bos=True))), limit


def _approximate(text: str) -> int:
    """Tokens by characters, on the high side: one for each that is not ASCII, one for three that
    are."""
    ascii_ = sum(char.isascii() for char in text)
    return len(text) - ascii_ + -(-ascii_ // 3)
