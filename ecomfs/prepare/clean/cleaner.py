"""Clean a table of examples: mend the texts, then take out what cannot serve, with reasons."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from ecomfs.errors import ColumnError, ConfigError
from ecomfs.prepare.clean import cell_steps, row_steps
from ecomfs.prepare.clean.ledger import CleanResult, Ledger
from ecomfs.prepare.clean.policy import CleanPolicy


def clean(
    frame: pd.DataFrame,
    *,
    text_columns: Sequence[str],
    label_column: str | None = None,
    id_column: str | None = None,
    test: pd.DataFrame | None = None,
    policy: CleanPolicy | None = None,
    errors: Mapping[Hashable, str] | None = None,
    notes: Mapping[Hashable, str] | None = None,
) -> CleanResult:
    """Clean labelled examples, or unlabelled texts.

    Texts are mended first. Then rows are examined in order; a row is removed for the first of
    these reasons that applies: unreadable, empty, unlabelled, over-long, leak, conflict,
    duplicate, near leak, near duplicate. Of duplicates the earliest stays. Near duplicates with
    *different* labels are only reported ("works" and "does not work" are near, too).

    Args:
        frame: one row an example; cells are taken as text, missing ones as empty.
        text_columns: what is mended and compared, together.
        label_column: without it nothing about labels is examined.
        id_column: names rows in the report; doubled ids are reported.
        test: rows the pool must not share a text with; they are never changed or returned.
        policy: what to do; the defaults of :class:`CleanPolicy`.
        errors: row → why it could not be read (:class:`ecomfs.io.Frame`).
        notes: row → how it had to be read.

    Raises:
        ColumnError: a column is missing, or ``<column>_original`` is taken.
        ConfigError: no text column, or a package for the policy is not installed.

    >>> data = pd.DataFrame({
    ...     "text": ["Works <b>well</b>!", "works well", "", "Broke at once"],
    ...     "label": ["good", "Good ", "bad", "bad"],
    ... })
    >>> result = clean(data, text_columns=["text"], label_column="label")
    >>> result.frame["text"].to_list()
    ['Works well!', 'Broke at once']
    >>> print(result.report)
    4 rows in, 2 out, 2 removed, 2 texts changed
      html              1 changed   HTML tags or entities
      label             1 changed   label spelt in another way
      empty             1 removed   no text
      duplicate         1 removed   the same text as an earlier row
    """
    if not text_columns:
        raise ConfigError("cleaning needs at least one text column")
    _check_columns(frame, [*text_columns, label_column, id_column], "the table")
    if test is not None:
        _check_columns(test, text_columns, "the test table")
    ledger = Ledger(frame, tuple(text_columns), label_column, id_column, policy or CleanPolicy())
    cell_steps.note_reading(ledger, errors or {}, notes or {})
    cell_steps.report_doubled_ids(ledger)
    cell_steps.mend_texts(ledger)
    cell_steps.unify_labels(ledger)
    cell_steps.examine_cells(ledger)
    rows = row_steps.Comparison(ledger, test)
    rows.examine_equality()
    rows.examine_nearness()
    return ledger.result()


def _check_columns(frame: pd.DataFrame, names: Sequence[str | None], what: str) -> None:
    for name in names:
        if name is None:
            continue
        if name not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise ColumnError(f"{what} has no column {name!r}", hint=f"columns are: {there}")
        if what == "the table" and f"{name}_original" in frame.columns:
            hint = "rename it; originals are kept under that name"
            raise ColumnError(f"{what} already has a column '{name}_original'", hint=hint)
