"""Ours against LAVIS 1.0.2's own outputs, from the reference that `lavis_reference.py` wrote."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
)

from blip2.model import lavis_checkpoint as lavis
from blip2.model.encoder import Encoder
from tests.blip2.lavis_reference import HIDDEN, IMAGE, PATCH, QUERIES, WIDTH, WORDS

FILE = Path(__file__).parent / "lavis_reference.pth"
CLOSE, FAR = 1e-4, 1e-3


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return dict(torch.load(FILE, weights_only=True))


def base() -> Blip2ForImageTextRetrieval:
    return Blip2ForImageTextRetrieval(
        Blip2Config(
            vision_config=Blip2VisionConfig(
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=IMAGE,
                patch_size=PATCH,
            ),
            qformer_config=Blip2QFormerConfig(
                hidden_size=HIDDEN,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                cross_attention_frequency=2,
                encoder_hidden_size=WIDTH,
                vocab_size=WORDS,
                max_position_embeddings=32,
                use_qformer_text_input=True,
            ),
            num_query_tokens=QUERIES,
            image_text_hidden_size=16,
            image_token_index=None,
        )
    ).eval()


@torch.inference_mode()
def differences(state: dict[str, torch.Tensor], reference: dict[str, Any]) -> tuple[float, float]:
    """The largest difference of image features, and of matching logits."""
    model = base()
    ours, _ = lavis.rename_keys(state)
    assert lavis.load_into(model, ours, "reference") == []
    encoder = Encoder(model)
    image_embeds = encoder.encode_image(reference["pictures"])
    itm = encoder.itm_logits(encoder.fuse(image_embeds, reference["ids"], reference["mask"]))
    return tuple(  # type: ignore[return-value]
        float((actual - reference[name]).abs().max())
        for name, actual in (("seen", image_embeds), ("itm", itm))
    )


def test_features_and_logits_equal_those_of_lavis(reference: dict[str, Any]) -> None:
    image_embeds, itm = differences(lavis.load_state(FILE), reference)
    assert image_embeds < CLOSE
    assert itm < CLOSE


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("visual_encoder.blocks.1.attn.q_bias", "seen"),
        ("visual_encoder.pos_embed", "seen"),
        ("ln_vision.weight", "seen"),
        ("query_tokens", "itm"),
        ("Qformer.bert.embeddings.LayerNorm.bias", "itm"),
        ("Qformer.bert.embeddings.word_embeddings.weight", "itm"),
        ("Qformer.bert.encoder.layer.0.crossattention.self.value.weight", "itm"),
        ("Qformer.bert.encoder.layer.1.output_query.dense.weight", "itm"),
        ("itm_head.weight", "itm"),
    ],
)
def test_a_wrong_weight_is_detected(reference: dict[str, Any], key: str, where: str) -> None:
    """The control: were a weight in the wrong place, the comparison would say so."""
    state = lavis.load_state(FILE)
    noise = torch.randn(state[key].shape, generator=torch.Generator().manual_seed(0))
    state[key] = state[key] + 0.2 * noise
    image_embeds, itm = differences(state, reference)
    assert (image_embeds if where == "seen" else itm) > FAR
