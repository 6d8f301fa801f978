"""What a page needs to show a triple: texts, regions, and where the picture is."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.images.records import image_record
from db.schema import BatchItem, Image, Triple
from db.store import queries
from db.store.session import Store
from regions import references
from regions.geometry import Region

Item = dict[str, Any]

TEXTS = ("question", "answer", "rationale")
BLOCK_SIZE = 64
"""Neighbouring places of a batch are read together: annotators reach them at about one time."""

_KEPT_BLOCKS = 256


class PayloadCache:
    """The items of a store's batches. What they say is kept, since it never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._block = lru_cache(_KEPT_BLOCKS)(self._read_block)

    def get(self, batch_id: int, positions: Sequence[int]) -> list[Item]:
        """The items at these places of a batch; the caller must not change them."""
        return [self._block(batch_id, position // BLOCK_SIZE)[position] for position in positions]

    def _read_block(self, batch_id: int, block: int) -> dict[int, Item]:
        first = block * BLOCK_SIZE
        with self._store.read() as session:
            places = session.execute(
                select(BatchItem.position, BatchItem.triple_id)
                .where(BatchItem.batch_id == batch_id)
                .where(BatchItem.position.between(first, first + BLOCK_SIZE - 1))
            ).all()
            found = triple_payloads(session, [triple_id for _, triple_id in places])
        return {position: found[triple_id] for position, triple_id in places}


def triple_payloads(session: Session, triple_ids: Sequence[int]) -> dict[int, Item]:
    """The items of these triples, by id."""
    rows = session.execute(
        select(Triple, Image)
        .join(Image, Image.id == Triple.image_id)
        .where(Triple.id.in_(triple_ids))
    ).all()
    regions = queries.regions_by_image(session, {image.id for _, image in rows})
    return {triple.id: _item(triple, image, regions[image.id]) for triple, image in rows}


def _item(triple: Triple, image: Image, regions: Sequence[Region]) -> Item:
    texts = {part: getattr(triple, part) for part in TEXTS}
    return {
        "triple": triple.id,
        "image": image_record(image),
        "regions": [
            asdict(region) for region in regions if region.number in triple.visible_regions
        ],
        **texts,
        "mentioned": references.mentioned(" ".join(texts.values())),
    }
