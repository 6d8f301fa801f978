"""A language model asks what the texts about an image leave open, for other models to answer."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from db.schema import Verbalization
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.reading import parse_reply
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import INTEGER, STRING, array_of, object_of
from generation.prompts import Message
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance, parse_unique
from generation.verbalize.settings import QuestionSettings
from regions import references
from regions.errors import InvalidError

_MAX_PER_CALL = 20
_REGION = {"anyOf": [INTEGER, {"type": "null"}]}


class Questions:
    """Asks `count` questions per call about the whole image or a region."""

    name = "questions"
    table = Verbalization
    side = 0
    schema: Mapping[str, Any] = object_of(
        questions=array_of(object_of(question=STRING, region=_REGION))
    )

    def __init__(self, settings: QuestionSettings) -> None:
        if settings.samples < 1:
            raise InvalidError(f"--samples must be at least 1 (got {settings.samples})")
        if not 1 <= settings.count <= _MAX_PER_CALL:
            raise InvalidError(
                f"--count must be between 1 and {_MAX_PER_CALL} (got {settings.count})"
            )
        self._settings, self.language = settings, languages.check_code(settings.language)
        self._prompt = prompts.load("questions", settings.prompt, frozenset({"data", "count"}))
        self.samples, self.version = settings.samples, self._prompt.version

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        return asdict(self._settings) | {"prompt": self.version}

    def skip_reason(self, context: Context) -> str | None:
        """Return what an image lacks for this task; None if nothing."""
        return "no texts or regions" if context.is_empty else None

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt; without answers, so that an answer does not change the request."""
        del sample
        data = replace(context, answered_questions=()).to_json(with_boxes=False)
        return self._prompt.fill(data=data, count=str(self._settings.count))

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the questions of a reply that pass every check and are no duplicates."""
        parsed = parse_reply(reply, finish_reason, "questions", self.schema)
        if isinstance(parsed, ValidationFailure):
            return ParseResult((), (parsed,))
        items = parsed.data["questions"]
        if not items:
            return ParseResult((), (ValidationFailure("empty", "an empty list", reply),))
        result = parse_unique(
            items,
            partial(self._row, context, provenance),
            lambda row: str(row["text"]),
            context.asked_questions,
        )
        return result.read_from(parsed)

    def _row(
        self, context: Context, provenance: Provenance, item: object
    ) -> dict[str, Any] | ValidationFailure:
        texts = validation.check_texts(item, ["question"], self.language)
        if isinstance(texts, ValidationFailure):
            return texts
        assert isinstance(item, dict)
        (question,) = texts
        listed = item.get("region")
        region = validation.whole_number(listed)
        if problem := references.check(question, context.region_numbers):
            return ValidationFailure("regions", problem, question)
        if listed is not None and (region is None or region not in context.region_numbers):
            detail = f"asks about unknown region {validation.json_excerpt(listed)}"
            return ValidationFailure("regions", detail, question)
        return verbalization_row(provenance, "question", region, question, "")


def verbalization_row(
    provenance: Provenance, kind: str, region: int | None, text: str, answer: str
) -> dict[str, Any]:
    """Return a row of `verbalizations` that a task writes."""
    version = provenance.prompt_version
    return {
        "key": keys.digest("verbalization", provenance.model, version, kind, region, text, answer),
        "region_number": region,
        "kind": kind,
        "text": text,
        "answer": answer,
        "version": version,
    }
