"""A task name or folder to a task card: fields, label space, instruction, template versions."""

from ecomfs.core.json import is_missing
from ecomfs.task.card import Bilingual, LabelSpec, TaskCard, plain_key
from ecomfs.task.draft import draft_task
from ecomfs.task.field_spec import NUMBERS, FieldKind, FieldSpec, Words, readable
from ecomfs.task.fields import FieldMap, find_column, first_empty
from ecomfs.task.given import GivenLabels, as_items, as_table, is_scalar, shown
from ecomfs.task.label_value import column_labels, label_number, label_order, label_text
from ecomfs.task.labels import Label, LabelSpace
from ecomfs.task.lint import LintFinding, failed, lint_card
from ecomfs.task.registry import (
    available_tasks,
    common_template,
    load_task,
    task_folder,
    template_source,
)

__all__ = [
    "NUMBERS",
    "Bilingual",
    "FieldKind",
    "FieldMap",
    "FieldSpec",
    "GivenLabels",
    "Label",
    "LabelSpace",
    "LabelSpec",
    "LintFinding",
    "TaskCard",
    "Words",
    "as_items",
    "as_table",
    "available_tasks",
    "column_labels",
    "common_template",
    "draft_task",
    "failed",
    "find_column",
    "first_empty",
    "is_missing",
    "is_scalar",
    "label_number",
    "label_order",
    "label_text",
    "lint_card",
    "load_task",
    "plain_key",
    "readable",
    "shown",
    "task_folder",
    "template_source",
]
