"""No reply breaks a task: each part of it is kept in a form that can be stored, or rejected.

Good replies of every task are mutated: each field at every depth becomes something else.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from db.schema import InstructionKind
from db.store.texts import clean_text
from generation.settings import InstructionSettings, JudgeSettings, TripleSettings
from generation.tasks.context import Context, OpenQuestion, TripleText
from generation.tasks.instructions import Instructions
from generation.tasks.judge import Judge
from generation.tasks.protocol import Provenance, Task
from generation.tasks.triples import Triples
from generation.verbalize.describers.questions import Questions
from generation.verbalize.describers.vision import Vision
from generation.verbalize.settings import QuestionSettings, VisionSettings
from regions.geometry import Region
from tests.generation.test_server_replies import mutations

CONTEXT = Context(
    image_id=1,
    name="1.jpg",
    width=400,
    height=300,
    regions=[Region(n, (100 * n, 0, 100 * n + 90, 150), (), "dog") for n in range(3)],
    scene_texts=["A street."],
    region_texts={},
    answered_questions=[],
    concepts=[],
    triples=[TripleText(7, "Why does [0] wait?", "It is told to.", "[1] tells it.")],
    open_questions=[OpenQuestion("What is [1]?", 1)],
)
PROVENANCE = Provenance("s", "m", "v")
TRIPLE = {
    "kind": "intent",
    "question": "Why does [0] wait?",
    "answer": "It is told to.",
    "rationale": "[1] tells it.",
    "regions": [0],
}
TASKS: list[tuple[Task, Any]] = [
    (Triples(TripleSettings()), {"triples": [TRIPLE]}),
    (Triples(TripleSettings(form="descriptions")), {"triples": [TRIPLE]}),
    (Judge(JudgeSettings()), {"judgements": [{"number": 0, "accept": 70, "why": "So it is."}]}),
    (Questions(QuestionSettings()), {"questions": [{"question": "Is it?", "region": 0}]}),
    (
        Vision(VisionSettings()),
        {
            "scene": "A street.",
            "regions": [{"number": 0, "text": "a dog"}],
            "answers": [{"number": 0, "answer": "A dog."}],
        },
    ),
    *(
        (Instructions(kind, InstructionSettings()), {"turns": [{"question": "a", "answer": "b"}]})
        for kind in get_args(InstructionKind)
    ),
]
DEEP: Any = json.loads("[" * 90 + "]" * 90)
REPLACEMENTS: tuple[Any, ...] = (
    *(None, 1, -1, 0.5, "x", "\ud800", "a\0b", "[999]", [], {}, [None], True, 10**400, math.nan),
    *("7" * 5000, DEEP, {"a" * 200: DEEP}),
)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value if isinstance(value, list | tuple) else ():
        yield from strings(item)


@pytest.mark.parametrize(("task", "good"), TASKS)
def test_mutated_replies_are_kept_or_rejected(task: Task, good: object) -> None:
    for value in mutations(good, REPLACEMENTS):
        for text in (json.dumps(value), str(value), json.dumps(value)[:-3]):
            for finish in ("stop", "length"):
                result = task.parse(CONTEXT, PROVENANCE, clean_text(text), finish)
                assert result.rows or result.rejected, text
                failures = [(f.reason, f.detail, f.text) for f in result.rejected]
                for string in strings([list(row.values()) for row in result.rows] + failures):
                    assert "\0" not in string
                    string.encode()
