"""LLaVA's file: one JSON list of `id`, `image` and `conversations`, `<image>` in the first turn."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Image, Instruction

PLACE = "<image>"


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


def lines(
    session: Session, *, seed: int | None, progress: Callable[[int, int], None]
) -> Iterator[bytes]:
    """The file, piece by piece; with a seed, picture and question come in random order."""
    chance = random.Random(seed)  # noqa: S311 - an order is no secret
    rows = session.execute(
        select(Instruction, Image.name)
        .join(Image, Image.id == Instruction.image_id)
        .order_by(Instruction.id)
        .execution_options(yield_per=1000)
    )
    yield b"["
    for n, (instruction, image) in enumerate(rows):
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
