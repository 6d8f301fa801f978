"""Stores with described images, and with image files.

Most of what is tested with them does not depend on the database; the journal does.
"""

from pathlib import Path

import PIL.Image
import pytest
from sqlalchemy import insert

from db.schema import Image, ImageRegion, Source, Verbalization
from db.store.session import Store


@pytest.fixture
def pictures(sqlite_store: Store) -> Store:
    return add_pictures(sqlite_store)


@pytest.fixture
def pictures_on_both(store: Store) -> Store:
    """The same on SQLite and on PostgreSQL."""
    return add_pictures(store)


def add_pictures(store: Store) -> Store:
    """Twenty images without files, with texts and three regions each; the last has neither."""
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


@pytest.fixture
def image_store(sqlite_store: Store, tmp_path: Path) -> Store:
    """Five images with files and 0 to 4 regions; the third has an open question."""
    store = sqlite_store
    with store.write() as session:
        session.add(Source(id=1, name="s", root=str(tmp_path)))
        session.flush()
        for n in range(1, 6):
            colour = (40 * n, 250 - 40 * n, 90)
            PIL.Image.new("RGB", (120 + n, 90), colour).save(tmp_path / f"{n}.png")
            session.add(Image(id=n, source_id=1, name=f"{n}.png", width=120 + n, height=90))
        session.flush()
        box = {"y1": 10, "y2": 60, "polygons": [], "label": "thing"}
        session.execute(
            insert(ImageRegion),
            [
                {"image_id": n, "number": k, "x1": 20 * k, "x2": 20 * k + 15, **box}
                for n in range(2, 6)
                for k in range(n - 1)
            ],
        )
        question = {"key": "q", "image_id": 3, "region_number": 1, "kind": "question"}
        session.add(Verbalization(**question, text="What is [1]?", model="asker", version="1"))
    return store
