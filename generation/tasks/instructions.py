"""LLaVA's three kinds of instructions: conversations, detailed descriptions, complex reasoning."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from db.schema import Instruction, InstructionKind
from db.store import keys
from generation import prompts
from generation.checks import languages, validation
from generation.checks.reading import parse_reply
from generation.checks.validation import ValidationFailure
from generation.llm.json_schema import STRING, array_of, object_of
from generation.prompts import Message
from generation.settings import InstructionSettings
from generation.tasks.context import Context
from generation.tasks.protocol import ParseResult, Provenance
from regions import references
from regions.errors import InvalidError

_TEXTS = ("question", "answer")


class Instructions:
    """Writes one instruction of a kind per call; boxes of regions are part of the prompt."""

    table = Instruction
    side = 0
    schema: Mapping[str, Any] = object_of(
        turns=array_of(object_of(**dict.fromkeys(_TEXTS, STRING)))
    )

    def __init__(self, kind: InstructionKind, settings: InstructionSettings) -> None:
        if settings.samples < 1:
            raise InvalidError(f"--samples must be at least 1 (got {settings.samples})")
        self._kind, self._settings = kind, settings
        self._prompt = prompts.load(kind, settings.prompt, frozenset({"data"}))
        self.name: str = kind
        self.language = languages.check_code(settings.language)
        self.samples, self.version = settings.samples, self._prompt.version

    def settings(self) -> dict[str, Any]:
        """Return the settings that identify a run of this task."""
        return asdict(self._settings) | {"prompt": self.version}

    def skip_reason(self, context: Context) -> str | None:
        """Return what an image lacks for this task; None if nothing."""
        return "no texts or regions" if context.is_empty else None

    def messages(self, context: Context, sample: int) -> list[Message]:
        """Return the prompt, the same for every sample."""
        del sample
        return self._prompt.fill(data=context.to_json(with_boxes=True))

    def parse(
        self, context: Context, provenance: Provenance, reply: str, finish_reason: str
    ) -> ParseResult:
        """Return the instruction of a reply, which is rejected as a whole if any turn fails."""
        parsed = parse_reply(reply, finish_reason, "turns", self.schema)
        if isinstance(parsed, ValidationFailure):
            return ParseResult((), (parsed,))
        turns = self._turns(parsed.data["turns"], reply)
        if isinstance(turns, ValidationFailure):
            return ParseResult((), (turns,)).read_from(parsed)
        row = {
            "key": keys.digest("instruction", provenance.source, context.name, self._kind, turns),
            "kind": self._kind,
            "turns": turns,
            "prompt_version": provenance.prompt_version,
        }
        return ParseResult((row,), ()).read_from(parsed)

    def _turns(self, items: Sequence[object], reply: str) -> list[list[str]] | ValidationFailure:
        turns = []
        for item in items:
            texts = validation.check_texts(item, _TEXTS, self.language)
            if isinstance(texts, ValidationFailure):
                return texts
            if numbers := references.mentioned(" ".join(texts)):
                detail = f"refers to region [{numbers[0]}] by number"
                return ValidationFailure("regions", detail, " ".join(texts))
            turns.append(texts)
        if not turns or (self._kind != "conversation" and len(turns) > 1):
            return ValidationFailure("fields", f"{len(turns)} turns", reply)
        return turns
