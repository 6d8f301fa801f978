"""A language model's server on a free port, and pictures in words."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from sqlalchemy import insert

from db.schema import Image, ImageRegion, Source, Verbalization
from db.session import Store
from tests.generation.llm_server import Script

Serve = Callable[[Script], str]


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """A server in a thread: its address, as --base-url has it."""
    server = uvicorn.Server(
        uvicorn.Config(script.app(), port=0, log_level="error", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = server.force_exit = True
    thread.join(10)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(serving(script))


@pytest.fixture
def pictures(store: Store) -> Store:
    """Twenty pictures of three regions each, described; the last has no region."""
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.execute(
            insert(Image),
            [
                {"id": n, "source_id": 1, "name": f"{n}.jpg", "width": 400, "height": 300}
                for n in range(1, 21)
            ],
        )
        session.execute(
            insert(ImageRegion),
            [
                {
                    "image_id": n,
                    "number": k,
                    "x1": 100 * k,
                    "y1": 0,
                    "x2": 100 * k + 90,
                    "y2": 150,
                    "polygons": [],
                    "label": label,
                }
                for n in range(1, 20)
                for k, label in enumerate(("person", "dog", "umbrella"))
            ],
        )
        session.execute(
            insert(Verbalization),
            [
                {
                    "key": f"{n}-{k}",
                    "image_id": n,
                    "region_number": k,
                    "kind": "scene" if k is None else "region",
                    "text": f"text {n} about {k}",
                    "answer": "",
                    "model": "people",
                    "version": "",
                }
                for n in range(1, 20)
                for k in (None, 0)
            ],
        )
    return store
