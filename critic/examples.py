"""Triples of the store as examples for a critic, some thousand at a time."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from critic.protocol import Example, Surroundings
from db import pictures, records
from db.schema import Image, Triple
from regions import references

CHUNK = 5_000


def examples(
    session: Session, triple_ids: Collection[int] | None = None
) -> Iterator[tuple[list[int], list[Example]]]:
    """Ids and examples in chunks, ordered by image; all triples, or those of `triple_ids`."""
    query = select(Triple.id, Triple.image_id).order_by(Triple.image_id, Triple.id)
    places = session.execute(query).all()
    wanted = [i for i, _ in places if triple_ids is None or i in triple_ids]
    for start in range(0, len(wanted), CHUNK):
        yield _chunk(session, wanted[start : start + CHUNK])


def _chunk(session: Session, ids: Sequence[int]) -> tuple[list[int], list[Example]]:
    rows = session.execute(
        select(
            Triple.id,
            Triple.image_id,
            Triple.question,
            Triple.answer,
            Triple.rationale,
            Triple.shown,
        )
        .where(Triple.id.in_(ids))
        .order_by(Triple.image_id, Triple.id)
    ).all()
    images = surroundings(session, {row.image_id for row in rows})
    return [row.id for row in rows], [
        Example(
            row.image_id,
            row.question,
            row.answer,
            row.rationale,
            tuple(row.shown),
            images[row.image_id],
        )
        for row in rows
    ]


def surroundings(session: Session, image_ids: Collection[int]) -> dict[int, Surroundings]:
    """What is known of each image. A question about a region counts as a text about it."""
    images = session.scalars(select(Image).where(Image.id.in_(image_ids))).all()
    regions = records.regions_of(session, image_ids)
    texts = records.verbalizations_of(session, image_ids)
    found = {}
    for image in images:
        about = {region.number: region.label for region in regions[image.id]}
        scene = []
        for said in texts[image.id]:
            words = f"{said.text} {said.answer}"
            number = said.region_number
            if number is None:
                number = next(iter(references.mentioned(said.text)), None)
            if number in about:
                about[number] += " " + words
            else:
                scene.append(words)
        found[image.id] = Surroundings(
            (image.width, image.height),
            {r.number: r for r in regions[image.id]},
            " ".join(scene),
            about,
            partial(pictures.load, image),
        )
    return found
