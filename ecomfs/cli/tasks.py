"""``ecomfs tasks``: list the tasks, or explain one."""

from __future__ import annotations

from typing import Annotated

import typer

from ecomfs.cli.json_result import set_result

MOST_FIELDS = 6
"""Fields of a task that the list names; the task's own page has them all."""


def tasks(
    name: Annotated[str | None, typer.Argument(help="explain this task")] = None,
) -> None:
    """List the tasks, or explain one: its fields, labels and templates."""
    from rich.table import Table

    from ecomfs.cli.console import Console
    from ecomfs.task import available_tasks, load_task

    console = Console()
    if name is None:
        set_result(
            {
                "tasks": [
                    {
                        "name": each,
                        "question": card.description.en,
                        "labels": [s.name for s in card.labels if not s.optional],
                        "label_space": card.label_space,
                        "fields": [f.name for f in card.fields],
                    }
                    for each in available_tasks()
                    for card in [load_task(each)]
                ]
            }
        )
        table = Table("task", "question", "labels", "fields")
        for each in available_tasks():
            card = load_task(each)
            labels = ", ".join(label.name for label in card.labels if not label.optional)
            fields = [f.name for f in card.fields]
            more = f" and {len(fields) - MOST_FIELDS} more" if len(fields) > MOST_FIELDS else ""
            table.add_row(
                each,
                card.description.en,
                "the pool's own" if card.label_space == "open" else labels,
                ", ".join(fields[:MOST_FIELDS]) + more,
            )
        console.print(table)
        return
    card = load_task(name)
    set_result({"task": card.model_dump(mode="json")})
    console.print(f"[bold]{card.name}[/]: {card.description.en}\n{card.description.zh}\n")
    fields_table = Table("field", "kind", "columns that mean it", "required")
    for spec in card.fields:
        names = ", ".join((spec.name, *spec.aliases))
        fields_table.add_row(spec.name, spec.kind, names, "yes" if spec.required else "no")
    console.print(fields_table)
    if card.labels:
        labels_table = Table("label", "words", "definition", "also spelt")
        for label in card.labels:
            labels_table.add_row(
                label.name + (" (optional)" if label.optional else ""),
                f"{label.words.en} / {label.words.zh}",
                f"{label.definition.en}\n{label.definition.zh}",
                ", ".join(label.aliases),
            )
        console.print(labels_table)
    if card.label_space == "open":
        console.print("labels: the pool's own")
    console.print(
        f"templates: en.{card.templates.en}, zh.{card.templates.zh} · default k {card.default_k}"
    )
