"""Training data by id: triples of a release and instructions, and triples for calibration.

Only ids are held in memory. Texts are read when a batch is made.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, Text, cast, select
from sqlalchemy.orm import Session

from db.images.image_files import missing_place
from db.images.locations import exists, is_present
from db.labelling.labels import majority_labels
from db.schema import (
    Image,
    Instruction,
    Part,
    Release,
    ReleaseTriple,
    Score,
    Source,
    Split,
    Triple,
)
from db.store import queries, runs
from regions.errors import NotFoundError

Ids = NDArray[np.int64]
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Corpus:
    """Ids of triples and instructions, and the image of each; all arrays of shape (n,)."""

    triple_ids: Ids
    image_ids: Ids
    instruction_ids: Ids
    instruction_image_ids: Ids

    def __len__(self) -> int:
        return len(self.triple_ids)


def load_corpus(
    session: Session, release_name: str, parts: Collection[Part], *, instructions: bool = False
) -> Corpus:
    """Return the triples of a release on images of these parts of the split.

    NotFoundError if there is no such release.
    """
    release = queries.by_name(session, Release, release_name)
    split = runs.split(session)
    session.flush()
    triples = (
        select(Triple.id, Triple.image_id)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .where(ReleaseTriple.release_id == release.id)
        .order_by(Triple.id)
    )
    image_ids = np.array(sorted(i for i, part in split.items() if part in parts), np.int64)
    triple_rows = _pairs(session, triples, image_ids)
    instruction_rows = np.zeros((0, 2), np.int64)
    if instructions:
        # A student sees one image.
        query = (
            select(Instruction.id, Instruction.image_id)
            .where(cast(Instruction.further_images, Text) == "[]")
            .order_by(Instruction.id)
        )
        instruction_rows = _pairs(session, query, image_ids)
    return Corpus(
        triple_rows[:, 0], triple_rows[:, 1], instruction_rows[:, 0], instruction_rows[:, 1]
    )


def _pairs(session: Session, query: Select[Any, Any], image_ids: Ids) -> NDArray[np.int64]:
    """Return the rows (id, image id) of a query with one of these images, shape (rows, 2)."""
    result = session.execute(query, execution_options={"yield_per": _CHUNK})
    chunks = [np.array([tuple(row) for row in rows], np.int64) for rows in result.partitions()]
    pairs = np.concatenate([*chunks, np.zeros((0, 2), np.int64)])
    return pairs[np.isin(pairs[:, 1], image_ids)]


def check_images_exist(session: Session, image_ids: Ids) -> None:
    """NotFoundError if no image file exists, or the place of a source does not.

    Some missing images only cost their triples.
    """
    missing: list[str] = []
    present: dict[str, bool] = {}
    for start in range(0, len(image_ids), _CHUNK):
        chunk = [int(i) for i in image_ids[start : start + _CHUNK]]
        images = select(Source, Image.name).join(Source, Source.id == Image.source_id)
        for source, name in session.execute(images.where(Image.id.in_(chunk))):
            if not present.setdefault(source.root, is_present(source.root)):
                raise missing_place(source)
            if not exists(source.root, name):
                missing.append(f"{source.name}/{name}")
    if missing and len(missing) == len(image_ids):
        raise NotFoundError(
            f"all {len(missing)} images are missing, such as {missing[0]}",
            hint="restore them, or run `lskd sources list`",
        )


def accepted_and_rejected(
    session: Session, release: Release, part: Part
) -> tuple[list[int], list[int]]:
    """Return the ids of accepted and of rejected triples on the images of a part.

    The majority of votes decides; without votes, the release or its critic's score below the
    threshold.
    """
    of_part = (
        select(Triple.id).join(Split, Split.image_id == Triple.image_id).where(Split.part == part)
    )
    released = select(ReleaseTriple.triple_id).where(
        ReleaseTriple.release_id == release.id, ReleaseTriple.triple_id.in_(of_part)
    )
    below_threshold = select(Score.triple_id).where(
        Score.run_id == release.run_id,
        Score.triple_id.in_(of_part),
        Score.value < release.threshold,
    )
    labels = majority_labels(session, simulated=release.simulated, triple_ids=of_part)
    voted_accept = {i for i, label in labels.items() if label.accept}
    voted_reject = {i for i, label in labels.items() if not label.accept}
    accepted = (set(session.scalars(released)) | voted_accept) - voted_reject
    rejected = (set(session.scalars(below_threshold)) | voted_reject) - accepted
    return sorted(accepted), sorted(rejected)
