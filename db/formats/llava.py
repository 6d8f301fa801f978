"""LLaVA's instruction files: a JSON list of `id`, `image` and `conversations`.

`<image>` in the first turn stands for the image. When reading, the kind of an entry is the prefix
of its id if lskd wrote it; else the file's name says it (`conversation_58k.json`,
`detail_23k.json`, `complex_reasoning_77k.json`); else it is a conversation, which is noted. Entries
without an image are rejected.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats import rows
from db.formats.rows import ImportContext, InstructionRow, Row
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.schema import Image, Instruction, InstructionKind
from regions.progress import Progress

IMAGE_TOKEN = "<image>"  # noqa: S105 - not a secret

_KINDS: dict[str, InstructionKind] = {
    "conversation": "conversation",
    "description": "description",
    "detail": "description",
    "reason": "reasoning",
}
"""Kinds by a word in the file's name."""
_SPEAKERS = ("human", "gpt")
_MODEL = "LLaVA's teacher"


class _Turn(msgspec.Struct, gc=False):
    speaker: str = msgspec.field(name="from")
    value: str


class _Record(msgspec.Struct, gc=False):
    image: str
    conversations: list[_Turn]
    id: str | int | float = ""


DECODER = RecordDecoder(_Record, "entry")


def read(record: _Record, line: int, context: ImportContext) -> Row:
    """Return the row of one entry; InvalidRowError if it is not valid."""
    name = rows.check_name(record.image, "image")
    size = context.image_size(name, "image")
    texts = _texts(record.conversations)
    prefix = str(record.id).partition("-")[0]
    kind = next((kind for kind in _KINDS.values() if kind == prefix), None) or _kind_of_file(
        context.file_name
    )
    if kind is None:
        context.notes["entries without a kind: imported as conversations"] += 1
        kind = "conversation"
    turns = [list(turn) for turn in zip(texts[::2], texts[1::2], strict=True)]
    return Row(line, name, size, [], instructions=[InstructionRow(kind, turns, _MODEL)])


def _kind_of_file(name: str) -> InstructionKind | None:
    return next((kind for word, kind in _KINDS.items() if word in name.lower()), None)


def _texts(conversation: list[_Turn]) -> list[str]:
    """Return the texts of a conversation, alternately by human and model, without `<image>`."""
    texts = []
    for number, turn in enumerate(conversation):
        speaker = _SPEAKERS[number % 2]
        if turn.speaker != speaker:
            raise InvalidRowError("conversations", f"turn {number + 1} is not from {speaker}")
        text = turn.value.replace(IMAGE_TOKEN, "") if number == 0 else turn.value
        texts.append(rows.check_text(text, "conversations.value"))
    if not texts or len(texts) % 2:
        raise InvalidRowError("conversations", "the last turn is not an answer")
    return texts


def to_record(
    entry_id: str, image: str, turns: list[list[str]], *, image_first: bool
) -> dict[str, Any]:
    """Return one entry, with `<image>` before or after the first question.

    Brackets are dropped where a text itself contains `<image>`, which would stand for the image.
    """
    conversation = [
        {"from": speaker, "value": text.replace(IMAGE_TOKEN, "image")}
        for turn in turns
        for speaker, text in zip(_SPEAKERS, turn, strict=True)
    ]
    question = conversation[0]["value"]
    conversation[0]["value"] = (
        f"{IMAGE_TOKEN}\n{question}" if image_first else f"{question}\n{IMAGE_TOKEN}"
    )
    return {"id": entry_id, "image": image, "conversations": conversation}


def to_lines(session: Session, *, seed: int | None, progress: Progress) -> Iterator[bytes]:
    """Yield all instructions as a file, in parts.

    The image comes first, or with a seed at random before or after the question.
    """
    rng = random.Random(seed)  # noqa: S311 - not for security
    instructions = session.execute(
        select(Instruction, Image.name)
        .join(Image, Image.id == Instruction.image_id)
        .order_by(Instruction.id)
        .execution_options(yield_per=1000)
    )
    yield b"["
    for n, (instruction, image) in enumerate(instructions):
        image_first = seed is None or rng.random() < 0.5  # noqa: PLR2004 - a fair coin
        entry_id = f"{instruction.kind}-{instruction.id}"
        record = to_record(entry_id, image, instruction.turns, image_first=image_first)
        yield (b",\n" if n else b"\n") + json.dumps(record, ensure_ascii=False).encode()
        progress(n + 1, n + 1)
    yield b"\n]\n"
