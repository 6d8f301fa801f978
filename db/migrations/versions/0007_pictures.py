"""Digests, other names and orientations of images; pictures that lie on their side become upright.

Earlier versions ignored the EXIF orientation: annotators saw the pixels as stored, with the regions
drawn on them. Size and regions are turned along with the picture, so that every region stays on
what it showed. Images whose files cannot be read here keep the orientation NULL, and are turned by
`lskd sources check` or `lskd sources move`.
"""

import sqlalchemy as sa
from alembic import op

from db.images import locations
from db.images.image_files import read_header
from db.images.upright import make_upright
from regions.errors import UserError

revision = "0007"
down_revision = "0006"

_IMAGES = sa.table("images", *map(sa.column, ("id", "source_id", "name", "width", "height")))
_SOURCES = sa.table("sources", sa.column("id"), sa.column("root"))


def upgrade() -> None:
    name = op.f("ck_images_orientation_known")
    with op.batch_alter_table("images") as images:
        images.add_column(sa.Column("orientation", sa.Integer(), nullable=True))
        images.add_column(sa.Column("digest", sa.String(length=64), nullable=True))
        images.add_column(sa.Column("file_bytes", sa.BigInteger(), nullable=True))
        images.add_column(sa.Column("dhash", sa.String(length=16), nullable=True))
        images.add_column(sa.Column("duplicate_group", sa.Integer(), nullable=True))
        images.create_check_constraint(name, "orientation BETWEEN 1 AND 8")
        images.create_index(op.f("ix_images_digest"), ["digest"])
    op.create_table(
        "image_names",
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_image_names_source_id")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_image_names_image_id")),
        sa.PrimaryKeyConstraint("source_id", "name", name=op.f("pk_image_names")),
    )
    op.create_index(op.f("ix_image_names_image_id"), "image_names", ["image_id"])
    _turn_pictures()


def _turn_pictures() -> None:
    connection = op.get_bind()
    roots = connection.execute(sa.select(_SOURCES.c.id, _SOURCES.c.root)).all()
    for source_id, root in roots:
        # Remote files would be fetched one by one, which would take hours.
        if "://" in root or not locations.is_present(root):
            continue
        columns = _IMAGES.c.id, _IMAGES.c.name, _IMAGES.c.width, _IMAGES.c.height
        images = sa.select(*columns).where(_IMAGES.c.source_id == source_id)
        for image_id, name, width, height in connection.execute(images).all():
            try:
                header = read_header(locations.open_image(root, name), name)
            except (UserError, OSError):
                continue
            if header.stored_size == (width, height):
                make_upright(connection, image_id, header)
