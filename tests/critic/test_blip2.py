"""The paper's critic on tiny models: what its heads learn, how it looks, what it keeps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from blip2.model import tiny
from critic.models.blip2 import Blip2Critic, text_of
from critic.models.protocol import Example, Surroundings, Verdict
from critic.models.registry import load
from critic.settings import TINY, PictureSettings, TrainSettings
from critic.training.losses import loss
from critic.training.score import score
from critic.training.train import train
from critic.training.trainer import Lessons
from db.demo.simulated_annotators import DEFAULT_ACCURACIES, simulate_votes
from db.store.session import Store
from regions.errors import UserError
from regions.geometry import Region

SETTINGS = PictureSettings(model=TINY, epochs=1, batch=8, piece=8)
REGIONS = {n: Region(n, (20.0 * n, 10.0, 20.0 * n + 15, 70.0)) for n in range(4)}


def surroundings(image: int) -> Surroundings:
    colour = (40 * image % 255, 200 - 30 * image % 200, 90)
    picture = PIL.Image.new("RGB", (100, 80), colour)
    return Surroundings((100, 80), REGIONS, "", {}, lambda: picture)


def triple(image: int, question: str, answer: str, rationale: str) -> Example:
    shown = tuple(REGIONS)
    return Example(image, question, answer, rationale, shown, surroundings(image))


def planted(count: int, seed: int) -> tuple[list[Example], list[Verdict]]:
    """Three verdicts that have nothing to do with one another, each told by a word of the text."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count, 3)).astype(bool)
    words = (("north", "south"), ("copper", "silver"), ("monday", "friday"))
    said = [[pair[int(bit)] for pair, bit in zip(words, row, strict=True)] for row in bits]
    examples = [
        triple(n % 4, f"Is [{n % 4}] {a}?", f"[0] is {b}.", f"[1] says {c}.")
        for n, (a, b, c) in enumerate(said)
    ]
    return examples, [Verdict(*map(bool, row)) for row in bits]


def new(settings: PictureSettings, examples: Sequence[Example], seed: int = 0) -> Blip2Critic:
    texts = [text_of(e.question, e.answer, e.rationale) for e in examples]
    return Blip2Critic.new(settings, texts, seed)


def test_each_head_learns_its_own_target() -> None:
    """The released critic learned the rationale by the label of question and answer."""
    settings = replace(SETTINGS, epochs=28, batch=16, piece=16, size=48)
    examples, verdicts = planted(256, seed=0)
    critic = new(settings, examples)
    critic.fit(examples, verdicts, np.random.default_rng(0))
    unseen, truth = planted(96, seed=1)
    found = np.zeros((len(unseen), 3), dtype=bool)
    for places, accept, parts in critic.shares(unseen):
        found[places] = np.column_stack([accept, parts]) > 0.5
    wanted = np.array(truth)
    agreement = [[(found[:, i] == wanted[:, j]).mean() for j in range(3)] for i in range(3)]
    assert min(agreement[i][i] for i in range(3)) > 0.95
    others = [agreement[i][j] for i in range(3) for j in range(3) if i != j]
    assert max(abs(share - 0.5) for share in others) < 0.2


def test_a_part_that_nobody_judged_teaches_nothing() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    parts = torch.full((2, 2), 0.3, requires_grad=True)
    nan = float("nan")
    sound = torch.tensor([[1.0, nan], [nan, nan]])
    total, terms = loss(logits, parts, torch.tensor([1, 0]), sound)
    total.backward()  # type: ignore[no-untyped-call]
    assert terms["accept"] == pytest.approx(np.log(2))
    assert terms["qa"] == pytest.approx(0.49)
    assert terms["rationale"] == 0
    assert parts.grad is not None
    assert (parts.grad != 0).tolist() == [[True, False], [False, False]]


def test_triples_of_a_picture_share_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = planted(30, seed=2)
    # One picture is shown with other regions too: that is another picture.
    examples.append(replace(examples[0], shown=(1, 0, 3)))
    critic = new(SETTINGS, examples)
    seen: list[int] = []
    see = critic.judge.encoder.encode_image

    def counted(pictures: torch.Tensor) -> torch.Tensor:
        seen.append(len(pictures))
        return see(pictures)

    monkeypatch.setattr(critic.judge.encoder, "encode_image", counted)
    together = critic.score(examples)
    assert sum(seen) == 5
    alone = np.concatenate([critic.score([example]) for example in examples])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(np.unique(together.round(6))) > 10


def test_what_is_saved_scores_the_same(tmp_path: Path) -> None:
    examples, verdicts = planted(24, seed=3)
    critic = new(SETTINGS, examples)
    critic.fit(examples, verdicts, np.random.default_rng(0))
    critic.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_allclose(again.score(examples), critic.score(examples), atol=1e-6)


def test_a_base_by_name_keeps_its_tower(tmp_path: Path) -> None:
    """Only the Q-Former, its queries, texts and heads learn; what is saved is that alone."""
    examples, verdicts = planted(24, seed=4)
    base = new(SETTINGS, examples)
    base.judge.encoder.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    critic = new(replace(SETTINGS, model=str(tmp_path / "base"), rate=1e-3, size=48), examples)
    before = {name: weight.clone() for name, weight in critic.judge.encoder.named_parameters()}
    critic.fit(examples, verdicts, np.random.default_rng(0))
    changed = {
        n for n, w in critic.judge.encoder.named_parameters() if not torch.equal(w, before[n])
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


def test_the_drawing_is_a_lesson_of_its_own() -> None:
    """Own regions or all of them, in any order: the text's numbers follow the marks."""
    examples, verdicts = planted(1, seed=5)
    critic = new(SETTINGS, examples)
    rng = np.random.default_rng(0)
    drawn_from = Lessons(critic, examples, verdicts, seed=0)
    lessons = [drawn_from.lesson(0, rng) for _ in range(200)]
    drawn = [len(lesson.seen.regions) for lesson in lessons]
    assert 0.5 < np.mean([count < 4 for count in drawn]) < 0.7
    first = REGIONS[0].scaled(96 / 100, 96 / 80).box
    for lesson in lessons:
        number = int(lesson.seen.texts[0].split("[")[1].split("]")[0])
        assert lesson.seen.regions[number].box == first
        assert lesson.seen.image.size == (96, 96)


def test_a_text_that_is_too_long_is_counted() -> None:
    examples, _ = planted(2, seed=6)
    long = replace(examples[0], rationale="word " * 3000)
    critic = new(SETTINGS, examples)
    critic.score([long, examples[1]])
    assert critic.notes["texts longer than the model reads"] == 1


def test_a_loss_that_is_not_finite_ends_it() -> None:
    examples, verdicts = planted(24, seed=7)
    critic = new(replace(SETTINGS, rate=1e30, epochs=5), examples)
    with pytest.raises(UserError, match="the loss is nan"):
        critic.fit(examples, verdicts, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"model": "/nowhere"}, "cannot be loaded"), ({"style": "ornate"}, "no style 'ornate'")],
)
def test_settings_that_make_no_sense(change: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        new(replace(SETTINGS, **change), planted(2, seed=8)[0])  # type: ignore[arg-type]


def test_a_folder_without_a_critic(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no critic is saved here"):
        load(tmp_path)


def test_from_votes_to_scores(demo_store: Store) -> None:
    """The same commands as for the embedded critic: train, test, score, take up."""
    simulate_votes(demo_store, accuracies=DEFAULT_ACCURACIES)
    run = train(
        demo_store,
        TrainSettings(kind="blip2", simulated=True, resamples=20),
        looks=replace(SETTINGS, epochs=2, batch=32),
    )
    assert run.settings["model"] == TINY
    assert run.results["scored"] == 157
    assert 0 < run.results["average precision"] <= 1
    assert score(demo_store) == (run.name, 0)


def test_the_tiny_base_is_small() -> None:
    model = tiny.tiny_retrieval(tiny.train_tokenizer(["a dog"]), seed=0)
    assert sum(weight.numel() for weight in model.parameters()) < 2_000_000
