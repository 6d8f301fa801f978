"""Questions of `tests.synthetic` about each region of test images, under shuffled numbers."""

import numpy as np
from sqlalchemy import select

from db.images import image_files
from db.schema import Image, Split
from db.store import queries
from db.store.session import Store
from student.models.generative import GenerativeStudent
from student.models.protocol import Query
from student.settings import TrainSettings
from tests import synthetic

SETTINGS = TrainSettings(
    release="all",
    steps=400,
    batch_size=16,
    micro_batch_size=64,
    learning_rate=2e-3,
    base_steps=700,
    p_own_regions=0.6,
    p_rationale=0.0,
    eval_every=400,
)
"""Of a student that learns to answer them."""


def correct_by_image(store: Store, student: GenerativeStudent, limit: int) -> list[list[bool]]:
    """Whether the choice ranked first is right, for each region of each test image."""
    rng = np.random.default_rng(0)
    correct = []
    with store.read() as session:
        query = select(Image).join(Split, Split.image_id == Image.id).where(Split.part == "test")
        for image in session.scalars(query.order_by(Image.id).limit(limit)):
            regions = queries.regions_by_image(session, [image.id])[image.id]
            decoded = image_files.load(image)
            shown = [int(n) for n in rng.permutation([region.number for region in regions])]
            views = [
                student.make_view(decoded, regions, [synthetic.question(region.number)], shown)
                for region in regions
            ]
            scores = student.rank(
                [Query(view, view.texts[0]) for view in views], [synthetic.ANSWERS] * len(views)
            )
            predictions = [synthetic.ANSWERS[int(row.argmax())] for row in scores]
            targets = [synthetic.answer(region.box) for region in regions]
            correct.append([p == t for p, t in zip(predictions, targets, strict=True)])
    return correct
