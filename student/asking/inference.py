"""Asking a trained student about regions of a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from PIL.Image import Image

from db.schema import Run
from db.store import runs
from db.store.session import Store
from regions import references
from regions.errors import InvalidError
from regions.geometry import Region
from student.asking.confidence import UNSURE, Confidence
from student.models import registry
from student.models.protocol import Answer, Ask, Listener, Student, Turn

CANNOT_TELL = "I can't tell."


@dataclass(frozen=True, slots=True)
class Ready:
    """A student that answers, and how sure it may be."""

    student: Student
    confidence: Confidence | None


Loader = Callable[[Run, Path], Ready]


def ready(run: Run, folder: Path) -> Ready:
    """The student that a run trained, loaded once."""
    del run
    return _loaded(folder)


def ask(
    store: Store,
    image: Image,
    regions: Sequence[Region],
    question: str | None = None,
    *,
    turns: Sequence[Turn] = (),
    run_name: str | None = None,
    unsure: float = UNSURE,
    listener: Listener | None = None,
    loader: Loader = ready,
) -> Answer:
    """What the student of a run (None: the newest) says about `regions`, in their own numbers.

    With no question it asks itself one. `turns` were said before. `listener` gets the answer as it
    is written. Where its confidence is below `unsure` the answer is `CANNOT_TELL`, and what it
    would have said is the rationale. UserError without a region, and for a question that names a
    region which is not among them.
    """
    if not regions:
        raise InvalidError("no region to ask about", hint="click one, or draw one")
    numbers = [region.number for region in regions]
    if question and (reason := references.check(question, numbers)):
        raise InvalidError(f"the question {reason}")
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    found = loader(run, runs.folder(store, run.name) / "student")
    back = dict(enumerate(numbers))
    said = [text for turn in turns for text in turn]
    texts = [question or "", *(references.drop_other_references(text, numbers) for text in said)]
    view = found.student.look(image, regions, texts, numbers)
    before = tuple(zip(view.texts[1::2], view.texts[2::2], strict=True))
    asked = Ask(view, view.texts[0] or None, before)
    told = (lambda text: listener(_renumbered(text, back))) if listener else None
    answer = found.student.answer(asked, told)
    if found.confidence and found.confidence.tells and answer.answer:
        (score,) = found.student.rank([replace(asked, question=answer.question)], [[answer.answer]])
        answer = replace(answer, confidence=found.confidence.of(float(score[0])))
    answer = replace(
        answer,
        question=_renumbered(answer.question, back),
        answer=_renumbered(answer.answer, back),
        rationale=_renumbered(answer.rationale, back),
    )
    return _honest(answer, unsure)


def _honest(answer: Answer, unsure: float) -> Answer:
    if answer.confidence is None or answer.confidence >= unsure:
        return answer
    return replace(answer, answer=CANNOT_TELL, rationale=answer.answer)


def _renumbered(text: str, back: dict[int, int]) -> str:
    """The text in the caller's numbers; a reference to nothing shown loses its brackets."""
    return references.renumber(references.drop_other_references(text, back), back)


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> Ready:
    return Ready(registry.load(folder), Confidence.load(folder))
