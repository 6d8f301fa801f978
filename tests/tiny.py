"""Tiny models of real architectures, made from configs and saved as their kind is saved."""

import json
from pathlib import Path

import torch
from transformers import (
    Blip2Processor,
    BlipImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

from blip2.model import tiny

_CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}\n{% endfor %}assistant:"
)
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_SIGHT = {**_SMALL, "image_size": 32, "patch_size": 16}
_SIZE = {"height": 32, "width": 32}


def tokenizer() -> PreTrainedTokenizerFast:
    said = "a photo of a dog. Question: what is it? Answer: a dog on a mat. Is it? yes or no."
    return tiny.train_tokenizer([said])


def blip2(folder: Path) -> Path:
    """No chat template; its generate returns the prompt too, as an OPT's does."""
    words = tokenizer()
    tiny.tiny_blip2(words, seed=0).save_pretrained(folder)
    size = {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE}
    Blip2Processor(BlipImageProcessorPil(size=size), words, num_query_tokens=8).save_pretrained(
        folder
    )
    return folder


def retrieval(folder: Path) -> Path:
    """A BLIP-2 that matches pictures and texts, of the project's own tiny size."""
    words = tiny.train_tokenizer(["Is it north? Answer: no. Rationale: it is south."])
    tiny.tiny_retrieval(words, seed=0).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """Asked in a chat."""
    words = tokenizer()
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_SIGHT),
        text_config=LlamaConfig(
            **_SMALL,
            vocab_size=len(words),
            pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIZE),
        words,
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=_CHAT,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    words = tokenizer()
    torch.manual_seed(0)
    text = {
        **_SMALL,
        "vocab_size": len(words),
        "max_position_embeddings": 64,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    CLIPModel(CLIPConfig(text_config=text, vision_config=_SIGHT)).save_pretrained(folder)
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIZE)
    CLIPProcessor(pixels, words).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    words = tokenizer()
    words.model_max_length = 64
    torch.manual_seed(0)
    text = {
        **_SMALL,
        "vocab_size": len(words),
        "max_position_embeddings": 64,
        "projection_size": 32,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
    }
    SiglipModel(SiglipConfig(text_config=text, vision_config=_SIGHT)).save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessorPil(size=_SIZE), words).save_pretrained(folder)
    return folder


def qwen(folder: Path) -> Path:
    """Takes pictures of any size in patches, and writes coordinates in pixels."""
    words = tokenizer()
    marks = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    around = ["<|vision_start|>", "<|vision_end|>"]
    words.add_special_tokens({"additional_special_tokens": [*marks.values(), *around]})
    ids = {f"{name}_id": words.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            **_SMALL,
            "vocab_size": len(words),
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "pad_token_id": words.pad_token_id,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": 32,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=words.convert_tokens_to_ids(around[0]),
        vision_end_token_id=words.convert_tokens_to_ids(around[1]),
        **ids,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    size = {"shortest_edge": 28 * 28, "longest_edge": 280 * 280}
    chat = _CHAT.replace("<image>", f"{around[0]}{marks['image_token']}{around[1]}")
    words.chat_template = chat
    words.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size=size).save_pretrained(folder)
    # As Qwen's own folders have it: what reads pictures and texts together asks for torchvision.
    file = folder / "preprocessor_config.json"
    told = json.loads(file.read_text()) | {"processor_class": "Qwen2_5_VLProcessor"}
    file.write_text(json.dumps(told))
    return folder
