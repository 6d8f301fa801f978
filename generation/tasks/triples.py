"""Triples, LSKD's own: regions by number or in words, kinds of questions in a stated mix."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from db.schema import Triple
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.validation import Fault
from generation.llm.json_schema import NUMBER, TEXT, Schema, closed, listed
from generation.prompts import Message
from generation.settings import FORMS, TripleSettings
from generation.tasks.context import Brief
from generation.tasks.protocol import Origin, Read
from regions.errors import UserError

KINDS = ("intent", "cause", "next", "relation", "emotion", "counting", "spatial")
_TEXTS = ("question", "answer", "rationale")
_NEEDED = frozenset({"data", "count", "kinds"})
_MOST = 12


class Triples:
    """Asks for `per_call` triples of drawn kinds."""

    name = "triples"
    table = Triple
    side = 0

    def __init__(self, settings: TripleSettings) -> None:
        if settings.form not in FORMS:
            raise UserError(f"no form {settings.form!r}", hint=f"use one of {', '.join(FORMS)}")
        if settings.samples < 1 or not 1 <= settings.per_call <= _MOST:
            raise UserError("nothing to write", hint=f"use --samples 1, --per-call 1 to {_MOST}")
        self._settings, self.language = settings, languages.check(settings.language)
        self._prompt = prompts.load(f"triples-{settings.form}", settings.prompt, _NEEDED)
        self.samples, self.version = settings.samples, self._prompt.version
        mix = parse_mix(settings.mix)
        self._kinds = list(mix)
        self._shares = np.array(list(mix.values())) / sum(mix.values())
        self._by_number = settings.form == "ids"
        self.schema: Mapping[str, Any] = _schema(self._kinds)

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        return asdict(self._settings) | {"prompt": self.version}

    def lacks(self, brief: Brief) -> str | None:
        """Triples are about regions."""
        return None if brief.regions else "no regions"

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """The prompt with the brief, the number and the kinds."""
        kinds = self.kinds(brief.image_id, sample)
        return self._prompt.fill(
            data=brief.as_json(boxes=False), count=str(len(kinds)), kinds=", ".join(kinds)
        )

    def kinds(self, image_id: int, sample: int) -> list[str]:
        """The kinds of questions asked for in a call, drawn by the mix."""
        rng = np.random.default_rng([self._settings.seed, image_id, sample])
        count = self._settings.per_call
        again = count > len(self._kinds)
        return [str(k) for k in rng.choice(self._kinds, count, replace=again, p=self._shares)]

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """The triples of a reply that pass every check."""
        found = validation.parse(reply, finish, "triples")
        if isinstance(found, Fault):
            return Read((), (found,))
        if not found:
            return Read((), (Fault("empty", "a list of nothing", reply),))
        repeats = validation.Repeats(brief.existing)
        rows: list[dict[str, Any]] = []
        faults: list[Fault] = []
        for candidate in found:
            row = self._row(brief, origin.source, candidate)
            if not isinstance(row, Fault) and not repeats.add(f"{row['question']} {row['answer']}"):
                row = Fault("repeat", "one that says the same stands already", row["question"])
            if isinstance(row, Fault):
                faults.append(row)
            else:
                rows.append(row)
        return Read(rows, faults)

    def _row(self, brief: Brief, source: str, candidate: object) -> dict[str, Any] | Fault:
        said = validation.texts(candidate, _TEXTS, self.language)
        if isinstance(said, Fault):
            return said
        assert isinstance(candidate, dict)
        about = validation.regions_fault(
            said, candidate.get("regions"), set(brief.numbers), by_number=self._by_number
        )
        if isinstance(about, Fault):
            return about
        # In words, only the list ties a text to its regions; by number, all that were told are.
        shown = brief.numbers if self._by_number else about
        kind = candidate.get("kind")
        return {
            "key": keys.triple_key((source, brief.name), said, shown, source),
            **dict(zip(_TEXTS, said, strict=True)),
            "visible_regions": shown,
            "kind": kind if kind in self._kinds else "",
            "source": source,
            "prompt_version": self.version,
        }


def parse_mix(text: str) -> dict[str, float]:
    """Weights by kind, as `intent=2,cause=1` states them; UserError for anything else."""
    mix: dict[str, float] = {}
    for part in text.split(","):
        kind, _, weight = part.partition("=")
        try:
            mix[kind.strip()] = float(weight)
        except ValueError:
            mix[kind.strip()] = -1.0
    wrong = [kind for kind, weight in mix.items() if kind not in KINDS or not 0 < weight < np.inf]
    if wrong:
        raise UserError(
            f"no mix of kinds: {text}",
            where=wrong[0],
            hint=f"write such as intent=2,cause=1; kinds are {', '.join(KINDS)}",
        )
    return mix


def _schema(kinds: list[str]) -> Schema:
    kind = {**TEXT, "enum": kinds}
    texts = dict.fromkeys(_TEXTS, TEXT)
    return closed(triples=listed(closed(kind=kind, **texts, regions=listed(NUMBER))))
