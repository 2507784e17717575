"""``ecomfs tasks``, ``new-task`` and ``lint-task``: list, draft and check tasks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecomfs.cli import options as o
from ecomfs.cli.json_result import set_result
from ecomfs.cli.terminal import say
from ecomfs.core.options import OPTIONS
from ecomfs.errors import ColumnError, ConfigError, EcomfsError, InputError, OutputError, TaskError

if TYPE_CHECKING:
    from ecomfs.prompt import PromptBuilder
    from ecomfs.task import LintFinding, TaskCard
    from ecomfs.types import Example, Language


MOST_FIELDS = 6
"""Most fields of a task shown in the list; ``ecomfs tasks NAME`` shows all."""


def tasks(name: Annotated[str | None, typer.Argument(help="explain this task")] = None) -> None:
    """List the tasks, or show the fields, labels and templates of one."""
    from rich.markup import escape

    from ecomfs.cli.present import Console, show_table
    from ecomfs.task import available_tasks, load_task

    if name is None:
        found, rows = [], []
        for each in available_tasks():
            card = load_task(each)
            labels = [label.name for label in card.labels if not label.optional]
            fields = [f.name for f in card.fields]
            more = f" and {len(fields) - MOST_FIELDS} more" if len(fields) > MOST_FIELDS else ""
            shown = "the pool's own" if card.label_space == "open" else ", ".join(labels)
            question = card.description.en
            rows.append((each, question, shown, ", ".join(fields[:MOST_FIELDS]) + more))
            found.append(
                {
                    "name": each,
                    "question": question,
                    "labels": labels,
                    "label_space": card.label_space,
                    "fields": fields,
                }
            )
        set_result({"tasks": found})
        show_table(("task", "question", "labels", "fields"), rows)
        return
    card = load_task(name)
    set_result({"task": card.model_dump(mode="json")})
    console = Console()
    about = escape(f"{card.description.en}\n{card.description.zh}")
    console.print(f"[bold]{card.name}[/]: {about}\n")
    show_table(
        ("field", "kind", "columns that mean it", "required"),
        (
            (f.name, f.kind, ", ".join((f.name, *f.aliases)), "yes" if f.required else "no")
            for f in card.fields
        ),
    )
    if card.labels:
        show_table(
            ("label", "words", "definition", "also spelt"),
            (
                (
                    label.name + (" (optional)" if label.optional else ""),
                    f"{label.words.en} / {label.words.zh}",
                    f"{label.definition.en}\n{label.definition.zh}",
                    ", ".join(label.aliases),
                )
                for label in card.labels
            ),
        )
    if card.label_space == "open":
        console.print("labels: the pool's own")
    console.print(
        f"templates: en.{card.templates.en}, zh.{card.templates.zh} · default k {card.default_k}"
    )


_CALLED = {"en": "English", "zh": "Chinese"}


def new_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the new task")],
    source: Annotated[Path, typer.Option("--from", help="table of labelled rows")],
    label_column: Annotated[str, typer.Option(help="column of --from that holds the label")],
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="column to classify by (repeatable) [all but id and label]"),
    ] = None,
    input_encoding: o.InputEncoding = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="prompt language: en, zh, or auto (that of each row) [that of the rows; auto if "
            "they have both]",
            autocompletion=lambda: list(OPTIONS["language"].choices),
        ),
    ] = None,
    label_separator: Annotated[
        str | None,
        typer.Option(
            help="separator of several labels in a cell, such as '|'; '': one label per row "
            "[asked if cells look like several labels]"
        ),
    ] = None,
    hierarchy: Annotated[
        str | None,
        typer.Option(
            help="separator of parent and child in a label, such as ' > '; '': no hierarchy "
            "[asked if labels look like a hierarchy]"
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--prompts", help="folder of tasks")] = Path("prompts"),
) -> None:
    """Write a draft of a task card to edit. Existing files are not overwritten."""
    from ecomfs.io import TableReader, write_text
    from ecomfs.task import available_tasks, column_labels, draft_task

    if language is not None:
        OPTIONS["language"].check(language, "--language")
    target = folder / name
    if target.exists() or name in available_tasks():
        where = target if target.exists() else f"task {name!r}"
        raise TaskError(f"{where} exists already", hint="choose another name, or edit that task")
    reader = TableReader(source, encoding=input_encoding)
    reader.require(label_column, *(column or ()))
    columns = column or [
        each for each in reader.header if each != label_column and each.casefold() != "id"
    ]
    if label_column in columns:
        raise ColumnError(
            f"column {label_column!r} is the label column", hint="leave it out of --column"
        )
    cells: list[str] = []
    texts: list[str] = []
    places: list[str] = []
    for row in reader.rows():
        if row.error:
            raise InputError(f"{source.name}, {row.error}")
        cells.append(row.cells[label_column])
        texts += [row.cells[each] for each in columns]
        places.append(f"{source.name}, line {row.line}")
    labels = [label or "" for label in column_labels(cells, places, label_column)]
    mark, tree = _declared(labels, label_separator, hierarchy, source.name)
    of_texts = language or _language(texts)
    draft = draft_task(
        name,
        columns,
        labels,
        label_column=label_column,
        language="en" if of_texts == "en" else "zh" if of_texts == "zh" else "auto",
        label_separator=mark,
        hierarchy=tree,
        where=source.name,
    )
    try:
        target.mkdir(parents=True)
        write_text(target / "task.yaml", draft.card, private=False)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror}") from error
    set_result(
        {
            "folder": target,
            "rows": len(labels),
            "labels": [*draft.labels],
            "language": of_texts,
            "label_separator": mark,
            "hierarchy": tree,
            "columns": columns,
            "aliases": {label: [*others] for label, others in draft.aliases.items()},
            "questions": draft.questions,
        }
    )
    say(f"{len(labels)} rows, {len(draft.labels)} labels, {len(columns)} columns: {target}")
    if mark:
        say(f"note: a row may have several labels, with {mark!r} between them in a cell")
    if tree:
        say(f"note: labels are parent{tree}child; rows are classified by parent, then by child")
    if language is None and of_texts != "auto":
        say(f"note: all rows are {_CALLED[of_texts]}: so is the card; --language auto has both")
    for label, others in draft.aliases.items():
        also = ", ".join(map(repr, others))
        say(
            f"note: {also} counts as the label {label!r} (aliases); give it an entry of its own "
            "if it is another label"
        )
    say(
        f"answer the {draft.questions} questions in {target / 'task.yaml'}, "
        f"then run: ecomfs lint-task {target}"
    )


def _declared(
    labels: Sequence[str], separator: str | None, hierarchy: str | None, where: str
) -> tuple[str | None, str | None]:
    """The separator of several labels, or of a hierarchy, for the card; asked if the labels look
    like it and no option is given."""
    from ecomfs.task import guess_hierarchy_separator, guess_label_separator

    if separator or hierarchy:
        return separator or None, hierarchy or None
    mark = guess_label_separator(labels) if separator is None else None
    tree = guess_hierarchy_separator(labels) if hierarchy is None and mark is None else None
    if mark is not None:
        example = next(label for label in labels if mark in label)
        if _yes(
            f"{where}: cells such as {example!r} look like several labels: may a row have several",
            f"--label-separator '{mark}' for several labels a row, or --label-separator '' for one",
        ):
            return mark, None
        return "", None
    if tree is not None:
        if _yes(
            f"{where}: labels such as {labels[0]!r} look like parent and child: is it a taxonomy",
            f"--hierarchy '{tree}' for a taxonomy, or --hierarchy '' for labels without parents",
        ):
            return None, tree
        return separator, None
    return separator, None


def _yes(question: str, flags: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{question}?", hint=flags)
    return typer.confirm(f"{question}?", default=True, err=True)


def _language(texts: Sequence[str]) -> str:
    """The language of all texts; ``auto`` if both languages occur, or none."""
    from ecomfs.io import detect_language

    found = {detect_language(text) for text in texts if any(c.isalpha() for c in text)}
    return next(iter(found)) if len(found) == 1 else "auto"


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
    """Check a card, its templates and its examples. Exit code 1 if there are errors."""
    from rich.text import Text

    from ecomfs.cli.present import plain, show_table

    findings = _lint(name, examples, label_column, input_encoding, engine, budget)
    set_result({"task": name, "findings": findings})
    if not findings:
        plain(f"{name}: no problems found")
        return
    levels = {"error": Text("error", "red"), "warning": Text("warning", "yellow")}
    show_table(
        ("", "where", "problem", "how to fix it"),
        ((levels[f.level], f.where, f.what, f.hint) for f in findings),
    )
    errors = sum(f.level == "error" for f in findings)
    plain(f"{errors} errors, {len(findings) - errors} warnings")
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
            if card.multi_label:
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
    """A prompt builder with the labels of a run; loading the template compiles and tests it."""
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
    """The prompt builder that asks about the first label, for tasks with several labels per row."""
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
    """Check that a prompt contains the row, the demonstration and all labels."""
    from ecomfs.task import LintFinding
    from ecomfs.types import Demonstration, Example

    # Answers that no template contains by chance.
    builder = replace(builder, answers=tuple(f"qa{i}aq" for i in range(len(builder.answers))))
    card, where = builder.card, builder.template.ref.name
    findings: list[LintFinding] = []
    builder.separator()
    if card.tabular:  # cells are rendered as words, so their text cannot be searched for
        return [
            LintFinding("warning", where, f"field {name!r} is not in the prompt")
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
                        f"field {spec.name!r} of {what} is not in the prompt",
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
    """An error if a prompt of typical examples does not fit; a warning for the longest ones."""
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
    """A function that counts tokens, and the number of tokens that fit."""
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
    """A high estimate of the number of tokens: one per non-ASCII character, one per three ASCII
    characters."""
    ascii_ = sum(char.isascii() for char in text)
    return len(text) - ascii_ + -(-ascii_ // 3)
