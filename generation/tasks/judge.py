"""A language model as a judge: how likely people would accept each triple of an image, and why.

Judgements are stored beside the triples. A critic of kind `average` can use them, which makes a
judge comparable with every other critic.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from db.schema import Judgement
from db.store import keys
from generation import prompts
from generation.checks import validation
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import INTEGER, STRING, array_of, object_of
from generation.prompts import Message
from generation.settings import JudgeSettings
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance, check_side

_MAX_PERCENT = 100


class Judge:
    """Judges all triples of an image in one call, which attaches the image unless `side` is 0."""

    name = "judge"
    table = Judgement
    samples = 1
    language = "any"
    schema: Mapping[str, Any] = object_of(
        judgements=array_of(object_of(number=INTEGER, accept=INTEGER, why=STRING))
    )

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings, self.side = settings, check_side(settings.side, may_be_zero=True)
        self._prompt = prompts.load("judge", settings.prompt, frozenset({"data"}))
        # Judging with and without the image, or at another size, are different judges.
        self.version = f"{self._prompt.version}-{settings.side}"

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        return asdict(self._settings) | {"prompt": self.version}

    def skip_reason(self, context: Context) -> str | None:
        """Return what an image lacks for this task; None if nothing."""
        return None if context.triples else "no triples"

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt with the triples, numbered from 0, and the image's context."""
        del sample
        triples = [
            {"number": n, "question": t.question, "answer": t.answer, "rationale": t.rationale}
            for n, t in enumerate(context.triples)
        ]
        data = {"triples": triples, **orjson.loads(context.to_json(with_boxes=False))}
        return self._prompt.fill(data=orjson.dumps(data).decode())

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the first valid judgement of each triple; missing ones are rejected together."""
        items = validation.parse_list(reply, finish_reason, "judgements")
        if isinstance(items, ValidationFailure):
            return ParseResult((), (items,))
        rows: dict[int, dict[str, Any]] = {}
        rejected: list[ValidationFailure] = []
        # Triples are judged in comparison: a judgement holds for this set of triples.
        triple_ids = [triple.triple_id for triple in context.triples]
        call = keys.digest("asked", provenance.prompt_version, triple_ids)
        for item in items:
            if failure := _check(item, len(context.triples)):
                rejected.append(failure)
            elif item["number"] not in rows:
                triple = context.triples[item["number"]]
                rows[item["number"]] = {
                    "key": keys.digest("judgement", provenance.model, call, triple.triple_id),
                    "triple_id": triple.triple_id,
                    "value": item["accept"] / _MAX_PERCENT,
                    "why": validation.normalise(str(item.get("why") or "")),
                    "prompt_version": provenance.prompt_version,
                }
        if missing := len(context.triples) - len(rows):
            rejected.append(ValidationFailure("fields", f"does not judge {missing} triples"))
        return ParseResult(list(rows.values()), rejected)


def _check(item: object, n_triples: int) -> ValidationFailure | None:
    if not isinstance(item, dict):
        return ValidationFailure("fields", "not an object", validation.json_excerpt(item))
    number: Any = item.get("number")
    accept: Any = item.get("accept")
    if type(number) is not int or not 0 <= number < n_triples:
        detail = f"judges triple {number!r}, which does not exist"
        return ValidationFailure("fields", detail, validation.json_excerpt(item))
    # Not isinstance: booleans are integers.
    if type(accept) not in {int, float} or not 0 <= accept <= _MAX_PERCENT:
        detail = f"accept is {accept!r}, not a percentage"
        return ValidationFailure("fields", detail, validation.json_excerpt(item))
    return None
