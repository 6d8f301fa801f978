"""LLaVA's three kinds: conversations, detailed descriptions, complex reasoning."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from db.schema import Instruction, InstructionKind
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.validation import Fault
from generation.llm.json_schema import TEXT, closed, listed
from generation.prompts import Message
from generation.settings import InstructionSettings
from generation.tasks.context import Brief
from generation.tasks.protocol import Origin, Read
from regions import references
from regions.errors import UserError

_TEXTS = ("question", "answer")


class Instructions:
    """Asks for one instruction of a kind, whose regions are told as shares of the picture."""

    table = Instruction
    side = 0
    schema: Mapping[str, Any] = closed(turns=listed(closed(**dict.fromkeys(_TEXTS, TEXT))))

    def __init__(self, kind: InstructionKind, settings: InstructionSettings) -> None:
        if settings.samples < 1:
            raise UserError("nothing to write", hint="use --samples 1 or more")
        self._kind, self._settings = kind, settings
        self._prompt = prompts.load(kind, settings.prompt, frozenset({"data"}))
        self.name: str = kind
        self.language = languages.check(settings.language)
        self.samples, self.version = settings.samples, self._prompt.version

    def settings(self) -> dict[str, Any]:
        """What makes a run of it the same run."""
        return asdict(self._settings) | {"prompt": self.version}

    def lacks(self, brief: Brief) -> str | None:
        """Something must be known of a picture."""
        return None if brief.regions or brief.scene else "neither texts nor regions"

    def messages(self, brief: Brief, sample: int) -> list[Message]:
        """The prompt with the brief; every sample asks the same."""
        del sample
        return self._prompt.fill(data=brief.as_json(boxes=True))

    def read(self, brief: Brief, origin: Origin, reply: str, finish: str) -> Read:
        """The instruction of a reply, whole or not at all: a conversation hangs together."""
        found = validation.parse(reply, finish, "turns")
        if isinstance(found, Fault):
            return Read((), (found,))
        turns = []
        for candidate in found:
            said = validation.texts(candidate, _TEXTS, self.language)
            if isinstance(said, Fault):
                return Read((), (said,))
            if numbers := references.mentioned(" ".join(said)):
                detail = f"names region [{numbers[0]}] by number"
                return Read((), (Fault("regions", detail, " ".join(said)),))
            turns.append(said)
        if not turns or (self._kind != "conversation" and len(turns) > 1):
            return Read((), (Fault("fields", f"{len(turns)} turns", reply),))
        key = keys.digest("instruction", origin.source, brief.name, self._kind, turns)
        return Read(
            ({"key": key, "kind": self._kind, "turns": turns, "prompt_version": self.version},), ()
        )
