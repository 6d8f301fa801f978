"""A student taught here answers by the region that is pointed at, on pictures it never saw.

Cuts of the demo's photographs with two or three regions; what is asked of a region is in which
quarter it lies. The test's cuts are of photographs of which nothing was learned.
"""

import numpy as np
import pytest
from sqlalchemy import select

from db.images import image_files
from db.schema import Image, Split
from db.store import queries, runs
from db.store.session import Store
from student.models import registry
from student.models.generative import Generative
from student.models.protocol import Ask
from student.settings import TrainSettings
from student.training.train import train
from tests import synthetic
from tests.student.conftest import keep_all

IMAGES, TESTED = 2000, 100
SETTINGS = TrainSettings(
    release="all",
    steps=400,
    batch=16,
    piece=64,
    rate=2e-3,
    base_steps=700,
    own=0.6,
    rationale=0.0,
    every=400,
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Generative]:
    folder = tmp_path_factory.mktemp("planted")
    store = Store.create(f"sqlite:///{folder / 'store.db'}")
    synthetic.create(store, folder / "cuts", images=IMAGES, wrong=0.0)
    keep_all(store)
    run = train(store, SETTINGS)
    student = registry.load(runs.folder(store, run.name) / "student")
    assert isinstance(student, Generative)
    return store, student


def answers(store: Store, student: Generative, *, marked: bool = True) -> list[tuple[str, str]]:
    """What a student ranks first of each region, under a number drawn by lot; and what is true."""
    rng = np.random.default_rng(0)
    student.style = "numbered" if marked else None
    found = []
    with store.read() as session:
        query = select(Image).join(Split, Split.image_id == Image.id).where(Split.part == "test")
        for image in session.scalars(query.order_by(Image.id).limit(TESTED)):
            regions = queries.regions_by_image(session, [image.id])[image.id]
            shown = [int(n) for n in rng.permutation([region.number for region in regions])]
            for region in regions:
                view = student.look(
                    image_files.load(image), regions, [synthetic.question(region.number)], shown
                )
                (scores,) = student.rank([Ask(view, view.texts[0])], [synthetic.ANSWERS])
                found.append(
                    (synthetic.ANSWERS[int(scores.argmax())], synthetic.answer(region.box))
                )
    student.style = "numbered"
    return found


def share_right(pairs: list[tuple[str, str]]) -> float:
    return float(np.mean([said == true for said, true in pairs]))


def test_it_answers_by_the_number_of_a_region(taught: tuple[Store, Generative]) -> None:
    """Numbers are swapped by lot; without marks it does no better than chance, a quarter."""
    store, student = taught
    by_region = share_right(answers(store, student))
    blind = share_right(answers(store, student, marked=False))
    assert blind < 0.38
    assert by_region > 0.5
    assert by_region > blind + 0.2
