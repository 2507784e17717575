"""A table to the same table with predictions: planned, journalled, resumable."""

from ecomfs.batch.answerer import Answerer
from ecomfs.batch.examples import (
    check_cells,
    make_example,
    read_examples,
    read_labelled_so_far,
    read_marks,
    read_several,
)
from ecomfs.batch.files import Job, find_inputs, name_outputs
from ecomfs.batch.identity import pipeline_identity
from ecomfs.batch.imports import export_examples, import_examples, refuse_new_labels, write_examples
from ecomfs.batch.merge import Answers, Gold
from ecomfs.batch.output import (
    COLUMNS,
    NUMBERS,
    detail_cells,
    find_columns,
    journal_path,
    number_cell,
    set_cell,
)
from ecomfs.batch.plan import Interval, Plan, Prices, plan_rows, plan_table, total
from ecomfs.batch.runlog import Run, RunLog, compare_runs, find_run, last_resumable, list_runs
from ecomfs.batch.score import ScoreResult, check_paths, run_identity, score_table
from ecomfs.batch.select import Selection, Where
from ecomfs.batch.tally import Tally

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "Answerer",
    "Answers",
    "Gold",
    "Interval",
    "Job",
    "Plan",
    "Prices",
    "Run",
    "RunLog",
    "ScoreResult",
    "Selection",
    "Tally",
    "Where",
    "check_cells",
    "check_paths",
    "compare_runs",
    "detail_cells",
    "export_examples",
    "find_columns",
    "find_inputs",
    "find_run",
    "import_examples",
    "journal_path",
    "last_resumable",
    "list_runs",
    "make_example",
    "name_outputs",
    "number_cell",
    "pipeline_identity",
    "plan_rows",
    "plan_table",
    "read_examples",
    "read_labelled_so_far",
    "read_marks",
    "read_several",
    "refuse_new_labels",
    "run_identity",
    "score_table",
    "set_cell",
    "total",
    "write_examples",
]
