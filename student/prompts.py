"""How a student is told and how it says it: one text with a label before each part.

Regions [0] [1]. Question: Why is [1] open? Answer: ... Rationale: ...
"""

import re

from student.protocol import Answer

_SENTENCE = re.compile(r"^(.*[.!?])(?:\s|$)", re.DOTALL)


def asking(regions: int) -> str:
    """The prompt after which a question is due."""
    return "Regions " + " ".join(f"[{n}]" for n in range(regions)) + ". Question:"


def answering(regions: int, question: str) -> str:
    """The prompt after which an answer is due."""
    return f"{asking(regions)} {question} Answer:"


def said(answer: str, rationale: str | None) -> str:
    """The target after `answering`; without a rationale it ends after the answer.

    >>> said("To rest.", "[0] sits.")
    ' To rest. Rationale: [0] sits.'
    """
    return f" {answer}" + (f" Rationale: {rationale}" if rationale else "")


def whole(regions: int, question: str, answer: str, rationale: str) -> str:
    """A triple as one text."""
    return answering(regions, question) + said(answer, rationale)


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
