"""A tiny base model for a student, pretrained on the release: its images and its language."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import select
from sqlalchemy.orm import Session

from blip2.model import tiny
from blip2.model.mark_pretraining import pretrain_on_marks
from db.images import image_files
from db.schema import Image, Triple
from db.store import queries
from db.store.session import Store
from regions import references
from regions.errors import NotFoundError, UserError
from regions.marks import parse_style
from student.models import prompts
from student.settings import TrainSettings
from student.training.corpus import Corpus

_MAX_TRIPLES, _MAX_IMAGES = 5_000, 40
_TEXTS_PER_TRIPLE = 4
"""Each with other regions."""
_VISION_SHARE = 0.5
"""Share of the pretraining steps for the vision tower; the rest is for the language model."""


def tiny_base(
    store: Store,
    corpus: Corpus,
    settings: TrainSettings,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Any, Any]:
    """Return a pretrained model and its tokenizer; `settings.kind` decides what is pretrained."""
    rng = np.random.default_rng(settings.seed)
    with store.read() as session:
        triple_ids = rng.permutation(corpus.triple_ids)[:_MAX_TRIPLES]
        texts = pretraining_texts(session, sorted(triple_ids.tolist()), rng)
        image_ids = rng.permutation(np.unique(corpus.image_ids))[:_MAX_IMAGES]
        records = [session.get_one(Image, int(i)) for i in sorted(image_ids.tolist())]
        images = _readable_thumbnails(records)
    tokenizer = tiny.train_tokenizer(texts)
    is_generative = settings.kind == "generative"
    make_model = tiny.tiny_instructblip if is_generative else tiny.tiny_retrieval
    model = make_model(tokenizer, seed=settings.seed)
    vision_steps = round(settings.base_steps * _VISION_SHARE)
    pretrain_on_marks(
        model.vision_model,
        images,
        steps=vision_steps,
        seed=settings.seed,
        style=parse_style(settings.style),
        progress=progress,
    )
    if is_generative:
        tiny.pretrain_language_model(
            model,
            tokenizer,
            texts,
            steps=settings.base_steps - vision_steps,
            seed=settings.seed,
            progress=lambda step: progress(vision_steps + step),
        )
    return model, tokenizer


def pretraining_texts(
    session: Session, triple_ids: list[int], rng: np.random.Generator
) -> list[str]:
    """Return texts that teach a tiny language model to use what precedes a prompt.

    Where the Q-Former's outputs will be, each text has the labels of the regions that its triple
    mentions, like the verbalizations that LSKD's teacher reads.
    """
    query = select(Triple).where(Triple.id.in_(triple_ids)).order_by(Triple.id)
    rows = session.scalars(query).all()
    regions = queries.regions_by_image(session, {row.image_id for row in rows})
    labels = {i: {region.number: region.label for region in r} for i, r in regions.items()}
    texts = []
    for row in (row for row in rows for _ in range(_TEXTS_PER_TRIPLE)):
        triple = row.question, row.answer, row.rationale
        mentioned = references.mentioned(" ".join(triple))
        order = rng.permutation(row.visible_regions)
        shown = order[: rng.integers(1, len(order) + 1)].tolist()
        shown += [n for n in mentioned if n not in shown]
        mapping = {old: new for new, old in enumerate(shown)}
        context = ", ".join(f"[{mapping[n]}] {labels[row.image_id][n]}" for n in mentioned)
        question, answer, rationale = (references.renumber(text, mapping) for text in triple)
        prompt = prompts.answer_prompt(len(shown), question)
        texts.append(f"{context}. {prompt}{prompts.answer_target(answer, rationale)}")
    return texts


def _readable_thumbnails(records: Sequence[Image]) -> list[Pillow.Image]:
    """Return the images that can be read; NotFoundError if there is none."""
    images, error = [], None
    for record in records:
        try:
            images.append(_thumbnail(record))
        except UserError as unreadable:
            error = unreadable
    if not images:
        raise NotFoundError(f"no image of the training triples can be read: {error}")
    return images


def _thumbnail(image: Image) -> Pillow.Image:
    decoded = image_files.load(image)
    decoded.thumbnail((4 * tiny.IMAGE_SIZE, 4 * tiny.IMAGE_SIZE))
    return decoded
