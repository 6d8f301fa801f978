"""Asking a student over HTTP, about an image of the store or an upload that is not stored."""

import base64
import binascii
import io
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Annotated, Any

from PIL.Image import Image as PillowImage
from pydantic import BaseModel, Field

from annotator.jobs import student_loader
from db.images import image_files
from db.schema import Image
from db.store import queries, runs
from db.store.session import Store
from regions.errors import InvalidError, UserError
from regions.geometry import Region

MAX_UPLOAD_BYTES = 20_000_000
MAX_UPLOAD_PIXELS = 40_000_000
_MODEL_LOCK = threading.Lock()
"""One answer at a time: a model uses all cores by itself, and a picture much memory."""
_PLACES = threading.BoundedSemaphore(8)
"""Requests that are answered or wait, each of which holds a thread and the data of its picture."""
_NOT_AN_IMAGE = "not a picture that can be opened"


class BusyError(UserError):
    """Too many people ask at the moment."""


Number = Annotated[int, Field(ge=0, lt=1000)]
Text = Annotated[str, Field(max_length=2000)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6)]


class RegionInput(BaseModel):
    """A region in pixels of the image: a box, and outlines if it has any."""

    number: Number
    box: Annotated[list[Pixel], Field(min_length=4, max_length=4)]
    polygons: Annotated[
        list[Annotated[list[tuple[Pixel, Pixel]], Field(min_length=3, max_length=500)]],
        Field(max_length=20),
    ] = []


class AskRequest(BaseModel):
    """A question about regions of an image: one of the store by id, or a data URL."""

    regions: Annotated[list[RegionInput], Field(max_length=40)]
    question: Text = ""
    """Empty: the student generates a question."""
    image: Annotated[int | None, Field(ge=0, lt=2**31)] = None
    data: str = ""
    turns: Annotated[list[tuple[Text, Text]], Field(max_length=20)] = []
    """Earlier questions and answers."""
    student: str | None = None
    """Name of a student run; None: the newest."""
    stream: bool = False
    """Whether the answer is streamed: a JSON object per line."""


def answer(
    store: Store, request: AskRequest, on_text: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Return a student's answer; UserError for an image, region or student that does not exist."""
    from student.asking.inference import ask

    with _place_for_picture(store, request.student):
        image = (
            decode_data_url(request.data)
            if request.image is None
            else _stored_image(store, request.image)
        )
        regions = [_to_region(region, image.size) for region in request.regions]
        result = ask(
            store,
            image,
            regions,
            request.question.strip() or None,
            turns=request.turns,
            run_name=request.student,
            on_text=on_text,
            loader=student_loader.load_student,
        )
    return asdict(result)


def stream_answer(store: Store, request: AskRequest) -> Iterator[dict[str, Any]]:
    """Yield events while a student answers: `text` so far, and last `answer` or `error`."""
    events: queue.Queue[dict[str, Any]] = queue.Queue()

    def work() -> None:
        try:
            result = answer(store, request, lambda text: events.put({"text": text}))
            events.put({"answer": result})
        except UserError as error:
            events.put({"error": str(error)})
        except Exception as error:
            events.put({"error": f"internal error: {type(error).__name__}"})
            raise

    threading.Thread(target=work, daemon=True).start()
    while True:
        event = events.get()
        yield event
        if "text" not in event:
            return


def upload_size(store: Store, url: str) -> tuple[int, int]:
    """Return width and height of the image in a data URL, after decoding all of it."""
    with _place_for_picture(store, None):
        return decode_data_url(url).size


@contextmanager
def _place_for_picture(store: Store, student: str | None) -> Iterator[None]:
    """Wait until a picture may be in memory; NotFoundError if there is no such student.

    BusyError if too many wait already.
    """
    with store.read() as session:
        runs.newest(session, "student", student)
    if not _PLACES.acquire(blocking=False):
        raise BusyError("too many people ask at the moment", hint="try again in a minute")
    try:
        with _MODEL_LOCK:
            yield
    finally:
        _PLACES.release()


def decode_data_url(url: str) -> PillowImage:
    """Return the image in a data URL; InvalidError if it is none, damaged or too large."""
    head, _, body = url.partition(",")
    if len(body) * 3 // 4 > MAX_UPLOAD_BYTES:
        raise InvalidError(
            "the upload is too large", hint=f"the limit is {MAX_UPLOAD_BYTES // 1_000_000} MB"
        )
    try:
        if not head.endswith(";base64"):
            raise InvalidError(_NOT_AN_IMAGE, where="upload")
        content = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidError(_NOT_AN_IMAGE, where="upload") from error
    return image_files.decode(io.BytesIO(content), "upload", MAX_UPLOAD_PIXELS)


def _stored_image(store: Store, image_id: int) -> PillowImage:
    with store.read() as session:
        image = queries.by_id(session, Image, image_id)
    return image_files.load(image)


def _to_region(region: RegionInput, size: tuple[int, int]) -> Region:
    from student.asking.batch_answer import region_from_box

    checked = region_from_box(region.number, region.box, size, where=str(region.box))
    return replace(checked, polygons=tuple(map(tuple, region.polygons)))
