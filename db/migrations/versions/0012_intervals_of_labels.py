"""Intervals of labels, and batches in the order of expected information."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_ORDERINGS = "'random', 'uncertain', 'disagreed', 'information'"


def upgrade() -> None:
    double = sa.Double().compile(dialect=op.get_bind().dialect)
    # SQLite and PostgreSQL spell these alike, and neither has to copy the table, which may be large.
    for column, name, check in (
        ("low", "ck_labels_low_is_bound", "low BETWEEN 0 AND accept"),
        ("high", "ck_labels_high_is_bound", "high BETWEEN accept AND 1"),
    ):
        op.execute(
            f"ALTER TABLE labels ADD COLUMN {column} {double} CONSTRAINT {name} CHECK ({check})"
        )
    name = op.f("ck_batches_ordering_known")
    with op.batch_alter_table("batches") as batches:
        batches.drop_constraint(name, type_="check")
        batches.create_check_constraint(name, f"ordering IN ({_ORDERINGS})")
