"""A task name or folder to a task card: fields, label space, instruction, template versions."""

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
    composite_separator,
    given_labels,
    one_cell,
    read_labels,
    tree_separator,
    write_labels,
)
from ecomfs.task.draft import QUESTION, LintFinding, draft_task, lint_card
from ecomfs.task.fields import FieldMap, find_column, first_empty
from ecomfs.task.given import GivenLabels, as_items, as_table, short_repr
from ecomfs.task.label_value import column_labels, label_number, label_order, label_text
from ecomfs.task.labels import CellSpace, Label, LabelSpace, LeafSpace, space_of
from ecomfs.task.propose import (
    TaskProposal,
    answered_card,
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
    "CellSpace",
    "FieldMap",
    "FieldSpec",
    "GivenLabels",
    "Label",
    "LabelSpace",
    "LabelSpec",
    "LeafSpace",
    "LintFinding",
    "TaskCard",
    "TaskProposal",
    "answered_card",
    "as_items",
    "as_table",
    "available_tasks",
    "column_labels",
    "common_template",
    "composite_separator",
    "draft_task",
    "find_column",
    "first_empty",
    "given_labels",
    "is_missing",
    "label_columns",
    "label_number",
    "label_order",
    "label_text",
    "lint_card",
    "load_task",
    "one_cell",
    "only_texts",
    "plain_key",
    "propose_tasks",
    "read_labels",
    "readable",
    "short_repr",
    "space_of",
    "task_folder",
    "template_source",
    "text_columns",
    "tree_separator",
    "write_labels",
]
