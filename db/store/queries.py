"""Reading records as the shared language has them: regions by image, texts about them."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import ImageRegion, Triple, Verbalization
from regions.geometry import Region


def to_region(record: ImageRegion) -> Region:
    """A stored region as geometry, pixels of the original image."""
    return Region(
        record.number,
        (record.x1, record.y1, record.x2, record.y2),
        tuple(tuple((x, y) for x, y in ring) for ring in record.polygons),
        record.label,
    )


def regions_by_image(session: Session, image_ids: Collection[int]) -> dict[int, list[Region]]:
    """The regions of each image in order of their numbers; an image without any has none."""
    query = select(ImageRegion).where(ImageRegion.image_id.in_(image_ids))
    found: defaultdict[int, list[Region]] = defaultdict(list)
    for record in session.scalars(query.order_by(ImageRegion.image_id, ImageRegion.number)):
        found[record.image_id].append(to_region(record))
    return {image_id: found[image_id] for image_id in image_ids}


def verbalizations_by_image(
    session: Session, image_ids: Collection[int]
) -> dict[int, list[Verbalization]]:
    """What has been written about each image and its regions, in order of writing."""
    query = select(Verbalization).where(Verbalization.image_id.in_(image_ids))
    found: defaultdict[int, list[Verbalization]] = defaultdict(list)
    for record in session.scalars(query.order_by(Verbalization.image_id, Verbalization.id)):
        found[record.image_id].append(record)
    return {image_id: found[image_id] for image_id in image_ids}


def triples_by_image(session: Session, image_ids: Collection[int]) -> dict[int, list[Triple]]:
    """The triples of each image, in order of writing."""
    query = select(Triple).where(Triple.image_id.in_(image_ids)).order_by(Triple.id)
    found: defaultdict[int, list[Triple]] = defaultdict(list)
    for triple in session.scalars(query):
        found[triple.image_id].append(triple)
    return {image_id: found[image_id] for image_id in image_ids}
