"""Tiny BLIP-2 models from a configuration, with a tokenizer trained on given texts: no download.

A student's tower and language model are frozen, so both are pretrained: the tower on marks
(`blip2.model.mark_pretraining`), the language model on the texts of the corpus.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
)

Model = TypeVar("Model", bound=Any)

IMAGE_SIZE = 96
REGIONS = 40
"""References `[0]` to `[39]` are single tokens."""

_VOCABULARY_SIZE, _HIDDEN_SIZE, _TEXT_HIDDEN_SIZE = 3000, 96, 160
_INITIALIZER_RANGE = 0.1
"""Standard deviation of initial weights. With the usual 0.02, so narrow a tower learns slowly."""
_SIZES: dict[str, Any] = {
    "hidden_size": _HIDDEN_SIZE,
    "intermediate_size": 2 * _HIDDEN_SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": _INITIALIZER_RANGE,
}
_VISION = {**_SIZES, "image_size": IMAGE_SIZE, "patch_size": 12}
_QFORMER = {**_SIZES, "cross_attention_frequency": 1, "encoder_hidden_size": _HIDDEN_SIZE}
_N_QUERIES = 8
_MAX_TOKENS = 200
"""Length of a text for pretraining the language model; no text of the demo is longer."""

_IMAGE, _START, _END, _PAD, _UNKNOWN = "<image>", "<s>", "</s>", "<pad>", "<unk>"


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=[_PAD, _START, _END, _UNKNOWN, _IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([f"[{number}]" for number in range(REGIONS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        bos_token=_START,
        eos_token=_END,
        unk_token=_UNKNOWN,
        padding_side="right",
    )


def tiny_blip2(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Blip2ForConditionalGeneration:
    """Return an untrained BLIP-2 with a language model: about a million parameters."""
    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=Blip2VisionConfig(**_VISION),
            qformer_config=Blip2QFormerConfig(**_QFORMER, vocab_size=len(tokenizer)),
            text_config=_opt_config(tokenizer),
            num_query_tokens=_N_QUERIES,
            image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        )
    )
    return _init_queries(model)


def tiny_instructblip(
    tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> InstructBlipForConditionalGeneration:
    """Return an untrained InstructBLIP, whose Q-Former also reads the question."""
    torch.manual_seed(seed)
    model = InstructBlipForConditionalGeneration(
        InstructBlipConfig(
            vision_config=InstructBlipVisionConfig(**_VISION),
            qformer_config=InstructBlipQFormerConfig(
                **_QFORMER, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
            ),
            text_config=_opt_config(tokenizer),
            num_query_tokens=_N_QUERIES,
            image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        )
    )
    return _init_queries(model)


def _opt_config(tokenizer: PreTrainedTokenizerFast) -> OPTConfig:
    return OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_HIDDEN_SIZE,
        word_embed_proj_dim=_TEXT_HIDDEN_SIZE,
        ffn_dim=4 * _TEXT_HIDDEN_SIZE,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=320,
        dropout=0.1,
        init_std=_INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _init_queries(model: Model) -> Model:
    """Initialise the query tokens randomly; transformers' zeros would keep them all equal."""
    torch.nn.init.normal_(model.query_tokens, std=_INITIALIZER_RANGE)
    return model


def tiny_retrieval(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Blip2ForImageTextRetrieval:
    """Return an untrained image-text matching model: about half a million parameters."""
    torch.manual_seed(seed)
    model = Blip2ForImageTextRetrieval(
        Blip2Config(
            vision_config=Blip2VisionConfig(**_VISION),
            qformer_config=Blip2QFormerConfig(
                **_QFORMER,
                vocab_size=len(tokenizer),
                pad_token_id=tokenizer.pad_token_id,
                use_qformer_text_input=True,
            ),
            num_query_tokens=_N_QUERIES,
            image_text_hidden_size=_HIDDEN_SIZE,
            image_token_index=None,
        )
    )
    return _init_queries(model)


def pretrain_language_model(
    model: Blip2ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    steps: int,
    seed: int,
    progress: Callable[[int], None],
) -> float:
    """Train the language model alone on `texts`; return the loss of the last step."""
    language = model.language_model
    language.train()
    optimizer = torch.optim.AdamW(language.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    last_loss = float("nan")
    for step, batch in zip(range(steps), _batches(texts, seed), strict=False):
        encoded = tokenizer(
            batch, return_tensors="pt", padding=True, truncation=True, max_length=_MAX_TOKENS
        )
        labels = encoded.input_ids.masked_fill(encoded.attention_mask == 0, -100)
        loss = language(
            input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, labels=labels
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(language.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        last_loss = float(loss.detach())
        progress(step + 1)
    return last_loss


def _batches(texts: Sequence[str], seed: int, size: int = 16) -> Iterator[list[str]]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(texts), generator=generator).tolist()
        for start in range(0, len(order), size):
            yield [texts[i] + _END for i in order[start : start + size]]
