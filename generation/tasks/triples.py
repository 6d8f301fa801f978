"""LSKD's triples: regions by number or by description, kinds of questions drawn from a mix."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from db.schema import Triple
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.reading import parse_reply
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import INTEGER, STRING, Schema, array_of, object_of
from generation.prompts import Message
from generation.settings import FORMS, TripleSettings
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance, parse_unique
from regions.errors import InvalidError

KINDS = ("intent", "cause", "next", "relation", "emotion", "counting", "spatial")
_TEXTS = ("question", "answer", "rationale")
_PLACEHOLDERS = frozenset({"data", "count", "kinds"})
_MAX_PER_CALL = 12


class Triples:
    """Writes `per_call` triples per call, of kinds drawn from the mix."""

    name = "triples"
    table = Triple
    side = 0

    def __init__(self, settings: TripleSettings) -> None:
        if settings.form not in FORMS:
            raise InvalidError(f"unknown form {settings.form!r}", hint=f"use {' or '.join(FORMS)}")
        if settings.samples < 1:
            raise InvalidError(f"--samples must be at least 1 (got {settings.samples})")
        if not 1 <= settings.per_call <= _MAX_PER_CALL:
            raise InvalidError(
                f"--per-call must be between 1 and {_MAX_PER_CALL} (got {settings.per_call})"
            )
        self._settings, self.language = settings, languages.check_code(settings.language)
        self._prompt = prompts.load(f"triples-{settings.form}", settings.prompt, _PLACEHOLDERS)
        self.samples, self.version = settings.samples, self._prompt.version
        mix = parse_mix(settings.mix)
        self._kinds = list(mix)
        self._probabilities = np.array(list(mix.values())) / sum(mix.values())
        self._by_number = settings.form == "ids"
        self.schema: Mapping[str, Any] = _schema(self._kinds)

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        return asdict(self._settings) | {"prompt": self.version}

    def skip_reason(self, context: Context) -> str | None:
        """Return what an image lacks for this task; None if nothing."""
        return None if context.regions else "no regions"

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt with the context, the number of triples and their kinds."""
        kinds = self.draw_kinds(context.image_id, sample)
        data = context.to_json(with_boxes=False)
        return self._prompt.fill(data=data, count=str(len(kinds)), kinds=", ".join(kinds))

    def draw_kinds(self, image_id: int, sample: int) -> list[str]:
        """Draw the kinds of a call's questions, without repetition if there are enough kinds."""
        rng = np.random.default_rng([self._settings.seed, image_id, sample])
        count = self._settings.per_call
        replace = count > len(self._kinds)
        kinds = rng.choice(self._kinds, count, replace=replace, p=self._probabilities)
        return [str(kind) for kind in kinds]

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the triples of a reply that pass every check and are no duplicates."""
        parsed = parse_reply(reply, finish_reason, "triples", self.schema)
        if isinstance(parsed, ValidationFailure):
            return ParseResult((), (parsed,))
        items = parsed.data["triples"]
        if not items:
            return ParseResult((), (ValidationFailure("empty", "an empty list", reply),))
        result = parse_unique(
            items,
            partial(self._row, context, provenance),
            lambda row: f"{row['question']} {row['answer']}",
            context.questions_and_answers,
        )
        return result.read_from(parsed)

    def _row(
        self, context: Context, provenance: Provenance, item: object
    ) -> dict[str, Any] | ValidationFailure:
        texts = validation.check_texts(item, _TEXTS, self.language)
        if isinstance(texts, ValidationFailure):
            return texts
        assert isinstance(item, dict)
        known = set(context.region_numbers)
        regions = validation.check_regions(
            texts, item.get("regions"), known, by_number=self._by_number
        )
        if isinstance(regions, ValidationFailure):
            return regions
        # Descriptions are tied to regions by the list alone. By number, the text may be compared
        # with every region of the prompt.
        visible = context.region_numbers if self._by_number else regions
        kind, source = item.get("kind"), provenance.source
        return {
            "key": keys.triple_key((source, context.name), texts, visible, source),
            **dict(zip(_TEXTS, texts, strict=True)),
            "visible_regions": visible,
            "kind": kind if kind in self._kinds else "",
            "source": source,
            "prompt_version": provenance.prompt_version,
        }


def parse_mix(text: str) -> dict[str, float]:
    """Return weights by kind from text such as `intent=2,cause=1`; InvalidError for other text."""
    mix: dict[str, float] = {}
    for part in text.split(","):
        kind, _, weight = part.partition("=")
        try:
            mix[kind.strip()] = float(weight)
        except ValueError:
            mix[kind.strip()] = -1.0
    invalid = [kind for kind, weight in mix.items() if kind not in KINDS or not 0 < weight < np.inf]
    if invalid:
        raise InvalidError(
            f"invalid mix of kinds: {text}",
            where=invalid[0],
            hint=f"write it like intent=2,cause=1; kinds are {', '.join(KINDS)}",
        )
    return mix


def _schema(kinds: list[str]) -> Schema:
    kind = {**STRING, "enum": kinds}
    texts = dict.fromkeys(_TEXTS, STRING)
    return object_of(triples=array_of(object_of(kind=kind, **texts, regions=array_of(INTEGER))))
