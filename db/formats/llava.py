"""LLaVA's file: one JSON list of `id`, `image` and `conversations`, `<image>` in the first turn.

Read, the kind of an entry is what its id says if we wrote it, else what the file's name says
(`conversation_58k.json`, `detail_23k.json`, `complex_reasoning_77k.json`); else it is a
conversation, which is noted. Entries without a picture are kept out.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats import rows
from db.formats.json_lists import JsonListReader
from db.formats.rows import ImportContext, InstructionRow, InvalidRow, Row, RowRejection
from db.schema import Image, Instruction, InstructionKind
from regions.progress import Progress

PLACE = "<image>"

_KINDS: dict[str, InstructionKind] = {
    "conversation": "conversation",
    "description": "description",
    "detail": "description",
    "reason": "reasoning",
}
_MODEL = "LLaVA's teacher"


def read(documents: JsonListReader, reading: ImportContext) -> Iterator[Row | RowRejection]:
    """One row an entry; `line` counts entries from 1."""
    (file,) = documents.files
    stated = next((kind for word, kind in _KINDS.items() if word in file.name.lower()), None)
    for line, entry in enumerate(documents.entries(file), 1):
        try:
            yield _row(entry, line, stated, reading)
        except InvalidRow as bad:
            yield RowRejection(line, bad.field, bad.reason)


def _row(entry: object, line: int, stated: InstructionKind | None, reading: ImportContext) -> Row:
    if not isinstance(entry, dict):
        raise InvalidRow("entry", f"no object: {entry!r:.60}")
    name = rows.text(rows.get(entry, "image", str), "image")
    size = reading.size_of(name, "image")
    said = _said(rows.get(entry, "conversations", list))
    ours = str(entry.get("id", "")).partition("-")[0]
    kind = next((kind for kind in _KINDS.values() if kind == ours), stated)
    if kind is None:
        reading.notes["entries of no stated kind: taken for conversations"] += 1
        kind = "conversation"
    turns = [list(turn) for turn in zip(said[::2], said[1::2], strict=True)]
    return Row(line, name, size, [], instructions=[InstructionRow(kind, turns, _MODEL)])


def _said(conversation: list[Any]) -> list[str]:
    """The texts in turn, without the picture's place."""
    said = []
    for number, turn in enumerate(conversation):
        who = ("human", "gpt")[number % 2]
        if not isinstance(turn, dict) or turn.get("from") != who:
            raise InvalidRow("conversations", f"turn {number + 1} is not from {who}")
        value = rows.get(turn, "value", str)
        said.append(rows.text(value.replace(PLACE, "") if not number else value, "conversations"))
    if not said or len(said) % 2:
        raise InvalidRow("conversations", "no answer at the end")
    return said


def record(id_: str, image: str, turns: list[list[str]], *, image_first: bool) -> dict[str, Any]:
    """One entry; the picture stands before the first question or after it.

    A text that says `<image>` itself would be taken for the picture, so its brackets go.
    """
    said = [
        {"from": who, "value": text.replace(PLACE, "image")}
        for turn in turns
        for who, text in zip(("human", "gpt"), turn, strict=True)
    ]
    question = said[0]["value"]
    said[0]["value"] = f"{PLACE}\n{question}" if image_first else f"{question}\n{PLACE}"
    return {"id": id_, "image": image, "conversations": said}


def lines(session: Session, *, seed: int | None, progress: Progress) -> Iterator[bytes]:
    """The file, piece by piece; with a seed, picture and question come in random order."""
    chance = random.Random(seed)  # noqa: S311 - an order is no secret
    found = session.execute(
        select(Instruction, Image.name)
        .join(Image, Image.id == Instruction.image_id)
        .order_by(Instruction.id)
        .execution_options(yield_per=1000)
    )
    yield b"["
    for n, (instruction, image) in enumerate(found):
        image_first = seed is None or chance.random() < 0.5  # noqa: PLR2004 - a coin
        entry = record(
            f"{instruction.kind}-{instruction.id}",
            image,
            instruction.turns,
            image_first=image_first,
        )
        yield (b",\n" if n else b"\n") + json.dumps(entry, ensure_ascii=False).encode()
        progress(n + 1, n + 1)
    yield b"\n]\n"
