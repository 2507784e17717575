"""A table to the same table with predictions. Runs can be planned, limited and resumed."""

from ecomfs.batch.budget import Budget
from ecomfs.batch.example_tables import (
    read_examples,
    read_partly_labelled,
    read_several,
    write_examples,
)
from ecomfs.batch.examples import (
    check_cells,
    export_examples,
    import_examples,
    make_example,
    refuse_new_labels,
)
from ecomfs.batch.feed import Condition, Selection, find_columns, read_marks
from ecomfs.batch.identity import identity_of, input_identity, pipeline_identity, run_identity
from ecomfs.batch.output import (
    COLUMNS,
    NUMBERS,
    AnswerCounts,
    Gold,
    ScoreResult,
    detail_cells,
    number_cell,
    set_cell,
)
from ecomfs.batch.paths import Job, check_paths, find_inputs, journal_path, name_outputs
from ecomfs.batch.plan import Interval, Prices, RunPlan, add_plans, plan_rows, plan_table
from ecomfs.batch.runlog import (
    Run,
    RunLog,
    compare_runs,
    find_run,
    last_resumable,
    list_runs,
)
from ecomfs.batch.runner import RowScorer, Tally
from ecomfs.batch.score import score_table

__all__ = [
    "COLUMNS",
    "NUMBERS",
    "AnswerCounts",
    "Budget",
    "Condition",
    "Gold",
    "Interval",
    "Job",
    "Prices",
    "RowScorer",
    "Run",
    "RunLog",
    "RunPlan",
    "ScoreResult",
    "Selection",
    "Tally",
    "add_plans",
    "check_cells",
    "check_paths",
    "compare_runs",
    "detail_cells",
    "export_examples",
    "find_columns",
    "find_inputs",
    "find_run",
    "identity_of",
    "import_examples",
    "input_identity",
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
    "read_marks",
    "read_partly_labelled",
    "read_several",
    "refuse_new_labels",
    "run_identity",
    "score_table",
    "set_cell",
    "write_examples",
]
