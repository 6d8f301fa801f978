"""Questions about what the texts leave open: a language model asks, one that sees will answer."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from db.schema import Verbalization
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.validation import Fault
from generation.llm.json_schema import NUMBER, TEXT, closed, listed
from generation.prompts import Message
from generation.tasks.context import Brief
from generation.tasks.protocol import Origin, Read
from generation.verbalize.settings import QuestionSettings
from regions import references
from regions.errors import UserError

_MOST = 20
_REGION = {"anyOf": [NUMBER, {"type": "null"}]}


class Questions:
    """Asks for `count` questions about a picture, of the whole or of a region."""

    name = "questions"
    table = Verbalization
    side = 0
    schema: Mapping[str, Any] = closed(questions=listed(closed(question=TEXT, region=_REGION)))

    def __init__(self, settings: QuestionSettings) -> None:
        if settings.samples < 1 or not 1 <= settings.count <= _MOST:
            raise UserError("nothing to ask", hint=f"use --samples 1, --count 1 to {_MOST}")
        self._settings, self.language = settings, languages.check(settings.language)
        self._prompt = prompts.load("questions", settings.prompt, frozenset({"data", "count"}))
        self.samples, self.version = settings.samples, self._prompt.version

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        return asdict(self._settings) | {"prompt": self.version}

    def lacks(self, brief: Brief) -> str | None:
        """Something must be known of a picture."""
        return None if brief.regions or brief.scene else "neither texts nor regions"

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """The prompt with the brief, without what was asked: an answer must not ask anew."""
        del sample
        data = replace(brief, questions=()).as_json(boxes=False)
        return self._prompt.fill(data=data, count=str(self._settings.count))

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """The questions of a reply that pass every check."""
        found = validation.parse(reply, finish, "questions")
        if isinstance(found, Fault):
            return Read((), (found,))
        repeats = validation.Repeats(brief.asked)
        rows: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for candidate in found:
            row = self._row(brief, origin, candidate)
            if not isinstance(row, Fault) and not repeats.add(row["text"]):
                row = Fault("repeat", "it has been asked already", row["text"])
            (faults if isinstance(row, Fault) else rows).append(row)  # type: ignore[arg-type]
        return Read(rows, faults)

    def _row(self, brief: Brief, origin: Origin, candidate: object) -> dict[str, Any] | Fault:
        said = validation.texts(candidate, ["question"], self.language)
        if isinstance(said, Fault):
            return said
        assert isinstance(candidate, dict)
        (question,) = said
        region = candidate.get("region")
        if wrong := references.check(question, brief.numbers):
            return Fault("regions", wrong, question)
        if region is not None and (type(region) is not int or region not in brief.numbers):
            return Fault("regions", f"asks about region {validation.shown(region)}", question)
        return row_of(origin, self.version, "question", region, question, "")


def row_of(  # noqa: PLR0917 - the columns in their order
    origin: Origin, version: str, kind: str, region: int | None, text: str, answer: str
) -> dict[str, Any]:
    """A verbalization as a task writes it."""
    return {
        "key": keys.digest("verbalization", origin.model, version, kind, region, text, answer),
        "region_number": region,
        "kind": kind,
        "text": text,
        "answer": answer,
        "version": version,
    }
