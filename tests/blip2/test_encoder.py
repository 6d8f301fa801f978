"""The shared encoder against transformers' own forward, on tiny models made from configs."""

import pytest
import torch
from torch.nn.functional import normalize
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
)

from blip2.model.encoder import Encoder

SIDE, PATCH = 28, 14


def retrieval(seed: int = 0, image: int = SIDE) -> Blip2ForImageTextRetrieval:
    """Two layers everywhere, all weights drawn: nothing is zero or alike by its start."""
    vision = Blip2VisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=image,
        patch_size=PATCH,
        initializer_range=0.2,
    )
    qformer = Blip2QFormerConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        cross_attention_frequency=2,
        encoder_hidden_size=32,
        vocab_size=60,
        max_position_embeddings=40,
        use_qformer_text_input=True,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    config = Blip2Config(
        vision_config=vision,
        qformer_config=qformer,
        num_query_tokens=5,
        image_text_hidden_size=16,
        image_token_index=None,
    )
    model = Blip2ForImageTextRetrieval(config).eval()
    torch.nn.init.normal_(model.query_tokens, std=0.5)
    return model


def texts(count: int, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and a mask in which the k-th text has k % 4 tokens of padding."""
    generator = torch.Generator().manual_seed(count)
    ids = torch.randint(1, 60, (count, length), generator=generator)
    mask = torch.ones_like(ids)
    for n in range(count):
        mask[n, length - n % 4 :] = 0
    return ids * mask, mask


@torch.inference_mode()
def test_logits_equal_those_of_transformers() -> None:
    model = retrieval()
    pictures = torch.randn(3, 3, SIDE, SIDE)
    ids, mask = texts(3)
    theirs = model(
        pixel_values=pictures, input_ids=ids, attention_mask=mask, use_image_text_matching_head=True
    ).logits_per_image
    encoder = Encoder(model)
    ours = encoder.itm_logits(encoder.fuse(encoder.encode_image(pictures), ids, mask))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("k", [1, 2, 5])
def test_texts_that_share_an_image_are_encoded_as_if_alone(k: int) -> None:
    encoder = Encoder(retrieval())
    pictures = torch.randn(2, 3, SIDE, SIDE)
    ids, mask = texts(2 * k)
    together = encoder.fuse(encoder.encode_image(pictures), ids, mask)
    alone = [
        encoder.fuse(encoder.encode_image(pictures[n // k][None]), ids[n][None], mask[n][None])
        for n in range(2 * k)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    # And a picture matters: with the other one, the same text is read otherwise.
    swapped = encoder.fuse(encoder.encode_image(pictures.flip(0)), ids, mask)
    assert (swapped - together).abs().max() > 0.01


@torch.inference_mode()
def test_padding_changes_nothing() -> None:
    encoder = Encoder(retrieval())
    image_embeds = encoder.encode_image(torch.randn(1, 3, SIDE, SIDE))
    ids, mask = texts(1, 9)
    longer = torch.nn.functional.pad(ids, (0, 12)), torch.nn.functional.pad(mask, (0, 12))
    torch.testing.assert_close(
        encoder.fuse(image_embeds, ids, mask),
        encoder.fuse(image_embeds, *longer),
        rtol=0,
        atol=1e-5,
    )


@torch.inference_mode()
def test_positions_are_interpolated_for_a_larger_image() -> None:
    encoder = Encoder(retrieval())
    assert encoder.encode_image(torch.randn(1, 3, 3 * PATCH, 3 * PATCH)).shape == (1, 10, 32)


@torch.inference_mode()
def test_contrastive_similarity_equals_that_of_transformers() -> None:
    """Queries that read nothing and words that saw nothing, as the library's other head has it."""
    model = retrieval()
    pictures = torch.randn(3, 3, SIDE, SIDE)
    ids, mask = texts(4)
    theirs = model(pixel_values=pictures, input_ids=ids, attention_mask=mask).logits_per_image
    encoder = Encoder(model)
    queries = normalize(
        model.vision_projection(encoder.query_image(encoder.encode_image(pictures))), dim=-1
    )
    words = normalize(model.text_projection(encoder.encode_text(ids, mask)[:, 0]), dim=-1)
    ours = torch.einsum("pqd,td->pqt", queries, words).amax(1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_texts_may_refer_to_images_in_any_order() -> None:
    encoder = Encoder(retrieval())
    image_embeds = encoder.encode_image(torch.randn(3, 3, SIDE, SIDE))
    ids, mask = texts(6)
    image_index = torch.tensor([2, 0, 2, 2, 0, 2])  # nobody speaks image_index the second picture
    alone = [
        encoder.fuse(image_embeds[n][None], ids[i][None], mask[i][None])
        for i, n in enumerate(image_index)
    ]
    torch.testing.assert_close(
        encoder.fuse(image_embeds, ids, mask, image_index), torch.cat(alone), rtol=0, atol=1e-5
    )


@torch.inference_mode()
def test_causal_tokens_ignore_later_ones_and_queries_ignore_the_text() -> None:
    encoder = Encoder(retrieval())
    image_embeds = encoder.encode_image(torch.randn(1, 3, SIDE, SIDE))
    ids, mask = texts(1, 9)
    queries, words = encoder.causal_forward(image_embeds, ids, mask)
    torch.testing.assert_close(queries, encoder.query_image(image_embeds), rtol=0, atol=1e-5)
    other = ids.clone()
    other[:, 5:] = 7
    _, changed = encoder.causal_forward(image_embeds, other, mask)
    torch.testing.assert_close(words[:, :5], changed[:, :5], rtol=0, atol=1e-5)
    assert (words[:, 5:] - changed[:, 5:]).abs().max() > 0.01
    _, elsewhere = encoder.causal_forward(
        encoder.encode_image(torch.randn(1, 3, SIDE, SIDE)), ids, mask
    )
    assert (words - elsewhere).abs().max() > 0.01
