from dataclasses import replace

from sqlalchemy import func, select

from db.schema import Image, Run, Source, Verbalization
from db.schema import ImageRegion as Stored
from db.store.session import Store
from generation.verbalize.describers.annotations import Annotations
from generation.verbalize.protocol import DescriberInput, Target
from generation.verbalize.run import verbalize
from regions.geometry import Region


def test_a_region_is_described_by_label_position_and_size() -> None:
    regions = [
        Region(0, (0, 0, 30, 30), label="dog"),
        Region(1, (100, 100, 290, 290), label="umbrella"),
        Region(2, (200, 0, 260, 60)),
    ]
    item = DescriberInput(1, 300, 300, regions, ())
    item = replace(item, pending=Annotations().targets(item))
    assert Annotations().describe([item], []) == [
        {
            Target("region", 0): "a small dog in the top left of the picture",
            Target("region", 1): "a large umbrella in the centre of the picture",
            Target("concept"): "1 dog, 1 umbrella",
        }
    ]


def test_describing_twice_adds_no_text(store: Store) -> None:
    with store.write() as session:
        session.add(Source(id=1, name="s", root="/nowhere"))
        session.flush()
        session.add(Image(id=1, source_id=1, name="a.jpg", width=300, height=300))
        session.flush()
        session.add(Stored(image_id=1, number=0, x1=0, y1=0, x2=9, y2=9, label="owl"))
    first, second = (verbalize(store, Annotations()) for _ in range(2))
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Verbalization)) == 2
        none_missing = {"empty_texts": 0, "unreadable_images": 0, "unreadable_example": None}
        results = [session.get_one(Run, run.id).results for run in (first, second)]
        assert results == [
            {"images": 1, "texts": 2, **none_missing},
            {"images": 1, "texts": 0, **none_missing},
        ]
        assert session.scalars(select(Verbalization.text)).first() == (
            "a small owl in the top left of the picture"
        )
