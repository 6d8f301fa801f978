"""Queries of every package: records by name or id, and the records of each image."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from db.schema import (
    Base,
    Batch,
    ImageRegion,
    Person,
    Release,
    Run,
    Source,
    Study,
    Triple,
    Verbalization,
    Vote,
)
from regions.errors import ConflictError, NotFoundError
from regions.geometry import Region

Record = TypeVar("Record", bound=Base)
Named = TypeVar("Named", Batch, Person, Release, Run, Source, Study)

_NOUNS: Mapping[type[Base], str] = {Person: "account"}
"""Names of records in messages, if not the name of the class in lower case."""
_HINTS: Mapping[type[Base], str] = {
    Batch: "create one with `lskd batch`",
    Person: "see `lskd users list`",
}
_SHOWN_CHARACTERS = 100


def standing_votes(*columns: Any, simulated: bool) -> Select[Any]:  # noqa: ANN401 - columns of any tables
    """Return a query of votes that are not withdrawn; without `simulated`, those of people."""
    query = select(*columns).select_from(Vote).where(Vote.withdrawn.is_(None))
    if simulated:
        return query
    return query.join(Person, Person.id == Vote.person_id).where(~Person.simulated)


def by_name(
    session: Session,
    entity: type[Named],
    name: str,
    *conditions: ColumnElement[bool],
    noun: str = "",
    hint: str = "",
) -> Named:
    """Return the record of that name that meets the conditions; NotFoundError if there is none.

    `noun` and `hint` replace those of the message, for conditions that narrow it: "critic run".
    """
    record = session.scalar(select(entity).where(entity.name == name, *conditions))
    if record is None:
        raise NotFoundError(
            f"no {noun or _noun(entity)} named {name[:_SHOWN_CHARACTERS]!r}",
            hint=hint or _HINTS.get(entity, "see `lskd status`"),
        )
    return record


def by_id(session: Session, entity: type[Record], key: int) -> Record:
    """Return the record with this id; NotFoundError if there is none."""
    record = session.get(entity, key)
    if record is None:
        raise NotFoundError(f"no such {_noun(entity)}", where=str(key))
    return record


def check_unused(session: Session, entity: type[Named], name: str) -> None:
    """ConflictError if a record has this name already."""
    if session.scalar(select(entity.id).where(entity.name == name)) is not None:
        noun = _noun(entity)
        article = "an" if noun[0] in "aeiou" else "a"
        raise ConflictError(
            f"{article} {noun} named {name!r} already exists", hint="choose another name"
        )


def _noun(entity: type[Any]) -> str:
    return _NOUNS.get(entity, entity.__name__.lower())


def to_region(record: ImageRegion) -> Region:
    """Convert a stored region to geometry, in pixels of the original image."""
    return Region(
        record.number,
        (record.x1, record.y1, record.x2, record.y2),
        tuple(tuple((x, y) for x, y in ring) for ring in record.polygons),
        record.label,
    )


def regions_by_image(session: Session, image_ids: Collection[int]) -> dict[int, list[Region]]:
    """Return the regions of each image ordered by number; an empty list for an image without."""
    query = select(ImageRegion).where(ImageRegion.image_id.in_(image_ids))
    regions: defaultdict[int, list[Region]] = defaultdict(list)
    for record in session.scalars(query.order_by(ImageRegion.image_id, ImageRegion.number)):
        regions[record.image_id].append(to_region(record))
    return {image_id: regions[image_id] for image_id in image_ids}


def verbalizations_by_image(
    session: Session, image_ids: Collection[int]
) -> dict[int, list[Verbalization]]:
    """Return the texts about each image and its regions, ordered by id."""
    return _by_image(session, Verbalization, image_ids)


def triples_by_image(session: Session, image_ids: Collection[int]) -> dict[int, list[Triple]]:
    """Return the triples of each image, ordered by id."""
    return _by_image(session, Triple, image_ids)


_OfImage = TypeVar("_OfImage", Triple, Verbalization)


def _by_image(
    session: Session, entity: type[_OfImage], image_ids: Collection[int]
) -> dict[int, list[_OfImage]]:
    query = select(entity).where(entity.image_id.in_(image_ids)).order_by(entity.id)
    records: defaultdict[int, list[_OfImage]] = defaultdict(list)
    for record in session.scalars(query):
        records[record.image_id].append(record)
    return {image_id: records[image_id] for image_id in image_ids}
