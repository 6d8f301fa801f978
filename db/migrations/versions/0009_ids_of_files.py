"""Ids of imported records, several images of an instruction, voters without a name."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # Not Alembic's batch mode: a column with a constant default copies nothing.
    for table in ("triples", "instructions"):
        op.add_column(table, sa.Column("external_id", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "instructions", sa.Column("further_images", sa.JSON(), server_default="[]", nullable=False)
    )
    op.add_column(
        "people", sa.Column("anonymous", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    # Earlier versions named the votes of label files after places in a list.
    people = sa.table("people", sa.column("name"), sa.column("anonymous"))
    sources = sa.table("sources", sa.column("name"))
    connection = op.get_bind()
    names = connection.scalars(sa.select(people.c.name)).all()
    prefixes = tuple(f"{name} worker " for name in connection.scalars(sa.select(sources.c.name)))
    unnamed = [name for name in names if name.startswith(prefixes) and name[-1].isdigit()]
    for name in unnamed:
        connection.execute(sa.update(people).where(people.c.name == name).values(anonymous=True))
