"""What benchmarks of BLIP-2 share: models with random weights, and how long a call takes."""

import time
from collections.abc import Callable

import torch
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
)

_MATRIX = 8192


def made(vision: Blip2VisionConfig, qformer: Blip2QFormerConfig) -> Blip2ForImageTextRetrieval:
    """A retrieval model of these parts."""
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, num_query_tokens=32, image_token_index=None
    )
    return Blip2ForImageTextRetrieval(config).eval()


def large(words: int) -> Blip2ForImageTextRetrieval:
    """ViT-g and the Q-Former of BLIP-2, which are transformers' defaults, at 476 px."""
    vision = Blip2VisionConfig(image_size=476, initializer_range=0.02)
    return made(vision, Blip2QFormerConfig(vocab_size=words, use_qformer_text_input=True))


def seconds(work: Callable[[], object]) -> float:
    """Seconds of a call, until the device has done it."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak() -> float:
    """Operations a second of a large matrix product in bfloat16 on the GPU."""
    left = torch.randn(_MATRIX, _MATRIX, device="cuda", dtype=torch.bfloat16)
    seconds(lambda: left @ left)
    return 2 * _MATRIX**3 / min(seconds(lambda: left @ left) for _ in range(5))
