"""Batches of rendered images: regions are chosen and shuffled, and each drawing is made once.

Everything random depends only on the seed, the epoch and the triple. A resumed run gets the same
batches, and so do the processes of a distributed run, with their shares of them.
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
from db.formats.llava import without_image_token
from db.images import image_files
from db.parallel.prefetch import prefetch
from db.schema import Image, Instruction, Triple
from db.store import queries
from db.store.session import Store
from regions import references
from regions.errors import NotFoundError, UserError
from regions.geometry import Region
from regions.view import choose_visible
from student.models.protocol import Example, ImageExamples, Student
from student.settings import TrainSettings
from student.training.corpus import Corpus

_THREADS, _PREFETCHED = 2, 6
"""Threads that render batches, and batches that they render ahead."""
_P_QUESTION_TARGET = 1 / 3
"""How often the question is part of the target, so that students can generate questions."""
_SEARCHED_TRIPLES = 16
"""Triples that are tried at a time to find an image that can be read."""
_CACHED_PIXELS = 100_000_000
"""Decoded images kept in memory: those of a small project are decoded once."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Triples of one image that go into a batch together, or one instruction."""

    image_id: int
    triple_ids: NDArray[np.int64]
    instruction_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A rendering to be made, and its examples in the image's own numbers."""

    image_id: int
    visible_regions: tuple[int, ...]
    examples: tuple[Example, ...]


class BatchLoader:
    """Batches of a corpus for a student; implements `student.training.trainer.BatchSource`."""

    def __init__(
        self, store: Store, student: Student, corpus: Corpus, settings: TrainSettings
    ) -> None:
        self._store, self._student, self._corpus = store, student, corpus
        self._settings = settings
        self._images: dict[int, Pillow.Image] = {}
        self._lock = Lock()
        self._last_drawn: ImageExamples | None = None
        self.unreadable: dict[int, str] = {}
        """Errors of the images that could not be read, by id; their examples are left out."""

    def batches(self, start: int, stop: int) -> Iterator[tuple[list[ImageExamples], int]]:
        """Yield batches of steps `start` to `stop` - 1, over as many epochs as that takes.

        Each comes as this process's part of it, and the number of examples of all processes.
        """
        calls = (partial(self._render, groups, epoch) for epoch, groups in self._plan(start, stop))
        yield from prefetch(calls, threads=_THREADS, limit=_PREFETCHED)

    def fixed_examples(self, triple_ids: Sequence[int]) -> list[ImageExamples]:
        """Return triples without augmentation: all visible regions drawn, in their order.

        Triples whose image cannot be read are left out.
        """
        rows = self._triples(triple_ids)
        by_drawing: defaultdict[tuple[int, tuple[int, ...]], list[Example]] = defaultdict(list)
        for row in (rows[int(i)] for i in triple_ids):
            example = Example(row.id, row.question, row.answer, row.rationale)
            by_drawing[row.image_id, tuple(row.visible_regions)].append(example)
        return self._draw([_Drawing(*key, tuple(examples)) for key, examples in by_drawing.items()])

    def _plan(self, start: int, stop: int) -> Iterator[tuple[int, list[_Group]]]:
        """Yield the epoch and the groups of each step."""
        step, epoch = 0, 0
        while step < stop:
            for groups in self._epoch(epoch):
                if step >= stop:
                    return
                if step >= start:
                    yield epoch, groups
                step += 1
            epoch += 1

    def _epoch(self, epoch: int) -> Iterator[list[_Group]]:
        """Yield batches of an epoch: each triple once, instructions mixed in."""
        rng = np.random.default_rng([self._settings.seed, epoch])
        corpus, size = self._corpus, self._settings.triples_per_image
        order = np.lexsort((rng.random(len(corpus)), corpus.image_ids))
        image_ids = corpus.image_ids[order]
        edges = (np.flatnonzero(np.diff(image_ids)) + 1).tolist()
        groups = [
            _Group(int(image_ids[first]), corpus.triple_ids[order[cut : min(cut + size, last)]])
            for first, last in zip([0, *edges], [*edges, len(order)], strict=True)
            for cut in range(first, last, size)
        ]
        groups += self._sample_instructions(rng, len(groups))
        batch: list[_Group] = []
        for n in rng.permutation(len(groups)):
            batch.append(groups[n])
            if sum(max(1, len(group.triple_ids)) for group in batch) >= self._settings.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _sample_instructions(self, rng: np.random.Generator, n_groups: int) -> list[_Group]:
        """Instructions of an epoch, so that they are `instruction_share` of all groups."""
        corpus, share = self._corpus, self._settings.instruction_share
        total = len(corpus.instruction_ids)
        if not share or not total:
            return []
        # Rounding up at random keeps the share over many epochs, however small an epoch is.
        count = int(n_groups * share / (1 - share) + rng.random())
        rounds = -(-count // total)
        chosen = [n for _ in range(rounds) for n in rng.permutation(total)][:count]
        return [
            _Group(
                int(corpus.instruction_image_ids[n]),
                np.zeros(0, np.int64),
                int(corpus.instruction_ids[n]),
            )
            for n in chosen
        ]

    def _render(self, groups: Sequence[_Group], epoch: int) -> tuple[list[ImageExamples], int]:
        rows = self._triples([int(i) for group in groups for i in group.triple_ids])
        instruction_ids = [g.instruction_id for g in groups if g.instruction_id is not None]
        instructions = self._instructions(instruction_ids)
        drawings: list[_Drawing] = []
        for group in groups:
            if group.instruction_id is not None:
                drawings.append(_instruction_drawing(instructions[group.instruction_id]))
            else:
                drawings += self._augment([rows[int(i)] for i in group.triple_ids], epoch)
        # Every process needs a drawing: one without would let the others wait in all_reduce.
        drawings += drawings[:1] * (distributed.world_size() - len(drawings))
        count = sum(len(drawing.examples) for drawing in drawings)
        drawn = self._draw(drawings[distributed.rank() :: distributed.world_size()])
        if drawn:
            self._last_drawn = drawn[-1]
        else:
            drawn = [self._substitute(drawings)]
        if distributed.world_size() == 1:
            count = sum(len(group.examples) for group in drawn)
        return drawn, count

    def _substitute(self, drawings: Sequence[_Drawing]) -> ImageExamples:
        """Return examples for a batch of which this process can read no image."""
        others = self._draw(drawings)
        if not others and self._last_drawn is None:
            # The first batch: look for any image that can be read.
            for start in range(0, len(self._corpus), _SEARCHED_TRIPLES):
                ids = self._corpus.triple_ids[start : start + _SEARCHED_TRIPLES]
                if others := self.fixed_examples([int(i) for i in ids]):
                    break
        if others:
            self._last_drawn = others[0]
        if self._last_drawn is None:
            error = next(iter(self.unreadable.values()), "")
            raise NotFoundError(f"no image of the training triples can be read: {error}")
        return self._last_drawn

    def _augment(self, rows: Sequence[Triple], epoch: int) -> list[_Drawing]:
        """Apply the paper's augmentation to triples of one image (LSKD, section 3).

        Either the regions that a triple mentions or all visible ones are drawn, shuffled. Triples
        with the same regions share a drawing.
        """
        settings = self._settings
        rng = np.random.default_rng([settings.seed, epoch, rows[0].id])
        only_own = rng.random() < settings.p_own_regions
        by_regions: defaultdict[tuple[int, ...], list[Example]] = defaultdict(list)
        for row in rows:
            question_is_target = rng.random() < _P_QUESTION_TARGET
            rationale = row.rationale if rng.random() < settings.p_rationale else ""
            example = Example(
                row.id, row.question, row.answer, rationale, question_is_target=question_is_target
            )
            text = f"{row.question} {row.answer} {rationale}"
            own = tuple(sorted(references.mentioned(text)))
            by_regions[own if only_own and own else tuple(row.visible_regions)].append(example)
        return [
            _Drawing(
                rows[0].image_id,
                tuple(choose_visible(regions, regions, p_mentioned=1.0, rng=rng)),
                tuple(examples),
            )
            for regions, examples in by_regions.items()
        ]

    def _triples(self, ids: Sequence[int]) -> dict[int, Triple]:
        with self._store.read() as session:
            rows = session.scalars(select(Triple).where(Triple.id.in_([int(i) for i in ids])))
            return {row.id: row for row in rows}

    def _instructions(self, ids: Sequence[int]) -> dict[int, Instruction]:
        if not ids:
            return {}
        with self._store.read() as session:
            rows = session.scalars(select(Instruction).where(Instruction.id.in_(ids)))
            return {row.id: row for row in rows}

    def _draw(self, drawings: Sequence[_Drawing]) -> list[ImageExamples]:
        with self._store.read() as session:
            ids = {drawing.image_id for drawing in drawings}
            rows = session.scalars(select(Image).where(Image.id.in_(ids))).all()
            regions = queries.regions_by_image(session, [image.id for image in rows])
        images = {image.id: image for image in rows}
        drawn = []
        for drawing in drawings:
            image_id = drawing.image_id
            try:
                drawn.append(self._draw_one(drawing, images[image_id], regions[image_id]))
            except UserError as error:
                self.unreadable[image_id] = str(error)
        return drawn

    def _draw_one(
        self, drawing: _Drawing, image: Image, regions: Sequence[Region]
    ) -> ImageExamples:
        """Render a drawing, and renumber its texts: `[n]` becomes the mark numbered n."""
        texts = [t for e in drawing.examples for t in (e.question, e.answer, e.rationale)]
        view = self._student.make_view(
            self._load_image(image), regions, texts, drawing.visible_regions
        )
        examples = []
        for n, example in enumerate(drawing.examples):
            question, answer, rationale = view.texts[3 * n : 3 * n + 3]
            numbers = references.mentioned(f"{question} {answer} {rationale}")
            region_map = frozenset((number, drawing.visible_regions[number]) for number in numbers)
            examples.append(
                replace(
                    example,
                    question=question,
                    answer=answer,
                    rationale=rationale,
                    region_map=region_map,
                )
            )
        return ImageExamples(drawing.image_id, view, drawing.visible_regions, tuple(examples))

    def _load_image(self, image: Image) -> Pillow.Image:
        with self._lock:
            cached = self._images.get(image.id)
        if cached is not None:
            return cached
        decoded = image_files.load(image)
        with self._lock:
            pixels = sum(kept.width * kept.height for kept in self._images.values())
            if pixels + decoded.width * decoded.height <= _CACHED_PIXELS:
                self._images[image.id] = decoded
        return decoded


def _instruction_drawing(instruction: Instruction) -> _Drawing:
    """Return a conversation about an image without marks: one example for each of its turns.

    Nothing is marked, so brackets in its texts are no references.
    """
    turns = [
        (references.drop_other_references(q, ()), references.drop_other_references(a, ()))
        for q, a in without_image_token(instruction.turns)
    ]
    examples = tuple(
        Example(-instruction.id, question, answer, turns=tuple(turns[:n]))
        for n, (question, answer) in enumerate(turns)
    )
    return _Drawing(instruction.image_id, (), examples)
