"""The paper's claim in small: a student learns regions better from what a critic kept.

Planted projects (`tests/synthetic.py`), of whose triples 45 % are right. Students of the same size
learn from as many triples: drawn at random, or those that a critic of a stated quality likes best;
and one from the latter without any marks. All answer about cuts of photographs they never saw,
under numbers drawn by lot. A project, a base and a student for each seed.

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

from db.images import image_files
from db.schema import AnswerKey, Image, Split, Triple
from db.store import queries, runs
from db.store.session import Store
from regions.geometry import Region
from regions.view import View, make_view
from student.models import registry
from student.models.generative import Generative
from student.models.protocol import Ask
from student.settings import TrainSettings
from student.training.train import train
from tests import synthetic

SEEDS = int(os.environ.get("LSKD_BENCH_SEEDS", "3"))
IMAGES, WRONG, KEPT, TESTED = 3000, 0.55, 0.35, 150
NOISE = 0.8
"""Of the critic's scores, beside 0 and 1: an average precision of .78, as real critics reach."""
SETTINGS = TrainSettings(
    release="",
    steps=800,
    batch=16,
    piece=64,
    rate=2e-3,
    base_steps=700,
    own=0.6,
    rationale=0.0,
    every=800,
)


def project(folder: Path, seed: int) -> tuple[Store, float]:
    """A planted project with both releases; how many of the critic's choice are right."""
    store = Store.create(f"sqlite:///{folder / 'store.db'}")
    synthetic.create(store, folder / "cuts", images=IMAGES, wrong=WRONG, seed=seed)
    rng = np.random.default_rng(seed)
    with store.write() as session:
        key = session.execute(
            select(Triple.id, AnswerKey.flaw)
            .join(AnswerKey, AnswerKey.triple_id == Triple.id)
            .join(Split, Split.image_id == Triple.image_id)
            .where(Split.part == "train")
            .order_by(Triple.id)
        ).all()
        right = np.array([flaw is None for _, flaw in key])
        scores = right + rng.normal(0, NOISE, len(right))
        count = round(KEPT * len(right))
        best = np.argsort(-scores)[:count]
        for name, chosen in (("released", best), ("unfiltered", rng.permutation(len(key))[:count])):
            synthetic.release(session, name, [key[n][0] for n in chosen])
    return store, float(right[best].mean())


def blind(
    self: Generative,
    picture: PIL.Image.Image,
    regions: Sequence[Region],
    texts: Sequence[str],
    shown: Sequence[int],
) -> View:
    """The picture alone, without marks."""
    return make_view(picture, regions, texts, visible=shown, size=self.size, style=None)


def taught(store: Store, settings: TrainSettings) -> Generative:
    """A student, trained as by command."""
    run = train(store, settings)
    student = registry.load(runs.folder(store, run.name) / "student")
    assert isinstance(student, Generative)
    return student


def right_by_image(store: Store, student: Generative) -> NDArray[np.float64]:
    """The share of regions of each test image that are answered rightly."""
    rng = np.random.default_rng(0)
    shares = []
    with store.read() as session:
        query = select(Image).join(Split, Split.image_id == Image.id).where(Split.part == "test")
        for image in session.scalars(query.order_by(Image.id).limit(TESTED)):
            regions = queries.regions_by_image(session, [image.id])[image.id]
            picture = image_files.load(image)
            shown = [int(n) for n in rng.permutation([region.number for region in regions])]
            views = [
                student.look(picture, regions, [synthetic.question(one.number)], shown)
                for one in regions
            ]
            scores = student.rank(
                [Ask(seen, seen.texts[0]) for seen in views], [synthetic.ANSWERS] * len(views)
            )
            said = [synthetic.ANSWERS[int(one.argmax())] for one in scores]
            true = [synthetic.answer(one.box) for one in regions]
            shares.append(np.mean([a == b for a, b in zip(said, true, strict=True)]))
    return np.array(shares)


def interval(shares: NDArray[np.float64]) -> str:
    """A mean with its 95 % interval: seeds are drawn, and images within them. (seeds, images)."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(shares), size=(2000, len(shares)))
    images = rng.integers(shares.shape[1], size=(2000, len(shares), shares.shape[1]))
    means = shares[seeds[..., None], images].mean((1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{shares.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print a row for each arm, and for what the critic brings."""
    found: dict[str, list[NDArray[np.float64]]] = {"released": [], "unfiltered": [], "blind": []}
    precisions = []
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            store, precision = project(Path(folder), seed)
            precisions.append(precision)
            settings = replace(SETTINGS, seed=seed)
            for name in ("released", "unfiltered"):
                student = taught(store, replace(settings, release=name))
                found[name].append(right_by_image(store, student))
            with patch.object(Generative, "look", blind):  # no option for this alone
                student = taught(store, replace(settings, release="released", name="blind"))
                found["blind"].append(right_by_image(store, student))
            store.close()
        so_far = {name: round(float(rows[-1].mean()), 3) for name, rows in found.items()}
        print(f"seed {seed}: {so_far}", file=sys.stderr, flush=True)
    shares = {name: np.array(rows) for name, rows in found.items()}
    right = f"{np.mean(precisions):.0%} right"
    of = f"{SEEDS} seeds, chance .250"
    row(
        f"answers by region, taught on what a critic kept ({right})",
        interval(shares["released"]),
        of,
    )
    row("the same, on as many drawn at random (45% right)", interval(shares["unfiltered"]), "worse")
    row("the same, on what was kept, without marks", interval(shares["blind"]), "chance")
    row(
        "what the critic brings",
        interval(shares["released"] - shares["unfiltered"]),
        "above 0",
    )


if __name__ == "__main__":
    main()
