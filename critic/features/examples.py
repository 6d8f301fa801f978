"""Triples of the store as a critic's examples, loaded in chunks ordered by image."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from critic.protocol import Example, ImageContext
from db.images import image_files
from db.schema import Image, Judgement, Run, Score, Triple, Verbalization
from db.store import queries
from regions import references
from regions.errors import ConflictError
from regions.geometry import Region

CHUNK_SIZE = 5_000


def iter_examples(
    session: Session,
    triple_ids: Collection[int] | None = None,
    *,
    score_sources: Mapping[str, int] | None = None,
    chunk_size: int = CHUNK_SIZE,
) -> Iterator[tuple[list[int], list[Example]]]:
    """Ids and examples in chunks, ordered by image; of `triple_ids`, or of all triples.

    `score_sources` maps names of runs to their ids; their scores become `extra_features`.
    ConflictError for a triple that one of them has not scored.
    """
    ordered = session.scalars(select(Triple.id).order_by(Triple.image_id, Triple.id))
    ids = [i for i in ordered if triple_ids is None or i in triple_ids]
    for start in range(0, len(ids), chunk_size):
        yield load_examples(session, ids[start : start + chunk_size], score_sources or {})


def run_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Ids of runs that score or judge triples, by name; NotFoundError for an unknown one."""
    scores = Run.kind.in_(["critic", "generate"])
    return {name: queries.by_name(session, Run, name, scores).id for name in names}


def load_examples(
    session: Session, ids: Sequence[int], score_sources: Mapping[str, int]
) -> tuple[list[int], list[Example]]:
    """The triples `ids` as examples, ordered by image; see `iter_examples`."""
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
    images = image_contexts(session, {row.image_id for row in rows})
    scores = [_scores_of(session, name, score_sources[name], ids) for name in score_sources]
    return [row.id for row in rows], [
        Example(
            row.image_id,
            row.question,
            row.answer,
            row.rationale,
            tuple(row.visible_regions),
            images[row.image_id],
            tuple(by_triple[row.id] for by_triple in scores),
        )
        for row in rows
    ]


def _scores_of(session: Session, name: str, run_id: int, ids: Sequence[int]) -> dict[int, float]:
    """Scores of a critic's run, or judgements of a language model's run, by triple."""
    scores = select(Score.triple_id, Score.value).where(
        Score.run_id == run_id, Score.triple_id.in_(ids)
    )
    # Runs of the same model and prompt are the same judge; its latest judgement counts.
    judge = select(Judgement.model, Judgement.prompt_version).where(Judgement.run_id == run_id)
    judgements = (
        select(Judgement.triple_id, Judgement.value)
        .where(
            Judgement.triple_id.in_(ids),
            tuple_(Judgement.model, Judgement.prompt_version).in_(judge.distinct()),
        )
        .order_by(Judgement.id)
    )
    by_triple = {row[0]: row[1] for query in (scores, judgements) for row in session.execute(query)}
    missing = next((i for i in ids if i not in by_triple), None)
    if missing is not None:
        raise ConflictError(
            f"{name} has no score for triple {missing}",
            hint=f"run `lskd critic score --run {name}`, or `lskd generate judge` again",
        )
    return by_triple


def image_contexts(session: Session, image_ids: Collection[int]) -> dict[int, ImageContext]:
    """Images with their regions and texts, by id."""
    images = session.scalars(select(Image).where(Image.id.in_(image_ids))).all()
    regions = queries.regions_by_image(session, image_ids)
    verbalizations = queries.verbalizations_by_image(session, image_ids)
    return {
        image.id: _image_context(image, regions[image.id], verbalizations[image.id])
        for image in images
    }


def _image_context(
    image: Image, regions: Sequence[Region], verbalizations: Sequence[Verbalization]
) -> ImageContext:
    """A question counts as a text about the first region that it mentions."""
    region_texts = {region.number: region.label for region in regions}
    image_texts = []
    for verbalization in verbalizations:
        text = f"{verbalization.text} {verbalization.answer}"
        number = verbalization.region_number
        if number is None:
            number = next(iter(references.mentioned(verbalization.text)), None)
        if number in region_texts:
            region_texts[number] += " " + text
        else:
            image_texts.append(text)
    return ImageContext(
        (image.width, image.height),
        {region.number: region for region in regions},
        " ".join(image_texts),
        region_texts,
        partial(image_files.load, image),
    )
