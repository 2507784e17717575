"""The task: what is classified, into which labels, and in which words it is asked.

card.py      the task card (task.yaml): fields, labels, instruction, template versions
labels.py    the label space of one run: the card's labels in the pool's spelling
label_value.py  one rule for label values of every kind
given.py     rows and labels as callers hand them over
fields.py    which column of a table is which field of the card
rows.py      a row as text, for the retriever and the prompt
registry.py  finding cards and template files by task name
"""

from ecomfs.task.card import FieldSpec, LabelSpec, TaskCard
from ecomfs.task.fields import FieldMap, find_column, first_empty, is_missing
from ecomfs.task.given import GivenLabels, as_items, as_table, is_scalar
from ecomfs.task.label_value import column_labels, label_number, label_order, label_text
from ecomfs.task.labels import Label, LabelSpace
from ecomfs.task.registry import available_tasks, common_template, load_task, template_source
from ecomfs.task.rows import RowText

__all__ = [
    "FieldMap",
    "FieldSpec",
    "GivenLabels",
    "Label",
    "LabelSpace",
    "LabelSpec",
    "RowText",
    "TaskCard",
    "as_items",
    "as_table",
    "available_tasks",
    "column_labels",
    "common_template",
    "find_column",
    "first_empty",
    "is_missing",
    "is_scalar",
    "label_number",
    "label_order",
    "label_text",
    "load_task",
    "template_source",
]
