"""Triples of the store as examples for a critic, some thousand at a time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from critic.models.protocol import Example, Surroundings
from db.images import image_files
from db.schema import Image, Judgement, Run, Score, Triple
from db.store import queries
from regions import references
from regions.errors import UserError

CHUNK = 5_000


def examples(
    session: Session,
    triple_ids: Collection[int] | None = None,
    *,
    of: Mapping[str, int] | None = None,
    size: int = CHUNK,
) -> Iterator[tuple[list[int], list[Example]]]:
    """Ids and examples in chunks, ordered by image; all triples, or those of `triple_ids`.

    `of` are runs, by name, whose scores or judgements each example brings along; UserError for a
    triple that one of them says nothing of.
    """
    query = select(Triple.id, Triple.image_id).order_by(Triple.image_id, Triple.id)
    places = session.execute(query).all()
    wanted = [i for i, _ in places if triple_ids is None or i in triple_ids]
    for start in range(0, len(wanted), size):
        yield chunk(session, wanted[start : start + size], of or {})


def sources(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Runs that say something of triples, by name; UserError for one that does not."""
    query = select(Run.name, Run.id).where(
        Run.name.in_(names), Run.kind.in_(["critic", "generate"])
    )
    found = dict(session.execute(query).all())
    if lost := [name for name in names if name not in found]:
        raise UserError(f"no run named {lost[0]!r}", hint="see `lskd status`")
    return {name: found[name] for name in names}


def chunk(
    session: Session, ids: Sequence[int], of: Mapping[str, int]
) -> tuple[list[int], list[Example]]:
    """Some triples as examples, ordered by image; see `examples`."""
    rows = session.execute(
        select(
            Triple.id,
            Triple.image_id,
            Triple.question,
            Triple.answer,
            Triple.rationale,
            Triple.visible_regions,
        )
        .where(Triple.id.in_(ids))
        .order_by(Triple.image_id, Triple.id)
    ).all()
    images = surroundings(session, {row.image_id for row in rows})
    said = [(name, _said(session, run_id, ids)) for name, run_id in of.items()]
    for name, found in said:
        if lost := next((i for i in ids if i not in found), None):
            raise UserError(
                f"{name} says nothing of triple {lost}",
                hint=f"`lskd critic score --run {name}`, or let its judge read on",
            )
    return [row.id for row in rows], [
        Example(
            row.image_id,
            row.question,
            row.answer,
            row.rationale,
            tuple(row.visible_regions),
            images[row.image_id],
            tuple(found[row.id] for _, found in said),
        )
        for row in rows
    ]


def _said(session: Session, run_id: int, ids: Sequence[int]) -> dict[int, float]:
    """What a run says of triples: a critic's scores, or a language model's judgements."""
    scores = select(Score.triple_id, Score.value).where(
        Score.run_id == run_id, Score.triple_id.in_(ids)
    )
    # A judge that was asked again, about more triples, is the same judge: its last word counts.
    judge = select(Judgement.model, Judgement.prompt_version).where(Judgement.run_id == run_id)
    judgements = (
        select(Judgement.triple_id, Judgement.value)
        .where(
            Judgement.triple_id.in_(ids),
            tuple_(Judgement.model, Judgement.prompt_version).in_(judge.distinct()),
        )
        .order_by(Judgement.id)
    )
    return {row[0]: row[1] for query in (scores, judgements) for row in session.execute(query)}


def surroundings(session: Session, image_ids: Collection[int]) -> dict[int, Surroundings]:
    """What is known of each image. A question about a region counts as a text about it."""
    images = session.scalars(select(Image).where(Image.id.in_(image_ids))).all()
    regions = queries.regions_by_image(session, image_ids)
    texts = queries.verbalizations_by_image(session, image_ids)
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
            partial(image_files.load, image),
        )
    return found
