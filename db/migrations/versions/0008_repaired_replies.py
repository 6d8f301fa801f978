"""Calls say whether the JSON of their reply was repaired."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column(
        "calls", sa.Column("repaired", sa.Boolean, nullable=False, server_default=sa.false())
    )
