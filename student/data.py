"""From a release to lessons: regions chosen and shuffled, marks drawn at the student's size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image as Pillow
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import pictures, records, runs
from db.schema import Image, Part, Release, ReleaseTriple, Triple
from db.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from regions.view import View, choose_shown, view
from student import prompts
from student.protocol import Lesson

_KEPT_PICTURES = 2_000
"""Pictures kept in memory at the student's size."""

_TELLINGS = 4
"""How often a triple is told to a tiny language model, each time with other regions."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A triple that a release kept: its image, and what it says."""

    image_id: int
    texts: tuple[str, str, str]
    shown: tuple[int, ...]


def kept(session: Session, release: str) -> dict[Part, list[Kept]]:
    """The triples of a release by the part of their image; UserError where there is none."""
    found = session.scalar(select(Release).where(Release.name == release))
    if found is None:
        raise UserError(f"no release named {release!r}", todo="see `lskd status`")
    parts = runs.split(session)
    by_part: dict[Part, list[Kept]] = {"train": [], "calibration": [], "test": []}
    triples = session.scalars(
        select(Triple)
        .join(ReleaseTriple, ReleaseTriple.triple_id == Triple.id)
        .where(ReleaseTriple.release_id == found.id)
        .order_by(Triple.id)
    )
    for triple in triples:
        texts = triple.question, triple.answer, triple.rationale
        by_part[parts[triple.image_id]].append(Kept(triple.image_id, texts, tuple(triple.shown)))
    return by_part


def corpus(session: Session, triples: Sequence[Kept], rng: np.random.Generator) -> list[str]:
    """Texts from which a tiny language model learns the language, and to go by what it is told.

    Each triple stands behind words about its picture, in the place where the Q-Former will speak:
    the labels of some of its regions, as LSKD's teacher reads verbalizations in place of pixels.
    """
    regions = records.regions_of(session, {triple.image_id for triple in triples})
    labels = {i: {region.number: region.label for region in r} for i, r in regions.items()}
    texts = []
    for triple in (triple for triple in triples for _ in range(_TELLINGS)):
        about = labels[triple.image_id]
        order = rng.permutation(triple.shown)
        shown = order[: rng.integers(1, len(order) + 1)].tolist()
        missing = [n for n in references.mentioned(" ".join(triple.texts)) if n not in shown]
        shown += missing
        mapping = {old: new for new, old in enumerate(shown)}
        told = ", ".join(f"[{mapping[n]}] {about[n]}" for n in shown)
        parts = [references.renumber(text, mapping) for text in triple.texts]
        texts.append(f"{told}. {prompts.whole(len(shown), *parts)}")
    return texts


class Lessons:
    """Makes lessons out of kept triples; pictures are decoded and resized once."""

    def __init__(self, store: Store, size: tuple[int, int]) -> None:
        self.store, self.size = store, size
        self._seen = lru_cache(_KEPT_PICTURES)(self._open)

    def batches(
        self,
        triples: Sequence[Kept],
        *,
        batch: int,
        own: float,
        rationale: float,
        rng: np.random.Generator,
    ) -> Iterator[list[Lesson]]:
        """Endless batches, each triple once a round."""
        while True:
            order = rng.permutation(len(triples))
            for start in range(0, len(order), batch):
                chosen = (triples[i] for i in order[start : start + batch])
                yield [self.lesson(t, own=own, rationale=rationale, rng=rng) for t in chosen]

    def lesson(
        self, triple: Kept, *, own: float, rationale: float, rng: np.random.Generator
    ) -> Lesson:
        """A triple with its own regions or all that were shown, numbered in the drawn order.

        A third of the lessons ask for the question too, so that the student can ask itself.
        """
        mentioned = references.mentioned(" ".join(triple.texts))
        shown = choose_shown(mentioned, triple.shown, own=own, rng=rng)
        seen = self.view(triple, shown)
        question, answer, why = seen.texts
        target = prompts.said(answer, why if rng.random() < rationale else None)
        if rng.random() < 1 / 3:
            target = f" {question} Answer:{target}"
            return Lesson(seen.image, prompts.asking(len(shown)), target)
        return Lesson(seen.image, prompts.answering(len(shown), question), target)

    def plain(self, triple: Kept, *, of: int | None = None) -> Lesson:
        """A triple as it stands; `of` shows the picture of another image in place of its own."""
        seen = self.view(triple, list(triple.shown))
        question, answer, why = seen.texts
        picture = seen.image if of is None else self._seen(of)[0]
        prompt = prompts.answering(len(triple.shown), question)
        return Lesson(picture, prompt, prompts.said(answer, why))

    def view(self, triple: Kept, shown: list[int]) -> View:
        """The picture and texts of a triple with the regions `shown`."""
        picture, regions = self._seen(triple.image_id)
        return view(picture, regions, triple.texts, shown=shown)

    def _open(self, image_id: int) -> tuple[Pillow.Image, list[Region]]:
        """A picture at the student's size, without marks, and its regions in those pixels."""
        with self.store.read() as session:
            image = session.get_one(Image, image_id)
            regions = records.regions_of(session, [image_id])[image_id]
            picture = pictures.load(image)
        sx, sy = self.size[0] / picture.width, self.size[1] / picture.height
        resized = picture.resize(self.size, Pillow.Resampling.BICUBIC)
        return resized, [region.scaled(sx, sy) for region in regions]
