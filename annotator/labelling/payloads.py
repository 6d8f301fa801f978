"""Payloads: a triple, its regions and its image, as the pages receive them."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session
from typing_extensions import TypedDict  # pydantic requires it on Python 3.11

from db.images.records import ImageRecord, image_record
from db.schema import BatchItem, Image, Triple
from db.store import queries
from db.store.session import Store
from regions import references
from regions.geometry import Box, Polygon, Region

TEXT_PARTS = ("question", "answer", "rationale")
BLOCK_SIZE = 64
"""Positions of a batch that are read together: annotators reach them at about the same time."""

_MAX_BLOCKS = 256


class RegionRecord(TypedDict):
    """A region as JSON, in pixels of the image; see `regions.geometry.Region`."""

    number: int
    box: Box
    polygons: Sequence[Polygon]
    label: str


class TriplePayload(TypedDict):
    """A triple as JSON; `mentioned` are the region numbers in its texts."""

    triple: int
    image: ImageRecord
    regions: list[RegionRecord]
    question: str
    answer: str
    rationale: str
    mentioned: Sequence[int]


class ItemPayload(TriplePayload):
    """A triple as an item of the batch named `batch`.

    `note` is what a researcher wrote who sent it back to this person; else it is empty.
    """

    batch: str
    note: str


class PayloadCache:
    """Payloads of batch items, by position. They never change, so they are cached."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._block = lru_cache(_MAX_BLOCKS)(self._read_block)

    def get(self, batch_id: int, positions: Sequence[int]) -> list[TriplePayload]:
        """The payloads at these positions of a batch. They are shared: do not modify them."""
        return [self._block(batch_id, position // BLOCK_SIZE)[position] for position in positions]

    def _read_block(self, batch_id: int, block: int) -> dict[int, TriplePayload]:
        first = block * BLOCK_SIZE
        with self._store.read() as session:
            items = session.execute(
                select(BatchItem.position, BatchItem.triple_id)
                .where(BatchItem.batch_id == batch_id)
                .where(BatchItem.position.between(first, first + BLOCK_SIZE - 1))
            ).all()
            payloads = triple_payloads(session, [triple_id for _, triple_id in items])
        return {position: payloads[triple_id] for position, triple_id in items}


def triple_payloads(session: Session, triple_ids: Sequence[int]) -> dict[int, TriplePayload]:
    """The payloads of these triples, by id."""
    rows = session.execute(
        select(Triple, Image)
        .join(Image, Image.id == Triple.image_id)
        .where(Triple.id.in_(triple_ids))
    ).all()
    regions = queries.regions_by_image(session, {image.id for _, image in rows})
    return {triple.id: _payload(triple, image, regions[image.id]) for triple, image in rows}


def _payload(triple: Triple, image: Image, regions: Sequence[Region]) -> TriplePayload:
    visible = set(triple.visible_regions)
    return {
        "triple": triple.id,
        "image": image_record(image),
        "regions": [_region_record(region) for region in regions if region.number in visible],
        "question": triple.question,
        "answer": triple.answer,
        "rationale": triple.rationale,
        "mentioned": references.mentioned(" ".join(getattr(triple, part) for part in TEXT_PARTS)),
    }


def _region_record(region: Region) -> RegionRecord:
    return {
        "number": region.number,
        "box": region.box,
        "polygons": region.polygons,
        "label": region.label,
    }
