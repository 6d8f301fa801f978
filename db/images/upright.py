"""Turn a stored image whose size and regions are of the pixels before their orientation.

Used by migration 0007, so the columns are named here rather than taken from today's schema.
"""

import sqlalchemy as sa

from db.images.image_files import Header
from db.images.orientation import UPRIGHT, turn_box, turn_polygon

_IMAGES = sa.table("images", *map(sa.column, ("id", "width", "height", "orientation")))
_REGIONS = sa.table(
    "regions",
    *map(sa.column, ("image_id", "number", "x1", "y1", "x2", "y2")),
    sa.column("polygons", sa.JSON),
)


def make_upright(connection: sa.Connection, image_id: int, header: Header) -> None:
    """Store an image's orientation, and turn its size and regions along with the picture."""
    size, orientation = header.stored_size, header.orientation
    width, height = header.size
    update = sa.update(_IMAGES).where(_IMAGES.c.id == image_id)
    connection.execute(update.values(orientation=orientation, width=width, height=height))
    if orientation == UPRIGHT:
        return
    regions = sa.select(_REGIONS).where(_REGIONS.c.image_id == image_id)
    for _, number, left, top, right, bottom, polygons in connection.execute(regions).all():
        x1, y1, x2, y2 = turn_box((left, top, right, bottom), size, orientation)
        rings = [turn_polygon(ring, size, orientation) for ring in polygons]
        connection.execute(
            sa.update(_REGIONS)
            .where(_REGIONS.c.image_id == image_id, _REGIONS.c.number == number)
            .values(x1=x1, y1=y1, x2=x2, y2=y2, polygons=rings)
        )
