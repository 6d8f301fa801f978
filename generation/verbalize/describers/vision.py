"""What a vision model behind an API sees: it is sent the picture with its numbered regions."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from db.schema import Verbalization
from generation import prompts
from generation.checks import languages, validation
from generation.checks.validation import Fault
from generation.llm.json_schema import NUMBER, TEXT, closed, listed
from generation.prompts import Message
from generation.tasks.context import Brief
from generation.tasks.protocol import Origin, Read
from generation.verbalize.describers.questions import row_of
from generation.verbalize.settings import TOLD, VisionSettings
from regions.errors import UserError

_SMALLEST, _LARGEST = 64, 4096


class Vision:
    """Asks once for everything about a picture: the scene, each region, open questions."""

    name = "vision"
    table = Verbalization
    samples = 1
    schema: Mapping[str, Any] = closed(
        scene=TEXT,
        regions=listed(closed(number=NUMBER, text=TEXT)),
        answers=listed(closed(number=NUMBER, answer=TEXT)),
    )

    def __init__(self, settings: VisionSettings) -> None:
        self._tell = [part.strip() for part in settings.tell.split(",")]
        if set(self._tell) - set(TOLD):
            raise UserError(f"nothing called {settings.tell!r}", hint=f"tell {','.join(TOLD)}")
        if not _SMALLEST <= settings.side <= _LARGEST:
            todo = f"use --side {_SMALLEST} to {_LARGEST}"
            raise UserError(f"a picture of {settings.side} pixels", hint=todo)
        self._settings, self.language = settings, languages.check(settings.language)
        self._prompt = prompts.load("vision", settings.prompt, frozenset({"data", "tell"}))
        self.side, self.version = settings.side, self._prompt.version

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        return asdict(self._settings) | {"prompt": self.version}

    def lacks(self, brief: Brief) -> str | None:
        """There must be something left to tell."""
        return None if self._wanted(brief) else "nothing to tell"

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """The prompt with the numbers of the regions, and the questions that were asked."""
        del sample
        wanted = self._wanted(brief)
        told: dict[str, Any] = {}
        if "regions" in wanted:
            told["regions"] = brief.numbers
        if "answers" in wanted:
            told["questions"] = [
                {"number": number, "question": question}
                for number, (question, _) in enumerate(brief.open)
            ]
        return self._prompt.fill(data=orjson.dumps(told).decode(), tell=", ".join(wanted))

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """The texts of a reply, each with its place; what has none is a fault."""
        found = validation.parse_object(reply, finish, "regions")
        if isinstance(found, Fault):
            return Read((), (found,))
        rows: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for name, place, text in self._texts(brief, found):
            if isinstance(place, Fault):
                faults.append(place)
            elif fault := validation.length_fault(name, text) or validation.language_fault(
                text, self.language
            ):
                faults.append(fault)
            else:
                kind, region, question = place
                words = (question, text) if question else (text, "")
                rows.append(row_of(origin, self.version, kind, region, *words))
        if not rows and not faults:
            faults.append(Fault("empty", "it tells nothing", reply))
        return Read(rows, faults)

    def _wanted(self, brief: Brief) -> list[str]:
        there = {"scene": True, "regions": bool(brief.regions), "answers": bool(brief.open)}
        return [part for part in self._tell if there[part]]

    def _texts(
        self, brief: Brief, found: dict[str, Any]
    ) -> Iterator[tuple[str, tuple[str, int | None, str] | Fault, str]]:
        """Each text with its place: kind, region, and the question that it answers."""
        wanted = self._wanted(brief)
        if "scene" in wanted and (scene := _text(found.get("scene"))):
            yield "scene", ("scene", None, ""), scene
        for entry in _entries(found.get("regions")) if "regions" in wanted else ():
            number, text = entry.get("number"), _text(entry.get("text"))
            if type(number) is not int or number not in brief.numbers:
                yield (
                    "region",
                    Fault("regions", f"tells of {number!r}", validation.shown(entry)),
                    "",
                )
            elif text:
                yield "region", ("region", number, ""), text
        for entry in _entries(found.get("answers")) if "answers" in wanted else ():
            number, text = entry.get("number"), _text(entry.get("answer"))
            if type(number) is not int or not 0 <= number < len(brief.open):
                yield "answer", Fault("fields", f"answers {number!r}", validation.shown(entry)), ""
            elif text:
                question, region = brief.open[number]
                yield "answer", ("question", region, question), text


def _entries(found: object) -> list[dict[str, Any]]:
    listed = found if isinstance(found, list) else []
    return [entry if isinstance(entry, dict) else {"number": entry} for entry in listed]


def _text(found: object) -> str:
    return " ".join(found.replace("\0", "").split()) if isinstance(found, str) else ""
