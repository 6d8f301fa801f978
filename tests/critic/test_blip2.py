"""The BLIP-2 critic on tiny models: targets of its heads, shared image passes, saved files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from blip2.model import tiny
from critic.models.blip2.losses import critic_loss
from critic.models.blip2.model import Blip2Critic, format_triple
from critic.models.blip2.trainer import TrainingData
from critic.models.registry import load
from critic.protocol import Example, ImageContext, Targets
from critic.settings import TINY, ModelConfig, TrainSettings
from critic.training.score import ScoringSummary, score
from critic.training.train import train
from db.demo.simulated_annotators import DEFAULT_ACCURACIES, simulate_votes
from db.store.session import Store
from regions.errors import UserError
from regions.geometry import Region

SETTINGS = ModelConfig(model=TINY, epochs=1, batch_size=8, micro_batch_size=8)
REGIONS = {n: Region(n, (20.0 * n, 10.0, 20.0 * n + 15, 70.0)) for n in range(4)}


def image_context(image: int) -> ImageContext:
    colour = (40 * image % 255, 200 - 30 * image % 200, 90)
    picture = PIL.Image.new("RGB", (100, 80), colour)
    return ImageContext((100, 80), REGIONS, "", {}, lambda: picture)


def triple(image: int, question: str, answer: str, rationale: str) -> Example:
    shown = tuple(REGIONS)
    return Example(image, question, answer, rationale, shown, image_context(image))


def planted(count: int, seed: int) -> tuple[list[Example], list[Targets]]:
    """Three independent targets, each determined by one word of the text."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count, 3)).astype(bool)
    words = (("north", "south"), ("copper", "silver"), ("monday", "friday"))
    chosen = [[pair[int(bit)] for pair, bit in zip(words, row, strict=True)] for row in bits]
    examples = [
        triple(n % 4, f"Is [{n % 4}] {a}?", f"[0] is {b}.", f"[1] says {c}.")
        for n, (a, b, c) in enumerate(chosen)
    ]
    return examples, [Targets(*map(bool, row)) for row in bits]


def new(config: ModelConfig, examples: Sequence[Example], seed: int = 0) -> Blip2Critic:
    texts = [format_triple(e.question, e.answer, e.rationale) for e in examples]
    return Blip2Critic.create(config, texts, seed)


@pytest.mark.slow
def test_each_head_learns_its_own_target() -> None:
    """The released code trained the rationale head on the labels of question and answer."""
    settings = replace(
        SETTINGS,
        epochs=10,
        learning_rate=2e-3,
        batch_size=16,
        micro_batch_size=16,
        image_size=48,
    )
    examples, targets = planted(256, seed=0)
    critic = new(settings, examples)
    critic.fit(examples, targets, np.random.default_rng(0))
    unseen, truth = planted(96, seed=1)
    predicted = np.zeros((len(unseen), 3), dtype=bool)
    for indices, accept, parts in critic.predict_parts(unseen):
        predicted[indices] = np.column_stack([accept, parts]) > 0.5
    expected = np.array(truth)
    agreement = [[(predicted[:, i] == expected[:, j]).mean() for j in range(3)] for i in range(3)]
    assert min(agreement[i][i] for i in range(3)) > 0.95
    others = [agreement[i][j] for i in range(3) for j in range(3) if i != j]
    assert max(abs(share - 0.5) for share in others) < 0.2


def test_a_part_without_a_label_adds_nothing_to_the_loss() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    parts = torch.full((2, 2), 0.3, requires_grad=True)
    nan = float("nan")
    part_targets = torch.tensor([[1.0, nan], [nan, nan]])
    total, terms = critic_loss(logits, parts, torch.tensor([1, 0]), part_targets)
    total.backward()  # type: ignore[no-untyped-call]
    assert terms["accept"] == pytest.approx(np.log(2))
    assert terms["qa"] == pytest.approx(0.49)
    assert terms["rationale"] == 0
    assert parts.grad is not None
    assert (parts.grad != 0).tolist() == [[True, False], [False, False]]


def test_triples_of_an_image_share_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = planted(30, seed=2)
    # The same image with other visible regions is encoded separately.
    examples.append(replace(examples[0], visible_regions=(1, 0, 3)))
    critic = new(SETTINGS, examples)
    encoded: list[int] = []
    encode_image = critic.network.encoder.encode_image

    def counted(pictures: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pictures))
        return encode_image(pictures)

    monkeypatch.setattr(critic.network.encoder, "encode_image", counted)
    together = critic.score(examples)
    assert sum(encoded) == 5
    alone = np.concatenate([critic.score([example]) for example in examples])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(np.unique(together.round(6))) > 10


def test_a_loaded_critic_gives_the_same_scores(tmp_path: Path) -> None:
    examples, targets = planted(24, seed=3)
    critic = new(SETTINGS, examples)
    critic.fit(examples, targets, np.random.default_rng(0))
    critic.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_allclose(again.score(examples), critic.score(examples), atol=1e-6)


def test_the_vision_tower_of_a_pretrained_base_stays_frozen(tmp_path: Path) -> None:
    """Only the Q-Former, queries, text embeddings and heads are trained and saved."""
    examples, targets = planted(24, seed=4)
    base = new(SETTINGS, examples)
    base.network.encoder.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    critic = new(
        replace(SETTINGS, model=str(tmp_path / "base"), learning_rate=1e-3, image_size=48), examples
    )
    before = {name: weight.clone() for name, weight in critic.network.encoder.named_parameters()}
    critic.fit(examples, targets, np.random.default_rng(0))
    changed = {
        n for n, w in critic.network.encoder.named_parameters() if not torch.equal(w, before[n])
    }
    assert changed
    assert not any("vision_model" in name for name in changed)
    (tmp_path / "saved").mkdir()
    critic.save(tmp_path / "saved")
    assert sorted(f.name for f in (tmp_path / "saved").iterdir()) == [
        "blip2.json",
        "heads.safetensors",
        "learned.safetensors",
    ]
    np.testing.assert_allclose(
        load(tmp_path / "saved").score(examples), critic.score(examples), atol=1e-6
    )


def test_visible_regions_are_drawn_at_random_for_each_training_example() -> None:
    """Own regions or all of them are drawn, in any order; texts are renumbered to match."""
    examples, targets = planted(1, seed=5)
    critic = new(SETTINGS, examples)
    rng = np.random.default_rng(0)
    data = TrainingData(critic, examples, targets, seed=0)
    drawn_examples = [data.example(0, rng) for _ in range(200)]
    counts = [len(drawn_example.view.regions) for drawn_example in drawn_examples]
    assert 0.5 < np.mean([count < 4 for count in counts]) < 0.7
    first = REGIONS[0].scaled(96 / 100, 96 / 80).box
    for drawn_example in drawn_examples:
        number = int(drawn_example.view.texts[0].split("[")[1].split("]")[0])
        assert drawn_example.view.regions[number].box == first
        assert drawn_example.view.image.size == (96, 96)


def test_truncated_texts_are_counted() -> None:
    examples, _ = planted(2, seed=6)
    long = replace(examples[0], rationale="word " * 3000)
    critic = new(SETTINGS, examples)
    critic.score([long, examples[1]])
    assert critic.diagnostics.truncated_texts == 1


def test_training_stops_when_the_loss_is_not_finite() -> None:
    examples, targets = planted(24, seed=7)
    critic = new(replace(SETTINGS, learning_rate=1e30, epochs=5), examples)
    with pytest.raises(UserError, match="the loss is nan"):
        critic.fit(examples, targets, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model": "/nowhere"}, "cannot be loaded"), ({"style": "ornate"}, "no style 'ornate'")],
)
def test_a_config_that_cannot_be_used_is_an_error(change: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        new(replace(SETTINGS, **change), planted(2, seed=8)[0])  # type: ignore[arg-type]


def test_a_folder_without_a_critic_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no critic is saved here"):
        load(tmp_path)


@pytest.mark.slow
def test_a_critic_is_trained_on_votes_and_scores_the_store(demo_store: Store) -> None:
    """The same workflow as for the default critic: train, evaluate, score, score again."""
    simulate_votes(demo_store, accuracies=DEFAULT_ACCURACIES)
    run = train(
        demo_store,
        TrainSettings(kind="blip2", simulated=True, resamples=20),
        config=replace(SETTINGS, epochs=2, batch_size=32),
    )
    assert run.settings["model"] == TINY
    assert run.results["scored_triples"] == 157
    assert 0 < run.results["average_precision"]["value"] <= 1
    assert score(demo_store) == ScoringSummary(run.name, 0)


def test_the_tiny_base_is_small() -> None:
    model = tiny.tiny_retrieval(tiny.train_tokenizer(["a dog"]), seed=0)
    assert sum(weight.numel() for weight in model.parameters()) < 2_000_000
