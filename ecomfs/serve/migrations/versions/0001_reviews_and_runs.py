"""Reviews, decisions, answers to repeated requests, runs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "ecomfs_review",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("row_id", sa.Text, nullable=False),
        sa.Column("fields", sa.Text, nullable=False),
        sa.Column("row_key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("skips", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text, nullable=True),
        sa.Column("reviewer", sa.Text, nullable=True),
        sa.Column("decided_at", sa.Text, nullable=True),
        sa.Column("second_label", sa.Text, nullable=True),
        sa.Column("second_reviewer", sa.Text, nullable=True),
        sa.Column("suggestion", sa.Text, nullable=True),
        sa.Column("uncertainty", sa.Float, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("pool_version", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.UniqueConstraint("task", "row_key", name="ecomfs_review_row"),
    )
    op.create_index(
        "ecomfs_review_queue", "ecomfs_review", ["task", "state", "skips", "uncertainty"]
    )
    op.create_table(
        "ecomfs_decision",
        sa.Column("number", key, primary_key=True, autoincrement=True),
        sa.Column("review", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=True),
        sa.Column("reviewer", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("pool_version", sa.BigInteger, nullable=False),
    )
    op.create_index("ecomfs_decision_review", "ecomfs_decision", ["review"])
    op.create_index("ecomfs_decision_task", "ecomfs_decision", ["task", "number"])
    op.create_table(
        "ecomfs_request",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_table(
        "ecomfs_run",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("progress", sa.Float, nullable=True),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("added_by", sa.Text, nullable=False),
        sa.Column("added_at", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Text, nullable=False),
    )
    op.create_index("ecomfs_run_task", "ecomfs_run", ["task", "added_at"])
