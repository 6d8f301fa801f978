"""A released checkpoint becomes a critic: scored, and trained further."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import Blip2ForImageTextRetrieval

from blip2.model.lavis_checkpoint import POSITIONS
from critic.models.blip2 import Blip2Critic
from critic.models.lavis_conversion import convert
from critic.models.network import Heads
from critic.models.registry import load
from critic.settings import PictureSettings
from lskd_cli import cli
from regions.errors import UserError
from tests.blip2.test_lavis_checkpoint import as_lavis
from tests.critic.test_blip2 import planted
from tests.tiny import retrieval

SIZE = 150  # twelve patches of twelve, and six pixels that nobody sees


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return retrieval(tmp_path / "base")


@pytest.fixture
def released(base: Path, tmp_path: Path) -> Path:
    """As LSKD released its critic: no tower, words where they were tied, two heads more."""
    model = Blip2ForImageTextRetrieval.from_pretrained(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    state = as_lavis(model.state_dict())
    words = state.pop("Qformer.bert.embeddings.word_embeddings.weight")
    state = {key: value for key, value in state.items() if not key.startswith("visual_encoder")}
    state["Qformer.cls.predictions.decoder.weight"] = words
    state |= Heads(96).state_dict()
    torch.save({"model": state, "epoch": 9}, tmp_path / "critic.pth")
    return tmp_path / "critic.pth"


def test_a_released_critic_scores_and_learns_on(base: Path, released: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    told = convert(released, str(base), out, SIZE)
    assert told["heads of the parts"] == "of the checkpoint"
    assert told["weights of the base"] > 10
    critic = load(out)
    assert isinstance(critic, Blip2Critic)
    assert critic.size == (SIZE, SIZE)
    assert critic.settings.style == "lskd"
    examples, verdicts = planted(12, seed=0)
    scores = critic.score(examples)
    assert len(np.unique(scores.round(9))) > 1
    # The tower is the base's, with positions for the larger picture; the rest is the checkpoint's.
    kept = Blip2ForImageTextRetrieval.from_pretrained(base).state_dict()
    ours = critic.judge.encoder.model.state_dict()
    key = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(ours[key], kept[key])
    assert ours[POSITIONS].shape == (1, 1 + (SIZE // 12) ** 2, 96)
    assert not torch.equal(ours["query_tokens"], kept["query_tokens"])
    further = Blip2Critic.new(
        PictureSettings(model=str(out), style="lskd", epochs=1, batch=6, rate=1e-4), [], seed=0
    )
    np.testing.assert_allclose(further.score(examples), scores, atol=1e-6)
    further.fit(examples, verdicts, np.random.default_rng(0))


def test_by_command(base: Path, released: Path, tmp_path: Path) -> None:
    words = ["critic", "convert", str(released), "--base", str(base)]
    made = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "a"), "--size", "96"])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "a")])
    assert again.exit_code == 2
    assert "the folder is not empty" in again.stderr


@pytest.mark.parametrize(("size", "said"), [(5, r"at least 12 \(got 5\)")])
def test_what_cannot_be(base: Path, released: Path, tmp_path: Path, size: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        convert(released, str(base), tmp_path / "b", size)
    with pytest.raises(UserError, match="cannot be loaded"):
        convert(released, "/nowhere", tmp_path / "b", 96)
    state = torch.load(released, weights_only=True)
    state["model"]["qa_head.0.weight"] = torch.ones(3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match="the heads of its parts have another shape"):
        convert(tmp_path / "other.pth", str(base), tmp_path / "b", 96)
    assert not (tmp_path / "b").exists()
