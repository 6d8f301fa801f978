"""What a student learns from: triples that a release kept, and instructions, by their ids alone.

Texts are read when a batch is drawn: a million of them never lie in memory.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db.images.locations import exists
from db.schema import Image, Instruction, Part, Release, ReleaseTriple, Source, Triple
from db.store import queries, runs
from regions.errors import UserError

Ids = NDArray[np.int64]
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Corpus:
    """Ids, and the image that each is about."""

    triples: Ids
    images: Ids
    instructions: Ids
    instruction_images: Ids

    def __len__(self) -> int:
        return len(self.triples)


def corpus(
    session: Session, release: str, parts: Collection[Part], *, instructions: bool = False
) -> Corpus:
    """What a release kept on images of these parts; UserError where there is no such release."""
    found = queries.by_name(session, Release, release)
    split = runs.split(session)
    session.flush()
    kept = (
        select(Triple.id, Triple.image_id)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .where(ReleaseTriple.release_id == found.id)
        .order_by(Triple.id)
    )
    told = select(Instruction.id, Instruction.image_id).order_by(Instruction.id)
    wanted = np.array(sorted(i for i, part in split.items() if part in parts), np.int64)
    none = np.zeros((0, 2), np.int64)
    triples = _pairs(session, kept, wanted)
    rest = _pairs(session, told, wanted) if instructions else none
    return Corpus(triples[:, 0], triples[:, 1], rest[:, 0], rest[:, 1])


def _pairs(session: Session, query: Select[Any, Any], images: Ids) -> NDArray[np.int64]:
    """Rows of two ids whose image is wanted."""
    rows = session.execute(query, execution_options={"yield_per": _CHUNK})
    parts = [np.array([tuple(row) for row in some], np.int64) for some in rows.partitions()]
    found = np.concatenate([*parts, np.zeros((0, 2), np.int64)])
    return found[np.isin(found[:, 1], images)]


def check_pictures(session: Session, images: Ids) -> None:
    """UserError where pictures are missing: how many, and the first, before anything is learned."""
    missing: list[str] = []
    for start in range(0, len(images), _CHUNK):
        some = [int(i) for i in images[start : start + _CHUNK]]
        rows = session.execute(
            select(Source.name, Source.root, Image.name)
            .join(Source, Source.id == Image.source_id)
            .where(Image.id.in_(some))
        )
        missing += [f"{source}/{name}" for source, root, name in rows if not exists(root, name)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(
            f"the image {missing[0]}{more} is missing", hint="put it back, or import it anew"
        )
