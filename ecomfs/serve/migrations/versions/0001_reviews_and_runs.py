"""Reviews, decisions, answers to repeated requests, runs."""

import sqlalchemy as sa
from alembic import op

from ecomfs.pool.tables import NUMBER, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "ecomfs_review",
        *columns(sa.Text, "id", primary_key=True),
        *columns(sa.Text, "task", "row_id", "fields", "row_key", "state"),
        *columns(sa.BigInteger, "version", "skips"),
        *columns(sa.Text, "label", "reviewer", "decided_at", nullable=True),
        *columns(sa.Text, "second_label", "second_reviewer", "suggestion", nullable=True),
        *columns(sa.Float, "uncertainty"),
        *columns(sa.Text, "probabilities"),
        *columns(sa.BigInteger, "pool_version"),
        *columns(sa.Text, "source", "added_by", "added_at"),
        sa.UniqueConstraint("task", "row_key", name="ecomfs_review_row"),
    )
    op.create_index(
        "ecomfs_review_queue", "ecomfs_review", ["task", "state", "skips", "uncertainty"]
    )
    op.create_table(
        "ecomfs_decision",
        *columns(NUMBER, "number", primary_key=True),
        *columns(sa.Text, "review", "task", "action"),
        *columns(sa.Text, "label", nullable=True),
        *columns(sa.Text, "reviewer", "at"),
        *columns(sa.BigInteger, "pool_version"),
    )
    op.create_index("ecomfs_decision_review", "ecomfs_decision", ["review"])
    op.create_index("ecomfs_decision_task", "ecomfs_decision", ["task", "number"])
    op.create_table(
        "ecomfs_request",
        *columns(sa.Text, "caller", "key", primary_key=True),
        *columns(sa.Text, "fingerprint", "answer", "at"),
    )
    op.create_table(
        "ecomfs_run",
        *columns(sa.Text, "id", primary_key=True),
        *columns(sa.Text, "task", "name", "state", "counts"),
        *columns(sa.Float, "progress", nullable=True),
        *columns(sa.Text, "error", "added_by", "added_at", "changed_at"),
    )
    op.create_index("ecomfs_run_task", "ecomfs_run", ["task", "added_at"])
