"""Prompts and targets of a BLIP-2 with a language model, and parsing of what it generates.

Regions [0] [1]. Question: Why is [1] open? Answer: ... Rationale: ...
"""

import re
from collections.abc import Sequence

from student.models.protocol import Answer, Example, Turn

_COMPLETE_SENTENCES = re.compile(r"^(.*[.!?])(?:\s|$)", re.DOTALL)


def question_prompt(regions: int, turns: Sequence[Turn] = ()) -> str:
    """Return the prompt that a question continues.

    >>> question_prompt(2, [("Who is [0]?", "A cook.")])
    'Regions [0] [1]. Question: Who is [0]? Answer: A cook. Question:'
    """
    listed = "Regions " + " ".join(f"[{n}]" for n in range(regions)) + ". " if regions else ""
    history = "".join(f"Question: {question} Answer: {answer} " for question, answer in turns)
    return f"{listed}{history}Question:"


def answer_prompt(regions: int, question: str, turns: Sequence[Turn] = ()) -> str:
    """Return the prompt that an answer continues."""
    return f"{question_prompt(regions, turns)} {question} Answer:"


def answer_target(answer: str, rationale: str) -> str:
    """Return the text after `answer_prompt`; an empty rationale is left out.

    >>> answer_target("To rest.", "[0] sits.")
    ' To rest. Rationale: [0] sits.'
    """
    return f" {answer}" + (f" Rationale: {rationale}" if rationale else "")


def prompt_and_target(example: Example, regions: int) -> tuple[str, str]:
    """Return an example's prompt, and the text to be generated after it."""
    target = answer_target(example.answer, example.rationale)
    if example.question_is_target:
        return question_prompt(regions, example.turns), f" {example.question} Answer:{target}"
    return answer_prompt(regions, example.question, example.turns), target


def parse_answer(question: str, generated: str, seconds: float) -> Answer:
    """Parse a text generated after `answer_prompt`; an unfinished sentence is cut off.

    >>> parse_answer("Why?", " To rest. Rationale: [0] sits. It is", 0.5).rationale
    '[0] sits.'
    """
    answer, _, rationale = generated.partition("Rationale:")
    return Answer(
        question.strip(), _complete_sentences(answer), _complete_sentences(rationale), seconds
    )


def _complete_sentences(text: str) -> str:
    text = text.split("Question:", maxsplit=1)[0].split("Answer:", maxsplit=1)[0].strip()
    match = _COMPLETE_SENTENCES.match(text)
    return match[1].strip() if match else text
