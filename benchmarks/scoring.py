"""Speed of the default critic: fitting on 20,000 labelled triples, and scoring."""

import time

import numpy as np
from table import row

from critic.models.baseline import Baseline
from critic.protocol import Example, ImageContext, Targets
from regions.geometry import Region

WORDS = (
    "person dog table window street light holding looking standing near because probably wearing "
    "jacket likely waiting someone behind counter train station friendly smile hand reaching"
)
IMAGES, TRIPLES = 4_000, 20_000


def examples(rng: np.random.Generator) -> tuple[list[Example], list[bool]]:
    """Triples as long as the paper's, five per image; acceptance depends on a word."""
    words = np.array(WORDS.split())
    images = []
    for _ in range(IMAGES):
        regions = {n: Region(n, (10.0 * n, 5, 10.0 * n + 80, 200)) for n in range(6)}
        region_texts = {n: " ".join(rng.choice(words, 8)) for n in regions}
        image_text = " ".join(rng.choice(words, 40))
        images.append(ImageContext((640, 480), regions, image_text, region_texts))
    triples, labels = [], []
    for i in range(TRIPLES):
        question, answer, rationale = (" ".join(rng.choice(words, n)) for n in (11, 14, 26))
        labels.append(bool(("dog" in answer) ^ (rng.random() < 0.3)))
        texts = f"Why {question} [{i % 6}]?", f"{answer}.", f"[{i % 6}] {rationale}."
        image = i * IMAGES // TRIPLES  # ordered by image, as from the store
        triples.append(Example(image, *texts, tuple(range(6)), images[image]))
    return triples, labels


def main() -> None:
    """Print the rows."""
    triples, labels = examples(np.random.default_rng(0))
    critic = Baseline()
    start = time.perf_counter()
    critic.fit(triples, [Targets(label) for label in labels], np.random.default_rng(0))
    fitted = time.perf_counter() - start
    start = time.perf_counter()
    for first in range(0, TRIPLES, 5_000):
        critic.score(triples[first : first + 5_000])
    scored = time.perf_counter() - start
    row(f"default critic: fit on {TRIPLES:,} labelled triples", f"{fitted:.1f} s", "20 s")
    row("default critic: score", f"{TRIPLES / scored:,.0f} triples/s", "20,000 triples/s")


if __name__ == "__main__":
    main()
