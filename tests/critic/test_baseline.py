"""The embedded critic: what it sees, that it learns, and that what is saved is only data."""

from pathlib import Path

import numpy as np
import pytest

from critic.features.grounding import FEATURES, features
from critic.features.ngrams import Grams
from critic.models.baseline import Baseline
from critic.models.protocol import Example, Surroundings, Verdict
from regions.geometry import Region

IMAGE = Surroundings(
    size=(100, 100),
    regions={0: Region(0, (0, 0, 50, 50)), 1: Region(1, (50, 50, 60, 60))},
    scene="A dog sleeps near a lamp.",
    about={0: "dog a brown dog that sleeps", 1: "lamp a small red lamp"},
)


def example(question: str, image_id: int = 1, rationale: str = "It has red glass.") -> Example:
    return Example(image_id, question, "It gives light.", rationale, (0, 1), IMAGE)


def feature(name: str, given: Example) -> float:
    return float(features([given])[0, FEATURES.index(name)])


def test_a_text_agrees_with_the_region_that_it_is_about() -> None:
    right, wrong = example("What is the lamp [1] for?"), example("What is the lamp [0] for?")
    mine, other = "agreement with mentioned regions", "agreement with the best other region"
    assert feature(mine, right) > feature(other, right)
    assert feature(mine, wrong) < feature(other, wrong)


def test_words_that_nothing_known_explains_are_noticed() -> None:
    name = "words that nothing known explains"
    assert feature(name, example("Is [1] a red lamp?")) < feature(
        name, example("Why does the helicopter land on [1]?")
    )


def test_areas_are_shares_of_the_picture() -> None:
    assert feature("largest region mentioned", example("[0]?")) == 0.25
    assert feature("smallest region mentioned", example("[0] [1]?")) == 0.01


def test_the_product_is_that_of_the_matrix() -> None:
    texts = ["Why does [3] run?", "", "Ein Größenvergleich, oder?", "a" * 500]
    grams = Grams(texts)
    weights = np.random.default_rng(0).normal(size=2**18).astype(np.float32)
    assert grams.dot(weights) == pytest.approx(grams.matrix() @ weights, abs=1e-4)


def test_features_do_not_depend_on_the_batch() -> None:
    texts = ["Why does [3] run?", "The lamp is red.", "Why does [12] run?"]
    together = Grams(texts).matrix().toarray()
    for text, row in zip(texts, together, strict=True):
        assert (Grams([text]).matrix().toarray()[0] == row).all()
    assert (together[0] == together[2]).all()  # a number says nothing about a text


def examples(count: int, images: int) -> tuple[list[Example], list[bool]]:
    """Accepted ones speak of glass, rejected ones of mud."""
    made, labels = [], []
    for i in range(count):
        good = i % 2 == 0
        rationale = f"It has red {'glass' if good else 'mud'} in row {i % 7}."
        made.append(example("What is [1] for?", i % images, rationale))
        labels.append(good)
    return made, labels


def test_it_learns_what_people_accept(tmp_path: Path) -> None:
    made, labels = examples(120, images=9)
    critic = Baseline()
    critic.fit(made, [Verdict(label) for label in labels], np.random.default_rng(0))
    scores = critic.score(made)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[::2].min() > scores[1::2].max()
    critic.save(tmp_path)
    assert (Baseline.load(tmp_path).score(made) == scores).all()
    assert [file.suffix for file in tmp_path.iterdir()] == [".npz"]


def test_the_same_seed_gives_the_same_critic() -> None:
    made, labels = examples(60, images=5)
    found = []
    for _ in range(2):
        critic = Baseline(3)
        critic.fit(made, [Verdict(label) for label in labels], np.random.default_rng(4))
        found.append(critic.score(made))
    assert (found[0] == found[1]).all()


def test_nothing_to_score_is_no_score() -> None:
    assert Baseline().score([]).shape == (0,)
