"""The demo page: point at regions of a picture and ask the student about them."""

import base64
import binascii
import io
import threading
from typing import Any

import gradio as gr

from annotator.pages import shell
from db import pictures
from db.schema import Image
from db.session import Store
from regions.errors import UserError
from regions.geometry import Region, box_fault

MOST_BYTES = 20_000_000
"""Of an upload."""


def build(store: Store) -> gr.Blocks:
    """The page over a store; what it calls is below."""
    with gr.Blocks() as page:
        shell.surface("demo", actions(store))
    return page


class Training:
    """One student in training at a time, in its own thread; the store keeps what comes of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {"running": False, "done": 0, "total": 1, "error": ""}

    def start(self, release: str) -> None:
        """Train a tiny student on a release; UserError while another one is in training."""
        with self._lock:
            if self._state["running"]:
                raise UserError("a student is in training already", todo="wait until it is done")
            self._state = {"running": True, "done": 0, "total": 1, "error": ""}
        threading.Thread(target=self._run, args=(release,), daemon=True).start()

    def state(self) -> dict[str, Any]:
        """How far it is."""
        return dict(self._state)

    def _run(self, release: str) -> None:
        from student.settings import TrainSettings
        from student.train import train

        error = ""
        try:
            train(self._store, TrainSettings(release=release), self._progress)
        except UserError as mistake:
            error = str(mistake)
        except Exception as failure:
            error = f"training failed: {failure}"
            raise
        finally:
            self._state = {**self._state, "running": False, "error": error}

    def _progress(self, done: int, total: int) -> None:
        self._state = {**self._state, "done": done, "total": total}


def actions(store: Store) -> list[Any]:
    """What the page may call. Models are imported when they are needed, not with the page."""
    training = Training(store)
    asking = threading.Lock()  # one answer at a time: a model fills both cores by itself

    def overview() -> dict[str, Any]:
        from student import browse

        return browse.overview(store) | {"training": training.state()}

    def picture(image: int) -> dict[str, Any]:
        from student import browse

        return browse.picture(store, image)

    def upload(data: str) -> dict[str, int]:
        width, height = decoded(data).size
        return {"width": width, "height": height}

    def train(release: str) -> dict[str, Any]:
        training.start(release)
        return training.state()

    def progress() -> dict[str, Any]:
        return training.state()

    def ask(
        student: str,
        regions: list[dict[str, Any]],
        question: str,
        image: int | None = None,
        data: str = "",
    ) -> dict[str, Any]:
        from student.answer import ask as answer

        seen = decoded(data) if image is None else _stored(store, image)
        pointed = [_region(region, seen.size) for region in regions]
        with asking:
            found = answer(store, seen, pointed, question.strip() or None, run_name=student)
        return {
            "question": found.question,
            "answer": found.answer,
            "rationale": found.rationale,
            "seconds": found.seconds,
        }

    return [overview, picture, upload, train, progress, ask]


def decoded(data: str) -> Any:  # noqa: ANN401 - Pillow's image
    """The picture of a data URL; UserError where it is none, damaged or too large. Never stored."""
    head, _, body = data.partition(",")
    if len(body) * 3 // 4 > MOST_BYTES:
        raise UserError(
            "the upload is too large", todo=f"at most {MOST_BYTES // 1_000_000} MB are taken"
        )
    try:
        if not head.endswith(";base64"):
            raise UserError("not a picture that Pillow can read", where="upload")
        raw = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UserError("not a picture that Pillow can read", where="upload") from error
    return pictures.decode(io.BytesIO(raw), "upload")


def _stored(store: Store, image_id: int) -> Any:  # noqa: ANN401 - Pillow's image
    with store.read() as session:
        image = session.get(Image, image_id)
    if image is None:
        raise UserError("no such image", where=str(image_id))
    return pictures.load(image)


def _region(region: dict[str, Any], size: tuple[int, int]) -> Region:
    box = region.get("box")
    if not isinstance(box, list) or box_fault(box, *size):
        raise UserError("no region of this picture", where=f"{box!r:.60}", todo="draw it anew")
    x1, y1, x2, y2 = box
    rings = tuple(tuple((x, y) for x, y in ring) for ring in region.get("polygons", []))
    return Region(int(region["number"]), (x1, y1, x2, y2), rings)
