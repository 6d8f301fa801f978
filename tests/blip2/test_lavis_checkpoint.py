"""Checkpoints in LAVIS's names, without LAVIS: every weight has its place, or is refused."""

import re
from pathlib import Path

import pytest
import torch
from transformers import Blip2ForImageTextRetrieval

from blip2.model import lavis_checkpoint as lavis
from blip2.model.encoder import Encoder
from regions.errors import UserError
from tests.blip2.test_encoder import PATCH, SIDE, retrieval, texts


def as_lavis(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights as LAVIS would save them: the key map, read the other way round."""
    back = (
        (r"vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
        (r"vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
        (r"vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
        (r"vision_model\.encoder\.layers\.(\d+)\.layer_norm", r"visual_encoder.blocks.\1.norm"),
        (
            r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.qkv",
            r"visual_encoder.blocks.\1.attn.qkv",
        ),
        (
            r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection",
            r"visual_encoder.blocks.\1.attn.proj",
        ),
        (r"vision_model\.encoder\.layers\.(\d+)\.mlp", r"visual_encoder.blocks.\1.mlp"),
        (r"vision_model\.post_layernorm", "ln_vision"),
        (r"qformer\.layernorm", "Qformer.bert.embeddings.LayerNorm"),
        (r"embeddings\.(word|position)_embeddings", r"Qformer.bert.embeddings.\1_embeddings"),
        (
            r"qformer\.encoder\.layer\.(\d+)\.(attention|crossattention)\.attention",
            r"Qformer.bert.encoder.layer.\1.\2.self",
        ),
        (r"qformer\.encoder", "Qformer.bert.encoder"),
        (r"vision_projection", "vision_proj"),
        (r"text_projection", "text_proj"),
    )
    lavis_state = {}
    for key, value in state.items():
        name = key
        for pattern, theirs in back:
            name, changed = re.subn(f"^{pattern}", theirs, name)
            if changed:
                break
        lavis_state[name] = value
    for key in [key for key in lavis_state if key.endswith("qkv.bias")]:
        query, _, value = lavis_state.pop(key).chunk(3)
        block = key.removesuffix("qkv.bias")
        lavis_state |= {f"{block}q_bias": query, f"{block}v_bias": value}
    lavis_state["temp"] = torch.tensor(0.07)
    lavis_state["Qformer.cls.predictions.bias"] = torch.zeros(60)
    lavis_state["Qformer.bert.embeddings.position_ids"] = torch.arange(40)[None]
    return lavis_state


def save(file: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save({"model": state, "optimizer": {}, "config": {"a": 1}, "epoch": 3}, file)
    return file


@torch.inference_mode()
def logits(model: Blip2ForImageTextRetrieval) -> torch.Tensor:
    torch.manual_seed(5)
    pictures = torch.randn(2, 3, SIDE, SIDE)
    encoder = Encoder(model)
    return encoder.itm_logits(encoder.fuse(encoder.encode_image(pictures), *texts(2)))


def source(seed: int = 1) -> dict[str, torch.Tensor]:
    """Weights of a model whose keys have no bias, as LAVIS's have none."""
    state: dict[str, torch.Tensor] = retrieval(seed).state_dict()
    for key in [key for key in state if key.endswith("qkv.bias")]:
        third = len(state[key]) // 3
        state[key][third : 2 * third] = 0
    return state


def test_a_model_saved_by_lavis_is_restored(tmp_path: Path) -> None:
    expected = retrieval(1)
    expected.load_state_dict(source())
    expected.vision_model.post_layernorm.eps = 1e-5
    ours, heads = lavis.rename_keys(
        lavis.load_state(save(tmp_path / "all.pth", as_lavis(source())))
    )
    actual = retrieval(2)
    assert (logits(actual) - logits(expected)).abs().max() > 0.01
    assert lavis.load_into(actual, ours, "all.pth") == []
    assert heads == {}
    torch.testing.assert_close(logits(actual), logits(expected), rtol=0, atol=1e-6)


def test_weights_that_were_not_trained_come_from_the_base(tmp_path: Path) -> None:
    """A released critic has no tower, and its words only where they were tied."""
    state = as_lavis(source())
    words = state.pop("Qformer.bert.embeddings.word_embeddings.weight")
    state = {key: value for key, value in state.items() if not key.startswith("visual_encoder")}
    state["Qformer.cls.predictions.decoder.weight"] = words
    state |= {f"qa_head.{n}.weight": torch.ones(2, 2) for n in (0, 2)}
    ours, heads = lavis.rename_keys(lavis.load_state(save(tmp_path / "critic.pth", state)))
    base = retrieval(2)
    tower = base.vision_model.encoder.layers[0].mlp.fc1.weight.clone()
    lacking = lavis.load_into(base, ours, "critic.pth")
    assert lacking
    assert all(key.startswith("vision_model.") for key in lacking)
    assert torch.equal(base.vision_model.encoder.layers[0].mlp.fc1.weight, tower)
    assert torch.equal(base.embeddings.word_embeddings.weight, words)
    assert sorted(heads) == ["qa_head.0.weight", "qa_head.2.weight"]


def test_positions_are_resized_for_a_larger_image() -> None:
    ours, _ = lavis.rename_keys(as_lavis(source()))
    larger = retrieval(2, image=3 * PATCH)
    lavis.load_into(larger, ours, "x.pth")
    positions = larger.vision_model.embeddings.position_embedding
    assert positions.shape == (1, 10, 32)
    assert torch.equal(positions[0, 0], ours[lavis.POSITIONS][0, 0])
    same = lavis.resize_positions(ours[lavis.POSITIONS], 4)
    assert torch.equal(same, ours[lavis.POSITIONS])


def test_an_unknown_weight_is_an_error() -> None:
    state = as_lavis(source()) | {"llm_proj.weight": torch.ones(1)}
    with pytest.raises(UserError, match=r"unknown weight in the checkpoint: llm_proj\.weight"):
        lavis.rename_keys(state)


def test_a_checkpoint_of_another_model_is_an_error() -> None:
    ours, _ = lavis.rename_keys(as_lavis(source()))
    with pytest.raises(UserError, match=r"the base model has no qformer\.encoder\.layer\.9"):
        lavis.load_into(retrieval(2), {"qformer.encoder.layer.9.x": torch.ones(1)}, "x.pth")
    ours["itm_head.weight"] = torch.ones(2, 7)
    with pytest.raises(
        UserError, match=r"itm_head\.weight has shape \(2, 7\), in the base model \(2, 24\)"
    ):
        lavis.load_into(retrieval(2), ours, "x.pth")


def test_an_invalid_or_truncated_file_is_an_error(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", as_lavis(source())).read_bytes()
    for name, content in (("cut.pth", whole[: len(whole) // 2]), ("text.pth", b"no"), ("0", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not a checkpoint, or a truncated one"):
            lavis.load_state(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        lavis.load_state(tmp_path / "missing.pth")
    torch.save({"weights": 1}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not a checkpoint of LAVIS"):
        lavis.load_state(tmp_path / "other.pth")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("owned",)

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="not a checkpoint"):
        lavis.load_state(tmp_path / "evil.pth")
