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
from generation.checks.reading import parse_reply
from generation.checks.scales import read_shares
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import INTEGER, STRING, array_of, object_of
from generation.prompts import Message
from generation.settings import JudgeSettings
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance, check_side


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
        self.scale = self._prompt.scale

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        scale = {} if self.scale == prompts.DEFAULT_SCALE else {"scale": self.scale}
        return asdict(self._settings) | {"prompt": self.version, **scale}

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
        parsed = parse_reply(reply, finish_reason, "judgements", self.schema)
        if isinstance(parsed, ValidationFailure):
            return ParseResult((), (parsed,))
        items = parsed.data["judgements"]
        shares = read_shares([_field(item, "accept") for item in items], self.scale)
        rows: dict[int, dict[str, Any]] = {}
        rejected: list[ValidationFailure] = []
        # Triples are judged in comparison: a judgement holds for this set of triples.
        triple_ids = [triple.triple_id for triple in context.triples]
        call = keys.digest("asked", provenance.prompt_version, triple_ids)
        for item, share in zip(items, shares, strict=True):
            number = validation.whole_number(_field(item, "number"))
            failure = self._check(item, number, share, len(context.triples))
            if failure or number is None or share is None:
                rejected += [failure] if failure else []
            elif number not in rows:
                triple = context.triples[number]
                rows[number] = {
                    "key": keys.digest("judgement", provenance.model, call, triple.triple_id),
                    "triple_id": triple.triple_id,
                    "value": share,
                    "why": validation.normalise(str(item.get("why") or "")),
                    "prompt_version": provenance.prompt_version,
                }
        if missing := len(context.triples) - len(rows):
            rejected.append(ValidationFailure("fields", f"does not judge {missing} triples"))
        return ParseResult(list(rows.values()), rejected).read_from(parsed)

    def _check(
        self, item: object, number: int | None, share: float | None, n_triples: int
    ) -> ValidationFailure | None:
        excerpt = validation.json_excerpt(item)
        if not isinstance(item, dict):
            return ValidationFailure("fields", "not an object", excerpt)
        if number is None or not 0 <= number < n_triples:
            detail = f"judges triple {item.get('number')!r}, which does not exist"
            return ValidationFailure("fields", detail, excerpt)
        if share is None:
            scale = f"a value from 0 to {self.scale:g}"
            detail = f"accept is {item.get('accept')!r}, which is not clearly {scale}"
            return ValidationFailure("fields", detail, excerpt)
        return None


def _field(item: object, name: str) -> object:
    return item.get(name) if isinstance(item, dict) else None
