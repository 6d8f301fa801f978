"""The paper's claim at a small scale: students use regions better after filtering by a critic.

Synthetic projects (`tests/synthetic.py`) in which 45 % of the triples are right. Students of the
same size are trained on equally many triples: sampled at random, or those with the best scores of
a critic of known quality; and one on the latter without marks. All answer about unseen images,
under shuffled numbers. Each seed has its own project, base model and students.

    LSKD_BENCH_SEEDS=5 python benchmarks/student_regions.py
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from sqlalchemy import select
from table import row

from db.schema import AnswerKey, Split, Triple
from db.store import runs
from db.store.session import Store
from regions.geometry import Region
from regions.view import View, make_view
from student.models import registry
from student.models.generative import GenerativeStudent
from student.settings import TrainSettings
from student.training.train import train
from tests import synthetic
from tests.student.region_questions import SETTINGS, correct_by_image

SEEDS = int(os.environ.get("LSKD_BENCH_SEEDS", "3"))
IMAGES, WRONG, KEPT, TEST_IMAGES = 3000, 0.55, 0.35, 150
NOISE = 0.8
"""Of the critic's scores, beside 0 and 1: an average precision of .78, as of real critics."""
STEPS = 800


def make_project(folder: Path, seed: int) -> tuple[Store, float]:
    """A synthetic project with both releases, and the precision of the critic's selection."""
    store = Store.create(f"sqlite:///{folder / 'store.db'}")
    synthetic.create_project(store, folder / "cuts", n_images=IMAGES, flaw_rate=WRONG, seed=seed)
    rng = np.random.default_rng(seed)
    with store.write() as session:
        answer_key = session.execute(
            select(Triple.id, AnswerKey.flaw)
            .join(AnswerKey, AnswerKey.triple_id == Triple.id)
            .join(Split, Split.image_id == Triple.image_id)
            .where(Split.part == "train")
            .order_by(Triple.id)
        ).all()
        is_right = np.array([flaw is None for _, flaw in answer_key])
        scores = is_right + rng.normal(0, NOISE, len(is_right))
        count = round(KEPT * len(is_right))
        best = np.argsort(-scores)[:count]
        at_random = rng.permutation(len(answer_key))[:count]
        for name, chosen in (("released", best), ("unfiltered", at_random)):
            synthetic.add_release(session, name, [answer_key[n][0] for n in chosen])
    return store, float(is_right[best].mean())


def view_without_marks(
    self: GenerativeStudent,
    image: PIL.Image.Image,
    regions: Sequence[Region],
    texts: Sequence[str],
    visible_regions: Sequence[int],
) -> View:
    """Replaces `make_view`: the image alone."""
    return make_view(
        image, regions, texts, visible=visible_regions, size=self.image_size, style=None
    )


def train_student(store: Store, settings: TrainSettings) -> GenerativeStudent:
    """A student, trained as by command."""
    run = train(store, settings)
    student = registry.load(runs.folder(store, run.name) / "student")
    assert isinstance(student, GenerativeStudent)
    return student


def accuracy_by_image(store: Store, student: GenerativeStudent) -> NDArray[np.float64]:
    """The share of each test image's regions that are answered rightly, shape (images,)."""
    return np.array([np.mean(image) for image in correct_by_image(store, student, TEST_IMAGES)])


def format_interval(shares: NDArray[np.float64]) -> str:
    """The mean of shares (seeds, images), and its 95 % interval over seeds and their images."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(shares), size=(2000, len(shares)))
    images = rng.integers(shares.shape[1], size=(2000, len(shares), shares.shape[1]))
    means = shares[seeds[..., None], images].mean((1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{shares.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print a row for each training set, and for the difference that the critic makes."""
    results: dict[str, list[NDArray[np.float64]]] = {"released": [], "unfiltered": [], "blind": []}
    precisions = []
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            store, precision = make_project(Path(folder), seed)
            precisions.append(precision)
            settings = replace(SETTINGS, steps=STEPS, eval_every=STEPS, seed=seed)
            for name in ("released", "unfiltered"):
                student = train_student(store, replace(settings, release=name))
                results[name].append(accuracy_by_image(store, student))
            # Patched, because no option trains without marks.
            with patch.object(GenerativeStudent, "make_view", view_without_marks):
                student = train_student(store, replace(settings, release="released", name="blind"))
                results["blind"].append(accuracy_by_image(store, student))
            store.close()
        so_far = {name: round(float(rows[-1].mean()), 3) for name, rows in results.items()}
        print(f"seed {seed}: {so_far}", file=sys.stderr, flush=True)
    shares = {name: np.array(rows) for name, rows in results.items()}
    row(
        f"accuracy by region, trained on what a critic kept ({np.mean(precisions):.0%} right)",
        format_interval(shares["released"]),
        f"{SEEDS} seeds, chance .250",
    )
    row(
        "the same, trained on as many at random (45% right)",
        format_interval(shares["unfiltered"]),
        "worse",
    )
    row(
        "the same, trained on what was kept, without marks",
        format_interval(shares["blind"]),
        "chance",
    )
    row(
        "difference that the critic makes",
        format_interval(shares["released"] - shares["unfiltered"]),
        "above 0",
    )


if __name__ == "__main__":
    main()
