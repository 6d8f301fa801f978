"""Asking a trained student about regions of a picture."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from PIL.Image import Image

from db import runs
from db.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from regions.view import view
from student.blip2 import Blip2Student
from student.protocol import Answer


def ask(
    store: Store,
    image: Image,
    regions: Sequence[Region],
    question: str | None = None,
    *,
    run_name: str | None = None,
) -> Answer:
    """What the student of a run (None: the newest) says about `regions`, in their own numbers.

    With no question it asks itself one. UserError without a region, and for a question that names
    a region which is not among them.
    """
    if not regions:
        raise UserError("no region to ask about", todo="click one, or draw one")
    numbers = [region.number for region in regions]
    if question and (reason := references.check(question, numbers)):
        raise UserError(f"the question {reason}")
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    student = _student(runs.folder(store, run.name))
    seen = view(image, regions, [question or ""], shown=numbers, size=student.size)
    found = student.answer(seen.image, len(numbers), seen.texts[0] or None)
    back = dict(enumerate(numbers))
    return Answer(
        _renumbered(found.question, back),
        _renumbered(found.answer, back),
        _renumbered(found.rationale, back),
        found.seconds,
    )


def _renumbered(text: str, back: dict[int, int]) -> str:
    """The text in the caller's numbers; a reference to nothing shown loses its brackets."""
    parts = references.parse(text)
    known = [part if isinstance(part, str) or part in back else str(part) for part in parts]
    return references.render(back[part] if isinstance(part, int) else part for part in known)


@lru_cache(maxsize=2)
def _student(folder: Path) -> Blip2Student:
    return Blip2Student.load(folder)
