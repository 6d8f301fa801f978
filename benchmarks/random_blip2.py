"""Shared by benchmarks of BLIP-2: models with random weights, and timing."""

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


def make_retrieval_model(
    vision: Blip2VisionConfig, qformer: Blip2QFormerConfig
) -> Blip2ForImageTextRetrieval:
    """Return a retrieval model with random weights."""
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, num_query_tokens=32, image_token_index=None
    )
    return Blip2ForImageTextRetrieval(config).eval()


def large_retrieval_model(vocab_size: int) -> Blip2ForImageTextRetrieval:
    """Return ViT-g and BLIP-2's Q-Former, the defaults of transformers, at 476 px."""
    vision = Blip2VisionConfig(image_size=476, initializer_range=0.02)
    return make_retrieval_model(
        vision, Blip2QFormerConfig(vocab_size=vocab_size, use_qformer_text_input=True)
    )


def time_call(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes, including work queued on the GPU."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_flops() -> float:
    """Return the floating-point operations per second of a large bfloat16 matrix product."""
    left = torch.randn(_MATRIX, _MATRIX, device="cuda", dtype=torch.bfloat16)
    time_call(lambda: left @ left)
    return 2 * _MATRIX**3 / min(time_call(lambda: left @ left) for _ in range(5))
