"""From ids to batches: regions chosen and shuffled, a picture drawn once for all that share it.

Everything is drawn from the seed, the round and the triple alone: a run that was stopped goes on
with the very same batches, and so do several processes with their shares of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from sqlalchemy import select

from blip2.training import distributed
from db.images import image_files
from db.parallel.prefetch import prefetch
from db.schema import Image, Instruction, Triple
from db.store import queries
from db.store.session import Store
from regions import references
from regions.geometry import Region
from regions.view import choose_visible
from student.models.protocol import Lesson, Scene, Student
from student.settings import TrainSettings
from student.training.corpus import Corpus

THREADS, AHEAD = 2, 6
"""In which batches are drawn, and how many before they are needed."""
_ASKS = 1 / 3
"""How often the question is to be learned too, so that a student can ask itself."""
_KEPT_PIXELS = 100_000_000
"""Of decoded pictures in memory: a small project's are decoded once."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What is learned about one image at a time: some triples, or an instruction."""

    image_id: int
    triples: NDArray[np.int64]
    instruction: int | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A picture that is to be drawn: its regions in order, and what is said about it."""

    image_id: int
    shown: tuple[int, ...]
    lessons: tuple[Lesson, ...]
    """In the image's own numbers."""


class StoreLessons:
    """Batches of a corpus for one student; it satisfies `student.models.protocol.Lessons`."""

    def __init__(
        self, store: Store, student: Student, corpus: Corpus, settings: TrainSettings
    ) -> None:
        self._store, self._student, self._corpus = store, student, corpus
        self._settings = settings
        self._pictures: dict[int, Pillow.Image] = {}
        self._lock = Lock()

    def batches(self, first: int, last: int) -> Iterator[tuple[list[Scene], int]]:
        """The batches of steps `first` to `last` - 1: this process's scenes, everybody's lessons.

        Rounds over the corpus follow one another without end. Pictures are drawn ahead.
        """
        calls = (partial(self._batch, groups, epoch) for epoch, groups in self._cut(first, last))
        yield from prefetch(calls, threads=THREADS, limit=AHEAD)

    def plain(self, triples: Sequence[int]) -> list[Scene]:
        """Triples as they stand, all shown regions drawn, those with one picture together."""
        rows = self._rows(triples)
        found: defaultdict[tuple[int, tuple[int, ...]], list[Lesson]] = defaultdict(list)
        for row in (rows[int(i)] for i in triples):
            said = Lesson(row.id, row.question, row.answer, row.rationale)
            found[row.image_id, tuple(row.visible_regions)].append(said)
        return self._drawn([_Plan(*key, tuple(lessons)) for key, lessons in found.items()])

    def _cut(self, first: int, last: int) -> Iterator[tuple[int, list[_Group]]]:
        """The round and the groups of each step."""
        step, epoch = 0, 0
        while step < last:
            for groups in self._round(epoch):
                if step >= last:
                    return
                if step >= first:
                    yield epoch, groups
                step += 1
            epoch += 1

    def _round(self, epoch: int) -> Iterator[list[_Group]]:
        """Each triple once, some of one image together; instructions among them."""
        rng = np.random.default_rng([self._settings.seed, epoch])
        corpus, settings = self._corpus, self._settings
        order = np.lexsort((rng.random(len(corpus)), corpus.images))
        images = corpus.images[order]
        edges = np.flatnonzero(np.diff(images)) + 1
        groups = [
            _Group(
                int(images[start]), corpus.triples[order[cut : min(cut + settings.together, end)]]
            )
            for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(order)], strict=True)
            for cut in range(start, end, settings.together)
        ]
        groups += self._told(rng, len(groups))
        batch: list[_Group] = []
        for n in rng.permutation(len(groups)):
            batch.append(groups[n])
            if sum(max(1, len(group.triples)) for group in batch) >= settings.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _told(self, rng: np.random.Generator, pictures_: int) -> list[_Group]:
        share, many = self._settings.instructions, len(self._corpus.instructions)
        if not share or not many:
            return []
        # What is left over is drawn, so that small rounds keep the share too.
        count = int(pictures_ * share / (1 - share) + rng.random())
        chosen = [n for _ in range(-(-count // many)) for n in rng.permutation(many)][:count]
        none = np.zeros(0, np.int64)
        return [
            _Group(int(self._corpus.instruction_images[n]), none, int(self._corpus.instructions[n]))
            for n in chosen
        ]

    def _batch(self, groups: Sequence[_Group], epoch: int) -> tuple[list[Scene], int]:
        rows = self._rows([int(i) for group in groups for i in group.triples])
        told = self._instructions([g.instruction for g in groups if g.instruction is not None])
        plans: list[_Plan] = []
        for group in groups:
            if group.instruction is not None:
                plans.append(_instructed(told[group.instruction]))
            else:
                plans += self._planned([rows[int(i)] for i in group.triples], epoch)
        # Nobody may wait for one who has nothing to do.
        plans += plans[:1] * (distributed.world_size() - len(plans))
        count = sum(len(plan.lessons) for plan in plans)
        return self._drawn(plans[distributed.rank() :: distributed.world_size()]), count

    def _planned(self, rows: Sequence[Triple], epoch: int) -> list[_Plan]:
        """The paper's augmentation, once for triples of one image (LSKD, section 3).

        Their own regions or all that were shown, shuffled; what is drawn alike is drawn once.
        """
        settings = self._settings
        rng = np.random.default_rng([settings.seed, epoch, rows[0].id])
        own = rng.random() < settings.own
        alike: defaultdict[tuple[int, ...], list[Lesson]] = defaultdict(list)
        for row in rows:
            asks, why = rng.random() < _ASKS, rng.random() < settings.rationale
            said = Lesson(row.id, row.question, row.answer, row.rationale if why else "", asks=asks)
            texts = f"{said.question} {said.answer} {said.rationale}"
            mentioned = tuple(sorted(references.mentioned(texts)))
            alike[mentioned if own and mentioned else tuple(row.visible_regions)].append(said)
        return [
            _Plan(
                rows[0].image_id,
                tuple(choose_visible(shown, shown, p_mentioned=1.0, rng=rng)),
                tuple(lessons),
            )
            for shown, lessons in alike.items()
        ]

    def _rows(self, ids: Sequence[int]) -> dict[int, Triple]:
        with self._store.read() as session:
            found = session.scalars(select(Triple).where(Triple.id.in_([int(i) for i in ids])))
            return {row.id: row for row in found}

    def _instructions(self, ids: Sequence[int]) -> dict[int, Instruction]:
        if not ids:
            return {}
        with self._store.read() as session:
            found = session.scalars(select(Instruction).where(Instruction.id.in_(ids)))
            return {row.id: row for row in found}

    def _drawn(self, plans: Sequence[_Plan]) -> list[Scene]:
        images = self._images([plan.image_id for plan in plans])
        return [self._scene(plan, images) for plan in plans]

    def _images(self, ids: Sequence[int]) -> dict[int, tuple[Image, list[Region]]]:
        with self._store.read() as session:
            found = session.scalars(select(Image).where(Image.id.in_(set(ids)))).all()
            regions = queries.regions_by_image(session, [image.id for image in found])
        return {image.id: (image, regions[image.id]) for image in found}

    def _scene(self, plan: _Plan, images: dict[int, tuple[Image, list[Region]]]) -> Scene:
        """The texts follow the drawing: each `[n]` is the mark numbered n."""
        texts = [t for one in plan.lessons for t in (one.question, one.answer, one.rationale)]
        image, regions = images[plan.image_id]
        seen = self._student.look(self._picture(image), regions, texts, plan.shown)
        lessons = []
        for n, one in enumerate(plan.lessons):
            question, answer, why = seen.texts[3 * n : 3 * n + 3]
            numbers = references.mentioned(f"{question} {answer} {why}")
            about = frozenset((number, plan.shown[number]) for number in numbers)
            lessons.append(
                replace(one, question=question, answer=answer, rationale=why, about=about)
            )
        return Scene(plan.image_id, seen, plan.shown, tuple(lessons))

    def _picture(self, image: Image) -> Pillow.Image:
        with self._lock:
            kept = self._pictures.get(image.id)
        if kept is not None:
            return kept
        found = image_files.load(image)
        with self._lock:
            held = sum(one.width * one.height for one in self._pictures.values())
            if held + found.width * found.height <= _KEPT_PIXELS:
                self._pictures[image.id] = found
        return found


def _instructed(told: Instruction) -> _Plan:
    """A conversation about a whole picture: each answer is learned after what was said before.

    Nothing is marked on the picture: brackets are no references.
    """
    turns = [
        (references.drop_other_references(q, ()), references.drop_other_references(a, ()))
        for q, a in told.turns
    ]
    lessons = tuple(
        Lesson(-told.id, question, answer, turns=tuple(turns[:n]))
        for n, (question, answer) in enumerate(turns)
    )
    return _Plan(told.image_id, (), lessons)
