"""The default critic: its features, that it learns, and that saved critics are data only."""

from pathlib import Path

import numpy as np
import pytest

from critic.features.grounding import FEATURE_NAMES, grounding_features
from critic.features.ngrams import HashedNgrams
from critic.models.baseline import Baseline
from critic.protocol import Example, ImageContext, Targets
from regions.geometry import Region

IMAGE = ImageContext(
    size=(100, 100),
    regions={0: Region(0, (0, 0, 50, 50)), 1: Region(1, (50, 50, 60, 60))},
    image_text="A dog sleeps near a lamp.",
    region_texts={0: "dog a brown dog that sleeps", 1: "lamp a small red lamp"},
)


def example(question: str, image_id: int = 1, rationale: str = "It has red glass.") -> Example:
    return Example(image_id, question, "It gives light.", rationale, (0, 1), IMAGE)


def feature(name: str, example: Example) -> float:
    return float(grounding_features([example])[0, FEATURE_NAMES.index(name)])


def test_a_text_overlaps_most_with_the_region_it_is_about() -> None:
    right, wrong = example("What is the lamp [1] for?"), example("What is the lamp [0] for?")
    mentioned, other = "overlap_with_mentioned_regions", "overlap_with_best_other_region"
    assert feature(mentioned, right) > feature(other, right)
    assert feature(mentioned, wrong) < feature(other, wrong)


def test_words_without_support_in_known_texts_raise_unexplained_words() -> None:
    name = "unexplained_words"
    assert feature(name, example("Is [1] a red lamp?")) < feature(
        name, example("Why does the helicopter land on [1]?")
    )


def test_areas_are_shares_of_the_image() -> None:
    assert feature("largest_mentioned_area", example("[0]?")) == 0.25
    assert feature("smallest_mentioned_area", example("[0] [1]?")) == 0.01


def test_dot_equals_the_product_with_the_matrix() -> None:
    texts = ["Why does [3] run?", "", "Ein Größenvergleich, oder?", "a" * 500]
    ngrams = HashedNgrams(texts)
    weights = np.random.default_rng(0).normal(size=2**18).astype(np.float32)
    assert ngrams.dot(weights) == pytest.approx(ngrams.matrix() @ weights, abs=1e-4)


def test_ngram_features_do_not_depend_on_the_batch() -> None:
    texts = ["Why does [3] run?", "The lamp is red.", "Why does [12] run?"]
    together = HashedNgrams(texts).matrix().toarray()
    for text, row in zip(texts, together, strict=True):
        assert (HashedNgrams([text]).matrix().toarray()[0] == row).all()
    assert (together[0] == together[2]).all()  # region numbers are ignored


def examples(count: int, images: int) -> tuple[list[Example], list[bool]]:
    """Accepted rationales mention glass, rejected ones mud."""
    triples, labels = [], []
    for i in range(count):
        accepted = i % 2 == 0
        rationale = f"It has red {'glass' if accepted else 'mud'} in row {i % 7}."
        triples.append(example("What is [1] for?", i % images, rationale))
        labels.append(accepted)
    return triples, labels


def test_it_learns_to_accept_and_is_saved_as_arrays(tmp_path: Path) -> None:
    triples, labels = examples(120, images=9)
    critic = Baseline()
    critic.fit(triples, [Targets(label) for label in labels], np.random.default_rng(0))
    scores = critic.score(triples)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores[::2].min() > scores[1::2].max()
    critic.save(tmp_path)
    assert (Baseline.load(tmp_path).score(triples) == scores).all()
    assert [file.suffix for file in tmp_path.iterdir()] == [".npz"]


def test_the_same_seed_gives_the_same_critic() -> None:
    triples, labels = examples(60, images=5)
    scores = []
    for _ in range(2):
        critic = Baseline(3)
        critic.fit(triples, [Targets(label) for label in labels], np.random.default_rng(4))
        scores.append(critic.score(triples))
    assert (scores[0] == scores[1]).all()


def test_scoring_no_examples_returns_no_scores() -> None:
    assert Baseline().score([]).shape == (0,)
