"""Tiny models of real architectures, created from configurations and saved to folders."""

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
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_VISION = {**_SIZES, "image_size": 32, "patch_size": 16}
_IMAGE_SIZE = {"height": 32, "width": 32}


def make_tokenizer() -> PreTrainedTokenizerFast:
    text = "a photo of a dog. Question: what is it? Answer: a dog on a mat. Is it? yes or no."
    return tiny.train_tokenizer([text])


def blip2(folder: Path) -> Path:
    """A BLIP-2 with OPT: no chat template, and `generate` returns the prompt too."""
    tokenizer = make_tokenizer()
    tiny.tiny_blip2(tokenizer, seed=0).save_pretrained(folder)
    size = {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE}
    Blip2Processor(BlipImageProcessorPil(size=size), tokenizer, num_query_tokens=8).save_pretrained(
        folder
    )
    return folder


def retrieval(folder: Path) -> Path:
    """A BLIP-2 for image-text matching."""
    tokenizer = tiny.train_tokenizer(["Is it north? Answer: no. Rationale: it is south."])
    tiny.tiny_retrieval(tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def llava(folder: Path) -> Path:
    """A chat model."""
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**_VISION),
        text_config=LlamaConfig(
            **_SIZES,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_IMAGE_SIZE),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        chat_template=_CHAT,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    text = {
        **_SIZES,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION)).save_pretrained(folder)
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_IMAGE_SIZE)
    CLIPProcessor(pixels, tokenizer).save_pretrained(folder)
    return folder


def siglip(folder: Path) -> Path:
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 64
    torch.manual_seed(0)
    text = {
        **_SIZES,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "projection_size": 32,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)).save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessorPil(size=_IMAGE_SIZE), tokenizer).save_pretrained(folder)
    return folder


def qwen(folder: Path) -> Path:
    """A chat model for images of any size, which writes coordinates in pixels."""
    tokenizer = make_tokenizer()
    tokens = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    image_boundaries = ["<|vision_start|>", "<|vision_end|>"]
    tokenizer.add_special_tokens(
        {"additional_special_tokens": [*tokens.values(), *image_boundaries]}
    )
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            **_SIZES,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
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
        vision_start_token_id=tokenizer.convert_tokens_to_ids(image_boundaries[0]),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(image_boundaries[1]),
        **ids,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    size = {"shortest_edge": 28 * 28, "longest_edge": 280 * 280}
    chat = _CHAT.replace(
        "<image>", f"{image_boundaries[0]}{tokens['image_token']}{image_boundaries[1]}"
    )
    tokenizer.chat_template = chat
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size=size).save_pretrained(folder)
    # As in Qwen's own folders; this processor requires torchvision.
    file = folder / "preprocessor_config.json"
    config_json = json.loads(file.read_text()) | {"processor_class": "Qwen2_5_VLProcessor"}
    file.write_text(json.dumps(config_json))
    return folder
