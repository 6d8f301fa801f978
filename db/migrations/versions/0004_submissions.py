"""Requests submitted to be answered later; which run wrote a verbalization."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("base_url", sa.String(length=400), nullable=False),
        sa.Column("remote", sa.String(length=400), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("collected", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_submissions_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("key", name=op.f("uq_submissions_key")),
    )
    op.create_index(op.f("ix_submissions_run_id"), "submissions", ["run_id"])
    name = op.f("ck_calls_status_known")
    with op.batch_alter_table("calls") as calls:
        calls.add_column(sa.Column("submission_id", sa.Integer(), nullable=True))
        calls.create_foreign_key(
            op.f("fk_calls_submission_id"), "submissions", ["submission_id"], ["id"]
        )
        calls.create_index(op.f("ix_calls_submission_id"), ["submission_id"])
        calls.drop_constraint(name, type_="check")
        calls.create_check_constraint(name, "status IN ('answered', 'failed', 'submitted')")
    with op.batch_alter_table("verbalizations") as texts:
        texts.add_column(sa.Column("run_id", sa.Integer(), nullable=True))
        texts.create_foreign_key(op.f("fk_verbalizations_run_id"), "runs", ["run_id"], ["id"])
        texts.create_index(op.f("ix_verbalizations_run_id"), ["run_id"])
