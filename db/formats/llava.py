"""LLaVA's files: instructions, and captions with boxes of images.

An instruction has `id`, `image` (several in a list) and `conversations`, in which `<image>` stands
for an image, in order. Its kind is its `kind`; else the prefix of its id if lskd wrote it; else the
file's name says it (`conversation_58k.json`, `detail_23k.json`, `complex_reasoning_77k.json`); else
it is a conversation, which is noted. Entries without an image are rejected.

An entry with `captions` and `instances` (`category`, and `bbox` as shares x1, y1, x2, y2 of the
image) gives texts and regions, also of images of which there are no pictures.
"""

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.formats import rows
from db.formats.rows import ImportContext, InstructionRow, RegionRow, Row, TextRow
from db.reading.decoding import InvalidRowError, RecordDecoder
from db.schema import Image, Instruction, InstructionKind
from regions.progress import Progress

IMAGE_TOKEN = "<image>"  # noqa: S105 - not a secret

_KINDS: dict[str, InstructionKind] = {
    "conversation": "conversation",
    "description": "description",
    "conv": "conversation",
    "detail": "description",
    "complex": "reasoning",
    "reason": "reasoning",
}
"""Kinds by a word in the file's name."""
_SPEAKERS = ("human", "gpt")
_MODEL = "LLaVA's teacher"
_CAPTION_MODEL = "LLaVA's captions"
_NOMINAL_SIDE = 1000
"""Width and height of an image of which only texts and shares of boxes are known."""


class _Turn(msgspec.Struct, gc=False):
    speaker: str = msgspec.field(name="from")
    value: str


class _Instance(msgspec.Struct, gc=False):
    category: str
    bbox: list[float]


class _Record(msgspec.Struct, gc=False):
    image: str | list[str]
    id: str | int | float = ""
    kind: str = ""
    conversations: list[_Turn] | None = None
    captions: str | list[str] = []
    instances: list[_Instance] = []
    width: float | None = None
    height: float | None = None


DECODER = RecordDecoder(_Record, "entry")


def read(record: _Record, line: int, context: ImportContext) -> Row:
    """Return the row of one entry; InvalidRowError if it is not valid."""
    first, *further = [rows.check_name(n, "image") for n in rows.as_list(record.image)] or [""]
    if not first:
        raise InvalidRowError("image", "missing")
    width, height = record.width, record.height
    if not context.has_pictures and (width is None or height is None):
        width = height = _NOMINAL_SIDE
    size = context.stated_size(first, "image", width, height, "width")
    texts = [
        TextRow("scene", None, caption, "", _CAPTION_MODEL, "")
        for caption in rows.check_texts(record.captions, "captions")
    ]
    regions = [_region(n, instance, size) for n, instance in enumerate(record.instances)]
    instructions = []
    if record.conversations is not None:
        kind = _kind(record, context)
        images = [context.further_image(name, "image") for name in further]
        turns = _turns(record.conversations)
        instructions.append(InstructionRow(kind, turns, _MODEL, rows.check_id(record.id), images))
    elif not texts and not regions:
        raise InvalidRowError("conversations", "missing")
    return Row(line, first, size, regions, texts=texts, instructions=instructions)


def _region(number: int, instance: _Instance, size: tuple[int, int]) -> RegionRow:
    """Return a region; its box is in shares of the image."""
    if len(instance.bbox) != 4 or not all(0 <= share <= 1 for share in instance.bbox):  # noqa: PLR2004 - x1, y1, x2, y2
        raise InvalidRowError("instances.bbox", f"not four shares: {instance.bbox!r:.60}")
    scales = (*size, *size)
    pixels = [share * scale for share, scale in zip(instance.bbox, scales, strict=True)]
    box = rows.check_box(pixels, size, "instances.bbox")
    label = rows.check_label(instance.category, "instances.category")
    return rows.region_row(number, box, (), label)


def _kind(record: _Record, context: ImportContext) -> InstructionKind:
    """Return the kind as stated, by the prefix of the id, or by the file's name."""
    prefix = str(record.id).partition("-")[0]
    of_id = next((kind for kind in _KINDS.values() if kind == prefix), None)
    kind = _kind_in(record.kind) or of_id or _kind_in(context.file_name)
    if kind is None:
        context.notes["entries without a kind: imported as conversations"] += 1
        kind = "conversation"
    return kind


def _kind_in(text: str) -> InstructionKind | None:
    return next((kind for word, kind in _KINDS.items() if word in text.lower()), None)


def _turns(conversation: list[_Turn]) -> list[list[str]]:
    """Return questions and answers, alternately by human and model, with `<image>` in its place."""
    texts = []
    for number, turn in enumerate(conversation):
        speaker = _SPEAKERS[number % 2]
        if turn.speaker != speaker:
            raise InvalidRowError("conversations", f"turn {number + 1} is not from {speaker}")
        if number == 0:
            rows.check_text(turn.value.replace(IMAGE_TOKEN, ""), "conversations.value")
        texts.append(rows.check_text(turn.value, "conversations.value"))
    if not texts or len(texts) % 2:
        raise InvalidRowError("conversations", "the last turn is not an answer")
    return [list(turn) for turn in zip(texts[::2], texts[1::2], strict=True)]


def without_image_token(turns: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return turns without `<image>` in the first question, where it stands for the image."""
    (question, answer), *others = turns
    return [[question.replace(IMAGE_TOKEN, "").strip(), answer], *map(list, others)]


def to_record(
    entry_id: str,
    kind: InstructionKind,
    images: Sequence[str],
    turns: Sequence[Sequence[str]],
    *,
    image_first: bool,
) -> dict[str, Any]:
    """Return one entry; without `<image>` in a question, it is put before or after the first one.

    If there is not one `<image>` per image in the questions, the brackets are dropped: a text that
    happens to contain it would stand for an image.
    """
    in_place = sum(q.count(IMAGE_TOKEN) for q, _ in turns) == len(images)
    conversation = [
        {
            "from": speaker,
            "value": text
            if in_place and speaker == "human"
            else text.replace(IMAGE_TOKEN, "image"),
        }
        for turn in turns
        for speaker, text in zip(_SPEAKERS, turn, strict=True)
    ]
    if not in_place:
        question = conversation[0]["value"]
        tokens = "\n".join([IMAGE_TOKEN] * len(images))
        conversation[0]["value"] = (
            f"{tokens}\n{question}" if image_first else f"{question}\n{tokens}"
        )
    image: str | list[str] = images[0] if len(images) == 1 else list(images)
    return {"id": entry_id, "image": image, "kind": kind, "conversations": conversation}


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
        record = to_record(
            instruction.external_id or f"{instruction.kind}-{instruction.id}",
            instruction.kind,
            [image, *_further_names(session, instruction)],
            instruction.turns,
            image_first=image_first,
        )
        yield (b",\n" if n else b"\n") + json.dumps(record, ensure_ascii=False).encode()
        progress(n + 1, n + 1)
    yield b"\n]\n"


def _further_names(session: Session, instruction: Instruction) -> list[str]:
    """Return the names of an instruction's images after the first."""
    if not instruction.further_images:
        return []
    query = select(Image.id, Image.name).where(Image.id.in_(instruction.further_images))
    names = dict(session.execute(query).all())
    return [names[image_id] for image_id in instruction.further_images]
