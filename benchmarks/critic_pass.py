"""Scoring eight triples per image at 480 px: one vision pass per image against one per triple.

The baseline is the loop of the released code: each triple encodes its image, texts are padded to
128 tokens, and all values are float32. Weights and images are the same. The speed-up is compared
with the ratio of floating-point operations. On a GPU the model is BLIP-2 with ViT-g and random
weights, ours runs in bfloat16, and training steps are compared too.
"""

from collections.abc import Callable

import torch
from random_blip2 import large_retrieval_model, make_retrieval_model, peak_flops, time_call
from table import row
from torch.utils.flop_counter import FlopCounterMode
from transformers import Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig

from blip2.model.encoder import Encoder
from blip2.training.trainer import trainable_parameters
from critic.models.blip2.losses import critic_loss
from critic.models.blip2.network import Blip2CriticNetwork

IMAGES, TRIPLES, SIDE, FITS = 4, 8, 480, 476
TOKENS, PADDED, WORDS = 60, 128, 1000
ROUNDS = 3
STEPS, BATCH_SIZE = 5, 16


def small() -> Blip2ForImageTextRetrieval:
    """A small vision tower at the real image size, with a Q-Former in proportion."""
    vision = Blip2VisionConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=8,
        image_size=FITS,
        patch_size=14,
        initializer_range=0.02,
    )
    qformer = Blip2QFormerConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        cross_attention_frequency=2,
        encoder_hidden_size=256,
        vocab_size=WORDS,
        use_qformer_text_input=True,
    )
    return make_retrieval_model(vision, qformer)


class Passes:
    """The same triples scored in both ways."""

    def __init__(self, model: Blip2ForImageTextRetrieval, device: str) -> None:
        self.encoder = Encoder(model).to(device)
        self.half = device == "cuda"
        self.pixel_values = torch.randn(IMAGES, 3, SIDE, SIDE, device=device)
        self.ids = torch.randint(1, WORDS, (IMAGES * TRIPLES, PADDED), device=device)
        self.mask = torch.zeros_like(self.ids)
        self.mask[:, :TOKENS] = 1

    def straightforward(self) -> torch.Tensor:
        """One vision pass per triple."""
        logits = []
        for image in range(IMAGES):
            rows = slice(image * TRIPLES, (image + 1) * TRIPLES)
            pixel_values = self.pixel_values[image].expand(TRIPLES, -1, -1, -1)
            image_embeds = self.encoder.encode_image(pixel_values)
            hidden_states = self.encoder.fuse(image_embeds, self.ids[rows], self.mask[rows])
            logits.append(self.encoder.itm_logits(hidden_states))
        return torch.cat(logits)

    def shared(self) -> torch.Tensor:
        """One vision pass per image, texts without padding."""
        with torch.autocast(self.pixel_values.device.type, torch.bfloat16, enabled=self.half):
            image_embeds = self.encoder.encode_image(self.pixel_values)
            texts = self.ids[:, :TOKENS], self.mask[:, :TOKENS]
            return self.encoder.itm_logits(self.encoder.fuse(image_embeds, *texts))


def count_operations(function: Callable[[], object]) -> int:
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


@torch.inference_mode()
def scoring(name: str, model: Blip2ForImageTextRetrieval, device: str, limit: str) -> None:
    """Time both ways in turn, `ROUNDS` times, and print the median speed-up."""
    passes = Passes(model, device)
    tolerance = 5e-2 if passes.half else 1e-4
    actual, expected = passes.shared().float(), passes.straightforward()
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
    operations = count_operations(passes.shared)
    predicted = count_operations(passes.straightforward) / operations
    pairs = [(time_call(passes.straightforward), time_call(passes.shared)) for _ in range(ROUNDS)]
    speed_ups = sorted(slow / fast for slow, fast in pairs)
    fastest = min(fast for _, fast in pairs)
    measured = (
        f"{IMAGES * TRIPLES / fastest:.1f} triples/s; {speed_ups[ROUNDS // 2]:.1f} times as fast as"
        f" one pass per triple, where operations predict {predicted:.1f}"
    )
    if passes.half:
        share = operations / fastest / peak_flops()
        gib = torch.cuda.max_memory_allocated() / 2**30
        measured += f"; {share:.2f} of the matrix peak, {gib:.1f} GiB"
    row(f"{name}, {SIDE} px, {TRIPLES} triples per image", measured, limit)


def training(name: str, model: Blip2ForImageTextRetrieval, device: str) -> None:
    """Steps per second: float32 with padded texts, as released, against ours."""
    network = Blip2CriticNetwork(Encoder(model), freeze_vision=True).to(device)
    network.train()
    optimizer = torch.optim.AdamW(trainable_parameters(network), lr=1e-5)
    pixel_values = torch.randn(BATCH_SIZE, 3, SIDE, SIDE, device=device)
    ids = torch.randint(1, WORDS, (BATCH_SIZE, PADDED), device=device)
    mask = torch.ones_like(ids)
    accepted = torch.randint(2, (BATCH_SIZE,), device=device)
    part_targets = torch.randint(2, (BATCH_SIZE, 2), device=device).float()

    def step(*, half: bool, tokens: int) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits, parts = network(pixel_values, ids[:, :tokens], mask[:, :tokens])
        critic_loss(logits, parts, accepted, part_targets)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def ours() -> None:
        step(half=device == "cuda", tokens=TOKENS)

    def released() -> None:
        step(half=False, tokens=PADDED)

    ours()
    pairs = [(time_call(released), time_call(ours)) for _ in range(STEPS)]
    speed_ups = sorted(slow / fast for slow, fast in pairs)
    row(
        f"{name}, a training step of {BATCH_SIZE} triples at {SIDE} px",
        f"{1 / min(fast for _, fast in pairs):.2f} steps/s; {speed_ups[STEPS // 2]:.1f}"
        " times as fast as in float32 with padded texts",
        "",
    )


def main() -> None:
    """Print the rows; those of a GPU if there is one."""
    scoring("BLIP-2 critic, small tower", small(), "cpu", "0.8 of what they predict")
    training("BLIP-2 critic, small tower", small(), "cpu")
    if torch.cuda.is_available():
        scoring(
            "BLIP-2 critic, ViT-g on a GPU",
            large_retrieval_model(WORDS),
            "cuda",
            "20 times; 0.5 of the peak",
        )
        training("BLIP-2 critic, ViT-g on a GPU", large_retrieval_model(WORDS), "cuda")


if __name__ == "__main__":
    main()
