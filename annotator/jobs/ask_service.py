"""Asking a student over the web: a picture of the store or one that is sent, and regions of it."""

import base64
import binascii
import io
import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, Field

from annotator.jobs import student_loader
from db.images import image_files
from db.schema import Image
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError, UserError
from regions.geometry import Region, box_error, clip

MOST_BYTES = 20_000_000
"""Of an upload."""
_ONE_AT_A_TIME = threading.Lock()
"""A model fills all cores by itself."""

Number = Annotated[int, Field(ge=0, lt=1000)]
Words = Annotated[str, Field(max_length=2000)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6)]


class RegionIn(BaseModel):
    """A region in pixels of the picture: a box, and its outline where it has one."""

    number: Number
    box: Annotated[list[Pixel], Field(min_length=4, max_length=4)]
    polygons: Annotated[
        list[Annotated[list[tuple[Pixel, Pixel]], Field(min_length=3, max_length=500)]],
        Field(max_length=20),
    ] = []


class AskIn(BaseModel):
    """A question about regions of a picture: one of the store, or a data URL that is not stored."""

    regions: Annotated[list[RegionIn], Field(max_length=40)]
    question: Words = ""
    """Empty: the student asks itself one."""
    image: Annotated[int | None, Field(ge=0, lt=2**31)] = None
    data: str = ""
    turns: Annotated[list[tuple[Words, Words]], Field(max_length=20)] = []
    """What was asked and answered before."""
    student: str | None = None
    """A student's run; the newest where none is named."""
    stream: bool = False
    """Whether the answer comes as it is written: a JSON object a line."""


def answer(store: Store, asked: AskIn, listener: Any = None) -> dict[str, Any]:  # noqa: ANN401 - a callable
    """What a student says; UserError for a picture, a region or a student that is none."""
    from student.asking.inference import ask

    seen = decoded(asked.data) if asked.image is None else _stored(store, asked.image)
    pointed = [_region(region, seen.size) for region in asked.regions]
    with _ONE_AT_A_TIME:
        found = ask(
            store,
            seen,
            pointed,
            asked.question.strip() or None,
            turns=asked.turns,
            run_name=asked.student,
            listener=listener,
            loader=student_loader.ready,
        )
    return asdict(found)


def told(store: Store, asked: AskIn) -> Iterator[dict[str, Any]]:
    """What a student writes, as it writes it: `text` so far, and at last `answer` or `error`."""
    heard: queue.Queue[dict[str, Any]] = queue.Queue()

    def work() -> None:
        try:
            found = answer(store, asked, lambda text: heard.put({"text": text}))
            heard.put({"answer": found})
        except UserError as error:
            heard.put({"error": str(error)})
        except Exception as error:
            heard.put({"error": f"it broke: {type(error).__name__}"})
            raise

    threading.Thread(target=work, daemon=True).start()
    while True:
        line = heard.get()
        yield line
        if "text" not in line:
            return


def decoded(data: str) -> Any:  # noqa: ANN401 - Pillow's image
    """The picture of a data URL; UserError where it is none, damaged or too large. Never stored."""
    head, _, body = data.partition(",")
    if len(body) * 3 // 4 > MOST_BYTES:
        raise InvalidError(
            "the upload is too large", hint=f"at most {MOST_BYTES // 1_000_000} MB are taken"
        )
    try:
        if not head.endswith(";base64"):
            raise InvalidError("not a picture that Pillow can read", where="upload")
        raw = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError("not a picture that Pillow can read", where="upload") from error
    return image_files.decode(io.BytesIO(raw), "upload")


def _stored(store: Store, image_id: int) -> Any:  # noqa: ANN401 - Pillow's image
    with store.read() as session:
        image = session.get(Image, image_id)
    if image is None:
        raise NotFoundError("no such image", where=str(image_id))
    return image_files.load(image)


def _region(region: RegionIn, size: tuple[int, int]) -> Region:
    if box_error(region.box, *size):
        raise InvalidError("no region of this picture", where=f"{region.box}", hint="draw it anew")
    x1, y1, x2, y2 = region.box
    return Region(region.number, clip((x1, y1, x2, y2), *size), tuple(map(tuple, region.polygons)))
