"""Scoring eight triples an image at 480 px: one pass of the picture for all, against one for each.

The straightforward loop is the released code's: every triple brings its image, texts are padded to
128 tokens, numbers are float32. Same weights, same images; the speed-up that the count of
operations predicts stands beside. On a GPU the architecture is that of BLIP-2's ViT-g with random
weights, ours computes in bfloat16, and training steps are compared too.
"""

from collections.abc import Callable

import torch
from random_blip2 import large_retrieval_model, make_retrieval_model, peak_flops, time_call
from table import row
from torch.utils.flop_counter import FlopCounterMode
from transformers import Blip2ForImageTextRetrieval, Blip2QFormerConfig, Blip2VisionConfig

from blip2.model.encoder import Encoder
from critic.models.network import Judge
from critic.training.losses import loss

IMAGES, TRIPLES, SIDE, FITS = 4, 8, 480, 476
TOKENS, PADDED, WORDS = 60, 128, 1000
ROUNDS = 3
STEPS, PIECE = 5, 16


def small() -> Blip2ForImageTextRetrieval:
    """A small vision tower at the real size of pictures, and a Q-Former in proportion."""
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
    """The same triples scored both ways."""

    def __init__(self, model: Blip2ForImageTextRetrieval, device: str) -> None:
        self.encoder = Encoder(model).to(device)
        self.half = device == "cuda"
        self.pictures = torch.randn(IMAGES, 3, SIDE, SIDE, device=device)
        self.ids = torch.randint(1, WORDS, (IMAGES * TRIPLES, PADDED), device=device)
        self.mask = torch.zeros_like(self.ids)
        self.mask[:, :TOKENS] = 1

    def straightforward(self) -> torch.Tensor:
        """One pass of the picture a triple."""
        found = []
        for image in range(IMAGES):
            rows = slice(image * TRIPLES, (image + 1) * TRIPLES)
            seen = self.encoder.encode_image(self.pictures[image].expand(TRIPLES, -1, -1, -1))
            read = self.encoder.fuse(seen, self.ids[rows], self.mask[rows])
            found.append(self.encoder.itm_logits(read))
        return torch.cat(found)

    def shared(self) -> torch.Tensor:
        """One pass for all triples about it, texts as long as they are."""
        with torch.autocast(self.pictures.device.type, torch.bfloat16, enabled=self.half):
            seen = self.encoder.encode_image(self.pictures)
            texts = self.ids[:, :TOKENS], self.mask[:, :TOKENS]
            return self.encoder.itm_logits(self.encoder.fuse(seen, *texts))


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


@torch.inference_mode()
def scoring(name: str, model: Blip2ForImageTextRetrieval, device: str, limit: str) -> None:
    """Both ways side by side, `ROUNDS` times; the median ratio."""
    passes = Passes(model, device)
    close = 5e-2 if passes.half else 1e-4
    found, wanted = passes.shared().float(), passes.straightforward()
    torch.testing.assert_close(found, wanted, rtol=0, atol=close)
    counted = operations(passes.shared)
    predicted = operations(passes.straightforward) / counted
    pairs = [(time_call(passes.straightforward), time_call(passes.shared)) for _ in range(ROUNDS)]
    gains = sorted(slow / fast for slow, fast in pairs)
    fastest = min(fast for _, fast in pairs)
    said = (
        f"{IMAGES * TRIPLES / fastest:.1f} triples/s; {gains[ROUNDS // 2]:.1f} times as fast as one"
        f" pass a triple, where operations predict {predicted:.1f}"
    )
    if passes.half:
        share = counted / fastest / peak_flops()
        gib = torch.cuda.max_memory_allocated() / 2**30
        said += f"; {share:.2f} of the matrix peak, {gib:.1f} GiB"
    row(f"{name}, {SIDE} px, {TRIPLES} triples an image", said, limit)


def training(name: str, model: Blip2ForImageTextRetrieval, device: str) -> None:
    """Steps a second: float32 with texts padded, as released, against ours."""
    judge = Judge(Encoder(model), sees_already=True).to(device)
    judge.train()
    optimizer = torch.optim.AdamW(judge.learning(), lr=1e-5)
    pictures = torch.randn(PIECE, 3, SIDE, SIDE, device=device)
    ids = torch.randint(1, WORDS, (PIECE, PADDED), device=device)
    mask = torch.ones_like(ids)
    accepted = torch.randint(2, (PIECE,), device=device)
    sound = torch.randint(2, (PIECE, 2), device=device).float()

    def step(*, half: bool, tokens: int) -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits, parts = judge(pictures, ids[:, :tokens], mask[:, :tokens])
        loss(logits, parts, accepted, sound)[0].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def ours() -> None:
        step(half=device == "cuda", tokens=TOKENS)

    def released() -> None:
        step(half=False, tokens=PADDED)

    ours()
    pairs = [(time_call(released), time_call(ours)) for _ in range(STEPS)]
    gains = sorted(slow / fast for slow, fast in pairs)
    row(
        f"{name}, a training step of {PIECE} triples at {SIDE} px",
        f"{1 / min(fast for _, fast in pairs):.2f} steps/s; {gains[STEPS // 2]:.1f} times"
        " as fast as in float32 with texts padded",
        "",
    )


def main() -> None:
    """Print the rows; those of a GPU where there is one."""
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
