"""The journal of calls to language models, what was kept out of replies, LLaVA's instructions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KINDS = "'import', 'foreign', 'verbalize', 'generate', 'simulate', 'labels', 'critic', 'student'"


def upgrade() -> None:
    name = op.f("ck_runs_kind_known")
    with op.batch_alter_table("runs") as runs:
        runs.drop_constraint(name, type_="check")
        runs.create_check_constraint(name, f"kind IN ({_KINDS})")
    op.create_table(
        "calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("finish", sa.String(length=40), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("read", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN ('answered', 'failed')", name=op.f("ck_calls_status_known")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_calls_image_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_calls_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_calls_fingerprint")),
    )
    op.create_index("ix_calls_run_id_image_id", "calls", ["run_id", "image_id"])
    unread = sa.text("status = 'answered' AND read IS NULL")
    op.create_index(
        "ix_calls_unread",
        "calls",
        ["run_id", "id"],
        sqlite_where=unread,
        postgresql_where=unread,
    )
    op.create_table(
        "rejections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_rejections_call_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejections")),
    )
    op.create_index("ix_rejections_call_id", "rejections", ["call_id"])
    op.create_table(
        "instructions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("turns", sa.JSON(), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("prompt_version", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('conversation', 'description', 'reasoning')",
            name=op.f("ck_instructions_kind_known"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_instructions_image_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_instructions_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instructions")),
        sa.UniqueConstraint("image_id", "key", name=op.f("uq_instructions_image_id_key")),
    )
