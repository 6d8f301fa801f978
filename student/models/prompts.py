"""How a BLIP-2 is told and how it says it: one text with a label before each part.

Regions [0] [1]. Question: Why is [1] open? Answer: ... Rationale: ...
"""

import re
from collections.abc import Sequence

from student.models.protocol import Answer, Lesson, Turn

_SENTENCE = re.compile(r"^(.*[.!?])(?:\s|$)", re.DOTALL)


def asking(regions: int, turns: Sequence[Turn] = ()) -> str:
    """The prompt after which a question is due.

    >>> asking(2, [("Who is [0]?", "A cook.")])
    'Regions [0] [1]. Question: Who is [0]? Answer: A cook. Question:'
    """
    marked = "Regions " + " ".join(f"[{n}]" for n in range(regions)) + ". " if regions else ""
    said = "".join(f"Question: {question} Answer: {answer} " for question, answer in turns)
    return f"{marked}{said}Question:"


def answering(regions: int, question: str, turns: Sequence[Turn] = ()) -> str:
    """The prompt after which an answer is due."""
    return f"{asking(regions, turns)} {question} Answer:"


def said(answer: str, rationale: str) -> str:
    """The target after `answering`; without a rationale it ends after the answer.

    >>> said("To rest.", "[0] sits.")
    ' To rest. Rationale: [0] sits.'
    """
    return f" {answer}" + (f" Rationale: {rationale}" if rationale else "")


def told(lesson: Lesson, regions: int) -> tuple[str, str]:
    """A lesson's prompt, and what is to be said after it."""
    target = said(lesson.answer, lesson.rationale)
    if lesson.asks:
        return asking(regions, lesson.turns), f" {lesson.question} Answer:{target}"
    return answering(regions, lesson.question, lesson.turns), target


def read(question: str, generated: str, seconds: float) -> Answer:
    """An answer from what was generated after its prompt; a last sentence without end is left out.

    >>> read("Why?", " To rest. Rationale: [0] sits. It is", 0.5).rationale
    '[0] sits.'
    """
    answer, _, rationale = generated.partition("Rationale:")
    return Answer(question.strip(), _ended(answer), _ended(rationale), seconds)


def _ended(text: str) -> str:
    text = text.split("Question:", maxsplit=1)[0].split("Answer:", maxsplit=1)[0].strip()
    found = _SENTENCE.match(text)
    return found[1].strip() if found else text
