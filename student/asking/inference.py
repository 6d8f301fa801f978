"""Asking a student about regions of an image."""

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
from student.asking.confidence import MIN_CONFIDENCE, Confidence
from student.models import registry
from student.models.protocol import Answer, OnText, Query, Student, Turn

CANNOT_TELL = "I can't tell."


@dataclass(frozen=True, slots=True)
class LoadedStudent:
    """A student, and its calibration if it has one."""

    student: Student
    confidence: Confidence | None


StudentLoader = Callable[[Run, Path], LoadedStudent]
"""Loads a run's student from its folder."""


def load_student(run: Run, folder: Path) -> LoadedStudent:
    """Return the trained student in a folder; the last two are kept in memory."""
    del run
    return _load_cached(folder)


def ask(
    store: Store,
    image: Image,
    regions: Sequence[Region],
    question: str | None = None,
    *,
    turns: Sequence[Turn] = (),
    run_name: str | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    on_text: OnText | None = None,
    loader: StudentLoader = load_student,
) -> Answer:
    """Ask a run's student (None: the newest run) about `regions`, in their own numbers.

    Without a question the student generates one. `turns` are earlier turns of the conversation;
    `on_text` receives the answer while it is generated. With a confidence below `min_confidence`
    the answer is `CANNOT_TELL`, and the withheld answer becomes the rationale. InvalidError
    without regions, and for a question that refers to a region not among them.
    """
    if not regions:
        raise InvalidError("no region to ask about", hint="click one, or draw one")
    numbers = [region.number for region in regions]
    if question and (reason := references.check(question, numbers)):
        raise InvalidError(f"the question {reason}")
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
    loaded = loader(run, registry.student_folder(runs.folder(store, run.name)))
    student, calibration = loaded.student, loaded.confidence
    to_caller = dict(enumerate(numbers))
    history = [text for turn in turns for text in turn]
    texts = [question or "", *(references.drop_other_references(text, numbers) for text in history)]
    view = student.make_view(image, regions, texts, numbers)
    previous = tuple(zip(view.texts[1::2], view.texts[2::2], strict=True))
    query = Query(view, view.texts[0] or None, previous)
    stream = (lambda text: on_text(_renumber(text, to_caller))) if on_text else None
    answer = student.answer(query, stream)
    if calibration and calibration.is_informative and answer.answer:
        (scores,) = student.rank([replace(query, question=answer.question)], [[answer.answer]])
        answer = replace(answer, confidence=calibration.probability(float(scores[0])))
    answer = replace(
        answer,
        question=_renumber(answer.question, to_caller),
        answer=_renumber(answer.answer, to_caller),
        rationale=_renumber(answer.rationale, to_caller),
    )
    return _abstain_if_unsure(answer, min_confidence)


def _abstain_if_unsure(answer: Answer, min_confidence: float) -> Answer:
    if answer.confidence is None or answer.confidence >= min_confidence:
        return answer
    return replace(answer, answer=CANNOT_TELL, rationale=answer.answer)


def _renumber(text: str, mapping: dict[int, int]) -> str:
    """Return the text in the caller's numbers; references to other regions lose their brackets."""
    return references.renumber(references.drop_other_references(text, mapping), mapping)


@lru_cache(maxsize=2)
def _load_cached(folder: Path) -> LoadedStudent:
    return LoadedStudent(registry.load(folder), Confidence.load(folder))
