"""A language model as a judge: how likely people would accept each triple of a picture, and why.

What it says is stored beside the triples. A critic may be the average of such judges, which makes
it comparable with every other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from db.schema import Judgement
from db.store import keys
from generation import prompts
from generation.checks import validation
from generation.checks.validation import Fault
from generation.llm.json_schema import NUMBER, TEXT, closed, listed
from generation.prompts import Message
from generation.settings import JudgeSettings
from generation.tasks.context import Brief
from generation.tasks.protocol import Origin, Read
from regions.errors import UserError

_SMALLEST, _LARGEST = 64, 4096
_SURE = 100
"""Percent."""


class Judge:
    """Asks once about all triples of a picture, which goes along unless `side` is 0."""

    name = "judge"
    table = Judgement
    samples = 1
    language = "any"
    schema: Mapping[str, Any] = closed(
        judgements=listed(closed(number=NUMBER, accept=NUMBER, why=TEXT))
    )

    def __init__(self, settings: JudgeSettings) -> None:
        if settings.side and not _SMALLEST <= settings.side <= _LARGEST:
            todo = f"use --side {_SMALLEST} to {_LARGEST}, or 0 for none"
            raise UserError(f"a picture of {settings.side} pixels", hint=todo)
        self._settings, self.side = settings, settings.side
        self._prompt = prompts.load("judge", settings.prompt, frozenset({"data"}))
        # With and without a picture it is another judge.
        self.version = f"{self._prompt.version}-{settings.side}"

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        return asdict(self._settings) | {"prompt": self.version}

    def lacks(self, brief: Brief) -> str | None:
        """There must be something to judge."""
        return None if brief.triples else "no triples"

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """The prompt with the triples, numbered from 0, and what is known of the picture."""
        del sample
        told = [
            {"number": n, "question": t.question, "answer": t.answer, "rationale": t.rationale}
            for n, t in enumerate(brief.triples)
        ]
        known = orjson.loads(brief.as_json(boxes=False))
        return self._prompt.fill(data=orjson.dumps({"triples": told, **known}).decode())

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """The judgement of each triple that the reply judges as it was asked to."""
        found = validation.parse(reply, finish, "judgements")
        if isinstance(found, Fault):
            return Read((), (found,))
        rows: dict[int, dict[str, Any]] = {}
        faults: list[Fault] = []
        # The judge's word is about these triples as they stand together.
        asked = keys.digest("asked", self.version, [t.triple_id for t in brief.triples])
        for entry, fault in self._checked(brief, found):
            if fault:
                faults.append(fault)
            elif entry["number"] not in rows:
                triple = brief.triples[entry["number"]]
                rows[entry["number"]] = {
                    "key": keys.digest("judgement", origin.model, asked, triple.triple_id),
                    "triple_id": triple.triple_id,
                    "value": entry["accept"] / _SURE,
                    "why": " ".join(str(entry.get("why") or "").replace("\0", "").split()),
                    "prompt_version": self.version,
                }
        if missing := len(brief.triples) - len(rows):
            faults.append(Fault("fields", f"says nothing of {missing} triples", ""))
        return Read(list(rows.values()), faults)

    def _checked(
        self, brief: Brief, found: list[Any]
    ) -> Iterator[tuple[dict[str, Any], Fault | None]]:
        for entry in found:
            if not isinstance(entry, dict):
                yield {}, Fault("fields", "no object", validation.shown(entry))
                continue
            number: Any = entry.get("number")
            accept: Any = entry.get("accept")
            if type(number) is not int or not 0 <= number < len(brief.triples):
                yield entry, Fault("fields", f"judges triple {number!r}", validation.shown(entry))
            elif not _is_number(accept) or not 0 <= accept <= _SURE:
                yield entry, Fault("fields", f"accepts by {accept!r}", validation.shown(entry))
            else:
                yield entry, None


def _is_number(found: object) -> bool:
    return type(found) in {int, float}  # True is no number here
