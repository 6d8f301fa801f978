"""Browsers from which people have signed in, and one-time links to choose a new password."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("failed_logins", sa.Column("device", sa.String(64)))
    op.create_index(op.f("ix_failed_logins_device"), "failed_logins", ["device"])
    op.create_table(
        "known_devices",
        sa.Column("person_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_known_devices_person_id")
        ),
        sa.PrimaryKeyConstraint("person_id", "token_digest", name=op.f("pk_known_devices")),
    )
    op.create_index(op.f("ix_known_devices_token_digest"), "known_devices", ["token_digest"])
    op.create_table(
        "password_resets",
        sa.Column("token_digest", sa.String(64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_password_resets_person_id")
        ),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_password_resets")),
    )
    op.create_index(op.f("ix_password_resets_person_id"), "password_resets", ["person_id"])
