"""A released LAVIS checkpoint is converted into a critic that scores and can be trained on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import Blip2ForImageTextRetrieval

from blip2.model.lavis_checkpoint import POSITIONS
from critic.models.blip2.lavis_conversion import convert
from critic.models.blip2.model import Blip2Critic
from critic.models.blip2.network import PartHeads
from critic.models.registry import load
from critic.settings import ModelConfig
from lskd_cli import cli
from regions.errors import UserError
from tests.blip2.test_lavis_checkpoint import as_lavis
from tests.critic.test_blip2 import planted
from tests.tiny import retrieval

SIZE = 150  # twelve patches of twelve pixels; six pixels are not covered


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return retrieval(tmp_path / "base")


@pytest.fixture
def released(base: Path, tmp_path: Path) -> Path:
    """As LSKD released it: no vision tower, tied word embeddings, two more heads."""
    model = Blip2ForImageTextRetrieval.from_pretrained(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    state = as_lavis(model.state_dict())
    words = state.pop("Qformer.bert.embeddings.word_embeddings.weight")
    state = {key: value for key, value in state.items() if not key.startswith("visual_encoder")}
    state["Qformer.cls.predictions.decoder.weight"] = words
    state |= PartHeads(96).state_dict()
    torch.save({"model": state, "epoch": 9}, tmp_path / "critic.pth")
    return tmp_path / "critic.pth"


def test_a_converted_critic_scores_and_can_be_trained_further(
    base: Path, released: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ours"
    conversion = convert(released, str(base), out, SIZE)
    assert conversion.part_heads == "from the checkpoint"
    assert conversion.base_weights > 10
    critic = load(out)
    assert isinstance(critic, Blip2Critic)
    assert critic.image_size == (SIZE, SIZE)
    assert critic.config.style == "lskd"
    examples, targets = planted(12, seed=0)
    scores = critic.score(examples)
    assert len(np.unique(scores.round(9))) > 1
    # The vision tower is that of the base, with position embeddings resized for the larger image;
    # all other weights are those of the checkpoint.
    kept = Blip2ForImageTextRetrieval.from_pretrained(base).state_dict()
    ours = critic.network.encoder.model.state_dict()
    key = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(ours[key], kept[key])
    assert ours[POSITIONS].shape == (1, 1 + (SIZE // 12) ** 2, 96)
    assert not torch.equal(ours["query_tokens"], kept["query_tokens"])
    further = Blip2Critic.create(
        ModelConfig(model=str(out), style="lskd", epochs=1, batch_size=6, learning_rate=1e-4),
        [],
        seed=0,
    )
    np.testing.assert_allclose(further.score(examples), scores, atol=1e-6)
    further.fit(examples, targets, np.random.default_rng(0))


def test_the_command_converts_into_a_new_folder_only(
    base: Path, released: Path, tmp_path: Path
) -> None:
    arguments = ["critic", "convert", str(released), "--base", str(base)]
    first = CliRunner().invoke(
        cli, [*arguments, "--out", str(tmp_path / "a"), "--image-size", "96"]
    )
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "a")])
    assert again.exit_code == 2
    assert "the folder is not empty" in again.stderr


@pytest.mark.parametrize(("size", "message"), [(5, r"at least 12 \(got 5\)")])
def test_a_checkpoint_or_size_that_does_not_fit_is_an_error(
    base: Path, released: Path, tmp_path: Path, size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        convert(released, str(base), tmp_path / "b", size)
    with pytest.raises(UserError, match="cannot be loaded"):
        convert(released, "/nowhere", tmp_path / "b", 96)
    state = torch.load(released, weights_only=True)
    state["model"]["qa_head.0.weight"] = torch.ones(3, 3)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match="the part heads have unexpected shapes"):
        convert(tmp_path / "other.pth", str(base), tmp_path / "b", 96)
    assert not (tmp_path / "b").exists()
