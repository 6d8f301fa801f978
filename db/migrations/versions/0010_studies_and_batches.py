"""Bound and signed links of studies, prices of batches, votes sent back to their annotators."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Both tables are small: copying them to add a constraint costs nothing.
    with op.batch_alter_table("studies") as studies:
        studies.add_column(sa.Column("max_workers", sa.Integer()))
        studies.add_column(sa.Column("signing_secret", sa.String(64)))
        studies.create_check_constraint(op.f("ck_studies_has_places"), "max_workers > 0")
    with op.batch_alter_table("batches") as batches:
        batches.add_column(sa.Column("price", sa.Double()))
        batches.add_column(
            sa.Column("price_unit", sa.String(40), server_default="vote", nullable=False)
        )
        batches.create_check_constraint(op.f("ck_batches_price_not_negative"), "price >= 0")
        batches.create_check_constraint(
            op.f("ck_batches_price_unit_known"), "price_unit IN ('vote', 'hour')"
        )
    op.add_column("study_sessions", sa.Column("browser_digest", sa.String(64)))
    op.add_column(
        "leases", sa.Column("held_until", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("leases", sa.Column("note", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "returned_votes",
        sa.Column("vote_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("returned_by", sa.Integer()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vote_id"], ["votes.id"], name=op.f("fk_returned_votes_vote_id")),
        sa.ForeignKeyConstraint(
            ["returned_by"], ["people.id"], name=op.f("fk_returned_votes_returned_by")
        ),
        sa.PrimaryKeyConstraint("vote_id", name=op.f("pk_returned_votes")),
    )
    op.create_index(
        "ix_votes_withdrawn",
        "votes",
        ["withdrawn"],
        sqlite_where=sa.text("withdrawn IS NOT NULL"),
        postgresql_where=sa.text("withdrawn IS NOT NULL"),
    )
