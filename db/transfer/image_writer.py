"""Store the images of imported rows: files with the same bytes are one image under several names.

An image found under a second name keeps its regions and their numbers; the rows of that name are
renumbered, so that nothing of either name is lost.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.formats.rows import RegionRow, Row
from db.images.image_files import Inspection
from db.images.locations import NO_PICTURES
from db.images.upright import make_upright
from db.schema import Image, Source
from db.transfer.driver_sql import select_in
from regions import references

Insert = Callable[[str, Sequence[str], Sequence[tuple[Any, ...]]], None]
"""Inserts rows that do not exist yet: a table, its columns, and the values."""


class StoredImage(NamedTuple):
    """An image of the store; `source` and `name` identify it in the keys of other records."""

    id: int
    source: str
    name: str
    digest: str | None = None
    orientation: int | None = None
    size: tuple[int, int] = (0, 0)


class ImageWriter:
    """Finds the images of rows by name and by content, and inserts new ones."""

    def __init__(self, session: Session, source: Source) -> None:
        self._source_id, self._source = source.id, source.name
        places = [source.id]
        if source.root != NO_PICTURES:  # which is not one place
            places = list(session.scalars(select(Source.id).where(Source.root == source.root)))
        self._is_here = f"images.source_id IN ({', '.join(map(str, places))})"

    def write(
        self,
        session: Session,
        insert: Insert,
        rows: Sequence[Row],
        inspections: Mapping[str, Inspection],
    ) -> tuple[dict[str, StoredImage], dict[str, str]]:
        """Insert new images; return all by the name in the rows, and reasons against others."""
        first_rows: dict[str, Row] = {}
        for row in rows:
            first_rows.setdefault(row.image, row)
        images = self._by_name(session, list(first_rows))
        completed = {
            name: self._complete(session, image, name, inspections.get(name))
            for name, image in images.items()
        }
        reasons = {name: reason for name, reason in completed.items() if reason is not None}
        missing = [row for name, row in first_rows.items() if name not in images]
        digests = {
            row.image: inspections[row.image].digest for row in missing if row.image in inspections
        }
        by_digest = _by_digest(session, set(digests.values()))
        firsts: dict[str, str] = {}
        for name, digest in digests.items():
            firsts.setdefault(digest, name)
        new = [
            row
            for row in missing
            if row.image not in digests
            or (digests[row.image] not in by_digest and firsts[digests[row.image]] == row.image)
        ]
        insert(
            "images",
            (
                *("source_id", "name", "width", "height", "orientation"),
                *("digest", "file_bytes", "dhash", "title", "author", "licence", "origin"),
            ),
            [self._values(row, inspections.get(row.image)) for row in new],
        )
        images |= self._by_name(session, [row.image for row in new])
        aliases = {}
        for name in digests.keys() - images.keys():
            aliases[name] = by_digest.get(digests[name]) or images[firsts[digests[name]]]
        self._add_names(insert, images | aliases)
        return images | aliases, reasons

    def _values(self, row: Row, inspection: Inspection | None) -> tuple[Any, ...]:
        name = self._source_id, row.image
        content: tuple[Any, ...] = (None, None, None)
        if inspection is not None:
            content = inspection.digest, inspection.file_bytes, inspection.dhash
        return (*name, *row.size, row.orientation, *content, "", "", row.licence, "")

    def _add_names(self, insert: Insert, images: Mapping[str, StoredImage]) -> None:
        """Remember the names by which images are not stored themselves."""
        insert(
            "image_names",
            ("source_id", "name", "image_id"),
            [
                (self._source_id, name, image.id)
                for name, image in images.items()
                if not self.is_own_name(name, image)
            ],
        )

    def is_own_name(self, name: str, image: StoredImage) -> bool:
        """Whether an image is stored by this name of this source."""
        return (image.source, image.name) == (self._source, name)

    def _by_name(self, session: Session, names: Sequence[str]) -> dict[str, StoredImage]:
        """Return the stored images of this place by name."""
        images: dict[str, StoredImage] = {}
        for image in _select_images(session, f"{self._is_here} AND images.name", names):
            if image.name not in images or image.source == self._source:
                images[image.name] = image
        query = (
            f"SELECT name, image_id FROM image_names WHERE source_id = {self._source_id} AND name"  # noqa: S608 - a number
        )
        others = {name: i for name, i in select_in(session, query, names) if name not in images}
        found = _select_images(session, "images.id", list(others.values()))
        by_id = {image.id: image for image in found}
        return images | {name: by_id[image_id] for name, image_id in others.items()}

    def _complete(
        self, session: Session, image: StoredImage, name: str, inspection: Inspection | None
    ) -> str | None:
        """Store what an earlier import did not read; return why the file is not that image."""
        if inspection is None:
            return None
        if image.digest is not None:
            changed = image.digest != inspection.digest
            return f"the file has changed since it was imported ({name})" if changed else None
        header = inspection.header
        size = header.stored_size if image.orientation is None else header.size
        if image.size != size:
            return f"the image has changed its size since it was imported ({name})"
        if image.orientation is None:
            make_upright(session.connection(), image.id, header)
        values = {
            "digest": inspection.digest,
            "file_bytes": inspection.file_bytes,
            "dhash": inspection.dhash,
        }
        session.execute(update(Image).where(Image.id == image.id).values(values))
        return None


def renumbered(row: Row, boxes: Mapping[int, tuple[float, ...]]) -> Row:
    """Return a row in the numbers of an image that has regions already: `boxes` by number.

    A region with a box of the image gets its number; another one keeps its own if that is free, or
    gets the next free number. Repeating this with the result in `boxes` changes nothing.
    """
    mapping = {r[0]: r[0] for r in row.regions if boxes.get(r[0]) == r[1:5]}
    for region in row.regions:
        if region[0] not in mapping:
            mapping[region[0]] = _number_for(region, boxes, set(mapping.values()))
    if all(old == new for old, new in mapping.items()):
        return row
    triple = row.triple
    if triple is not None:
        question, answer, rationale = (
            references.renumber(text, mapping)
            for text in (triple.question, triple.answer, triple.rationale)
        )
        visible = [mapping[number] for number in triple.visible_regions]
        triple = replace(
            triple,
            question=question,
            answer=answer,
            rationale=rationale,
            visible_regions=visible,
        )
    return replace(
        row,
        regions=[(mapping[region[0]], *region[1:]) for region in row.regions],
        triple=triple,
        texts=[
            text if text.region is None else replace(text, region=mapping[text.region])
            for text in row.texts
        ],
    )


def _number_for(region: RegionRow, boxes: Mapping[int, tuple[float, ...]], used: set[int]) -> int:
    same = [n for n, box in boxes.items() if box == region[1:5] and n not in used]
    if same:
        return min(same)
    if region[0] not in boxes and region[0] not in used:
        return region[0]
    return max({*boxes, *used}) + 1


def _select_images(
    session: Session, condition: str, values: Sequence[int | str]
) -> Iterator[StoredImage]:
    """Yield the images for which a condition holds, whose last column has one of the values."""
    query = f"""
        SELECT images.id, sources.name, images.name, digest, orientation, width, height
        FROM images JOIN sources ON sources.id = images.source_id WHERE {condition}"""  # noqa: S608 - of this module only
    for image_id, source, name, digest, orientation, *size in select_in(session, query, values):
        yield StoredImage(image_id, source, name, digest, orientation, (size[0], size[1]))


def _by_digest(session: Session, digests: set[str]) -> dict[str, StoredImage]:
    """Return stored images by digest; of several, the oldest."""
    images: dict[str, StoredImage] = {}
    for image in sorted(_select_images(session, "digest", sorted(digests))):
        images.setdefault(str(image.digest), image)
    return images
