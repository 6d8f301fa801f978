"""A student trained here answers about the region that is referred to, on unseen images.

The images are crops of the demo's photographs with two or three regions; the question is in which
quarter a region lies. Test images are crops of photographs that training does not use.
"""

import numpy as np
import pytest

from db.store import runs
from db.store.session import Store
from student.models import registry
from student.models.generative import GenerativeStudent
from student.training.train import train
from tests import synthetic
from tests.student.conftest import keep_all
from tests.student.region_questions import SETTINGS, correct_by_image

pytestmark = pytest.mark.slow

IMAGES, TEST_IMAGES = 2000, 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, GenerativeStudent]:
    folder = tmp_path_factory.mktemp("planted")
    store = Store.create(f"sqlite:///{folder / 'store.db'}")
    synthetic.create_project(store, folder / "cuts", n_images=IMAGES, flaw_rate=0.0)
    keep_all(store)
    run = train(store, SETTINGS)
    student = registry.load(runs.folder(store, run.name) / "student")
    assert isinstance(student, GenerativeStudent)
    return store, student


def accuracy(store: Store, student: GenerativeStudent) -> float:
    return float(np.mean(np.concatenate(correct_by_image(store, student, TEST_IMAGES))))


def test_answers_depend_on_the_number_of_a_region(
    trained: tuple[Store, GenerativeStudent],
) -> None:
    """Numbers are shuffled; without marks accuracy is no better than chance, a quarter."""
    store, student = trained
    with_marks = accuracy(store, student)
    student.style = None
    without_marks = accuracy(store, student)
    student.style = "numbered"
    assert without_marks < 0.38
    assert with_marks > 0.5
    assert with_marks > without_marks + 0.2
