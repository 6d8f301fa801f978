"""Judgements of a language model, retraining by votes, what a release chose."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "judgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("triple_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("prompt_version", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("value BETWEEN 0 AND 1", name=op.f("ck_judgements_value_is_share")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_judgements_image_id")),
        sa.ForeignKeyConstraint(
            ["triple_id"], ["triples.id"], name=op.f("fk_judgements_triple_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_judgements_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgements")),
        sa.UniqueConstraint("image_id", "key", name=op.f("uq_judgements_image_id_key")),
    )
    op.create_index(op.f("ix_judgements_triple_id"), "judgements", ["triple_id"])
    op.create_index("ix_judgements_run_id_triple_id", "judgements", ["run_id", "triple_id"])
    op.create_table(
        "retrainings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("every > 0", name=op.f("ck_retrainings_after_some_votes")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retrainings")),
    )
    with op.batch_alter_table("releases") as releases:
        releases.add_column(sa.Column("kept", sa.Integer(), server_default="0", nullable=False))
        releases.add_column(sa.Column("selection", sa.JSON(), server_default="{}", nullable=False))
    op.execute(
        "UPDATE releases SET kept = (SELECT count(*) FROM release_triples"
        " WHERE release_triples.release_id = releases.id)"
    )
