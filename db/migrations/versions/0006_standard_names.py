"""Columns, and keys of JSON documents, get the names that the field uses."""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from db.migrations.documents import COLUMNS, RUN_RESULTS, RUN_SETTINGS, Names, rename

revision = "0006"
down_revision = "0005"

RENAMED_COLUMNS = (
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
    for table, old, new in RENAMED_COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _rewrite("runs", "settings", RUN_SETTINGS)
    _rewrite("runs", "results", RUN_RESULTS)
    for (table, column), names in COLUMNS.items():
        _rewrite(table, column, {"": names})


def _rewrite(table: str, column: str, names: Mapping[str, Names]) -> None:
    """Rename the keys of every document in a column; `names` by the row's kind, "" without one."""
    kind = sa.column("kind", sa.String) if table == "runs" else sa.literal("").label("kind")
    rows = sa.table(table, sa.column("id", sa.Integer), sa.column(column, sa.JSON))
    connection = op.get_bind()
    query = sa.select(rows.c.id, kind, rows.c[column]).select_from(rows)
    for row_id, of_kind, document in connection.execute(query).all():
        if of_kind not in names:
            continue
        renamed = rename(document, names[of_kind])
        if renamed != document:
            update = sa.update(rows).where(rows.c.id == row_id)
            connection.execute(update.values({column: renamed}))
