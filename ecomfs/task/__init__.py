"""Loads a task card by name or folder: fields, label space, instruction, template versions."""

from ecomfs.task.card import (
    NUMBERS,
    Bilingual,
    CardField,
    FieldSpec,
    LabelSpec,
    TaskCard,
    plain_key,
    readable,
)
from ecomfs.task.cells import (
    guess_hierarchy_separator,
    guess_label_separator,
    join_labels,
    raw_labels,
    read_labels,
    write_labels,
)
from ecomfs.task.draft import QUESTION, LintFinding, draft_task, lint_card
from ecomfs.task.fields import FieldMap, find_column, first_empty
from ecomfs.task.inputs import InputLabels, as_items, as_table, short_repr
from ecomfs.task.label_value import column_labels, label_number, label_order, label_text
from ecomfs.task.labels import HierarchySpace, Label, LabelSpace, MultiLabelSpace, label_space_of
from ecomfs.task.propose import (
    TaskProposal,
    filled_card,
    label_columns,
    only_texts,
    propose_tasks,
    text_columns,
)
from ecomfs.task.registry import (
    available_tasks,
    common_template,
    load_task,
    task_folder,
    template_source,
)
from ecomfs.types import is_missing

__all__ = [
    "NUMBERS",
    "QUESTION",
    "Bilingual",
    "CardField",
    "FieldMap",
    "FieldSpec",
    "HierarchySpace",
    "InputLabels",
    "Label",
    "LabelSpace",
    "LabelSpec",
    "LintFinding",
    "MultiLabelSpace",
    "TaskCard",
    "TaskProposal",
    "as_items",
    "as_table",
    "available_tasks",
    "column_labels",
    "common_template",
    "draft_task",
    "filled_card",
    "find_column",
    "first_empty",
    "guess_hierarchy_separator",
    "guess_label_separator",
    "is_missing",
    "join_labels",
    "label_columns",
    "label_number",
    "label_order",
    "label_space_of",
    "label_text",
    "lint_card",
    "load_task",
    "only_texts",
    "plain_key",
    "propose_tasks",
    "raw_labels",
    "read_labels",
    "readable",
    "short_repr",
    "task_folder",
    "template_source",
    "text_columns",
    "write_labels",
]
