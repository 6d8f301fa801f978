"""Columns get the names that the field uses."""

from alembic import op

revision = "0006"
down_revision = "0005"

COLUMNS = (
    ("batches", "wanted", "votes_required"),
    ("batches", "qualify", "qualification_items"),
    ("batches", "bar", "min_gold_accuracy"),
    ("batch_items", "wanted", "votes_required"),
    ("batch_items", "taken", "slots_used"),
    ("gold", "teaches", "is_training_item"),
    ("triples", "shown", "visible_regions"),
)


def upgrade() -> None:
    # Not Alembic's batch mode: RENAME COLUMN keeps constraints and partial indexes, and copies
    # nothing.
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
