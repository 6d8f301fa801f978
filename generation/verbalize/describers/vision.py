"""A vision model behind an API describes the image, marked with its numbered regions."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from db.schema import Verbalization
from generation import prompts
from generation.checks import languages, validation
from generation.checks.reading import parse_reply
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import INTEGER, STRING, array_of, object_of
from generation.prompts import Message
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance, check_side
from generation.verbalize.describers.questions import verbalization_row
from generation.verbalize.settings import PARTS, VisionSettings
from regions.errors import InvalidError

_KINDS = {"scene": "scene", "region": "region", "answer": "question"}
"""The kind of verbalization of each part of a reply."""


class _Text(NamedTuple):
    """A text of a reply; an answer has its `question`."""

    part: str
    region: int | None
    text: str
    question: str = ""


class Vision:
    """Asks once per image for the scene, each region, and answers to open questions."""

    name = "vision"
    table = Verbalization
    samples = 1
    schema: Mapping[str, Any] = object_of(
        scene=STRING,
        regions=array_of(object_of(number=INTEGER, text=STRING)),
        answers=array_of(object_of(number=INTEGER, answer=STRING)),
    )

    def __init__(self, settings: VisionSettings) -> None:
        self._parts = [part.strip() for part in settings.parts.split(",")]
        if set(self._parts) - set(PARTS):
            raise InvalidError(
                f"unknown parts {settings.parts!r}", hint=f"use some of {','.join(PARTS)}"
            )
        self._settings, self.language = settings, languages.check_code(settings.language)
        self._prompt = prompts.load("vision", settings.prompt, frozenset({"data", "parts"}))
        self.side = check_side(settings.side, may_be_zero=False)
        self.version = self._prompt.version

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        return asdict(self._settings) | {"prompt": self.version}

    def skip_reason(self, context: Context) -> str | None:
        """Return a reason unless the image has a part to describe."""
        return None if self._parts_of(context) else "nothing to describe"

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt with the numbers of the regions and the open questions."""
        del sample
        parts = self._parts_of(context)
        data: dict[str, Any] = {}
        if "regions" in parts:
            data["regions"] = context.region_numbers
        if "answers" in parts:
            data["questions"] = [
                {"number": n, "question": question.question}
                for n, question in enumerate(context.open_questions)
            ]
        return self._prompt.fill(data=orjson.dumps(data).decode(), parts=", ".join(parts))

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the texts of a reply that are about a known region or question."""
        parsed = parse_reply(reply, finish_reason, "regions", self.schema)
        if isinstance(parsed, ValidationFailure):
            return ParseResult((), (parsed,))
        rows: list[dict[str, Any]] = []
        rejected: list[ValidationFailure] = []
        for text in self._texts(context, parsed.data):
            checked = text if isinstance(text, ValidationFailure) else self._check(text)
            if isinstance(checked, ValidationFailure):
                rejected.append(checked)
            else:
                rows.append(self._row(provenance, checked))
        if not rows and not rejected:
            rejected.append(ValidationFailure("empty", "the reply has no texts", reply))
        return ParseResult(rows, rejected).read_from(parsed)

    def _parts_of(self, context: Context) -> list[str]:
        """Return the parts to describe that an image has."""
        has = {
            "scene": True,
            "regions": bool(context.regions),
            "answers": bool(context.open_questions),
        }
        return [part for part in self._parts if has[part]]

    def _check(self, text: _Text) -> _Text | ValidationFailure:
        failure = validation.check_length(text.part, text.text)
        return failure or validation.check_language(text.text, self.language) or text

    def _row(self, provenance: Provenance, text: _Text) -> dict[str, Any]:
        question, answer = (text.question, text.text) if text.question else (text.text, "")
        kind = _KINDS[text.part]
        return verbalization_row(provenance, kind, text.region, question, answer)

    def _texts(
        self, context: Context, reply: dict[str, Any]
    ) -> Iterator[_Text | ValidationFailure]:
        """Yield the texts of the requested parts; a failure for an unknown region or question."""
        parts = self._parts_of(context)
        if "scene" in parts and (scene := _text(reply.get("scene"))):
            yield _Text("scene", None, scene)
        for item in _objects(reply.get("regions")) if "regions" in parts else ():
            number = validation.whole_number(item.get("number"))
            text = _text(item.get("text"))
            if number is None or number not in context.region_numbers:
                detail = f"describes unknown region {item.get('number')!r}"
                yield ValidationFailure("regions", detail, validation.json_excerpt(item))
            elif text:
                yield _Text("region", number, text)
        for item in _objects(reply.get("answers")) if "answers" in parts else ():
            number = validation.whole_number(item.get("number"))
            text = _text(item.get("answer"))
            if number is None or not 0 <= number < len(context.open_questions):
                detail = f"answers unknown question {item.get('number')!r}"
                yield ValidationFailure("fields", detail, validation.json_excerpt(item))
            elif text:
                question, region = context.open_questions[number]
                yield _Text("answer", region, text, question)


def _objects(items: object) -> list[dict[str, Any]]:
    """Return the items of a list, each as an object."""
    listed = items if isinstance(items, list) else []
    return [item if isinstance(item, dict) else {"number": item} for item in listed]


def _text(value: object) -> str:
    return validation.normalise(value) if isinstance(value, str) else ""
