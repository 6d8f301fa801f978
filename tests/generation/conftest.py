"""Pictures in words."""

import pytest
from sqlalchemy import insert

from db.schema import Image, ImageRegion, Source, Verbalization
from db.session import Store


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
