"""A tiny base for a student, made here out of what it will learn from: it sees marks, and reads."""

from collections.abc import Callable
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
from regions.marks import parse_style
from student.models import prompts
from student.settings import TrainSettings
from student.training.corpus import Corpus

_TRIPLES, _PICTURES = 5_000, 40
"""Of a corpus, at most."""
_TELLINGS = 4
"""How often a triple is told, each time with other regions."""
SEEING = 0.5
"""Share of the steps that go to seeing; the rest goes to reading, for a student that writes."""


def tiny_base(
    store: Store,
    corpus: Corpus,
    settings: TrainSettings,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Any, Any]:
    """A model and its tokenizer; a student that writes has a language model that has read."""
    rng = np.random.default_rng(settings.seed)
    with store.read() as session:
        chosen = rng.permutation(corpus.triples)[:_TRIPLES]
        texts = tellings(session, sorted(chosen.tolist()), rng)
        images = rng.permutation(np.unique(corpus.images))[:_PICTURES]
        seen = [_picture(session.get_one(Image, int(i))) for i in sorted(images.tolist())]
    tokenizer = tiny.train_tokenizer(texts)
    looking = round(settings.base_steps * SEEING)
    made = tiny.tiny_instructblip if settings.kind == "generative" else tiny.tiny_retrieval
    model = made(tokenizer, seed=settings.seed)
    pretrain_on_marks(
        model.vision_model,
        seen,
        steps=looking,
        seed=settings.seed,
        style=parse_style(settings.style),
        progress=progress,
    )
    if settings.kind == "generative":
        tiny.pretrain_language_model(
            model,
            tokenizer,
            texts,
            steps=settings.base_steps - looking,
            seed=settings.seed,
            progress=lambda step: progress(looking + step),
        )
    return model, tokenizer


def tellings(session: Session, triples: list[int], rng: np.random.Generator) -> list[str]:
    """Texts from which a tiny language model learns the language, and to go by what it is told.

    Each triple stands behind words about its picture, in the place where the Q-Former will speak:
    the labels of the regions it is about, as LSKD's teacher reads verbalizations, not pixels.
    """
    rows = session.scalars(select(Triple).where(Triple.id.in_(triples)).order_by(Triple.id)).all()
    regions = queries.regions_by_image(session, {row.image_id for row in rows})
    labels = {i: {region.number: region.label for region in r} for i, r in regions.items()}
    texts = []
    for row in (row for row in rows for _ in range(_TELLINGS)):
        about = labels[row.image_id]
        said = row.question, row.answer, row.rationale
        pointed = references.mentioned(" ".join(said))
        order = rng.permutation(row.visible_regions)
        shown = order[: rng.integers(1, len(order) + 1)].tolist()
        shown += [n for n in pointed if n not in shown]
        mapping = {old: new for new, old in enumerate(shown)}
        told = ", ".join(f"[{mapping[n]}] {about[n]}" for n in pointed)
        question, answer, why = (references.renumber(text, mapping) for text in said)
        texts.append(
            f"{told}. {prompts.answering(len(shown), question)}{prompts.said(answer, why)}"
        )
    return texts


def _picture(image: Image) -> Pillow.Image:
    found = image_files.load(image)
    found.thumbnail((4 * tiny.IMAGE_SIZE, 4 * tiny.IMAGE_SIZE))
    return found
