"""Loading of a chat model's processor, with or without torchvision.

The processors of the Qwen families need torchvision for videos. For images their tokenizer and
image processor suffice: `ImageTextProcessor` combines them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

from blip2.training.loading import from_pretrained
from regions.errors import InvalidError, UserError


def load_processor(name: str, hint: str) -> Any:  # noqa: ANN401 - of transformers, or ours
    """Load the processor of a model by name or folder; InvalidError without a chat template."""
    try:
        processor = from_pretrained(AutoProcessor, name, hint)
    except ImportError as error:
        config = from_pretrained(AutoConfig, name, hint)
        if not hasattr(config, "image_token_id"):
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the processor of {name!r} cannot be loaded: {reason:.160}",
                hint="install the missing package",
            ) from error
        processor = ImageTextProcessor(name, int(config.image_token_id), hint)
    if getattr(processor, "chat_template", None) is None:
        raise InvalidError(f"{name!r} has no chat template", hint="use --kind generative")
    return processor


class ImageTextProcessor:
    """Tokenizer and image processor of a model that merges patches of a grid."""

    def __init__(self, name: str, image_token_id: int, hint: str) -> None:
        self.tokenizer = from_pretrained(AutoTokenizer, name, hint)
        self.image_processor = from_pretrained(AutoImageProcessor, name, hint)
        self.chat_template = self.tokenizer.chat_template
        self._image_token_id = image_token_id

    def apply_chat_template(self, chat: Sequence[Mapping[str, Any]], **options: Any) -> str:  # noqa: ANN401 - of transformers
        """Return a conversation as one text."""
        text: str = self.tokenizer.apply_chat_template(chat, tokenize=False, **options)
        return text

    def __call__(
        self, *, text: Sequence[str], images: Sequence[Image], return_tensors: str
    ) -> dict[str, Tensor]:
        """Encode one text with one image; its token is repeated for each merged patch."""
        image_inputs = dict(
            self.image_processor(images=list(images), return_tensors=return_tensors)
        )
        merge_area = self.image_processor.merge_size**2
        patches = int(image_inputs["image_grid_thw"][0].prod()) // merge_area
        ids: list[int] = []
        for token in self.tokenizer(text[0]).input_ids:
            ids += [token] * patches if token == self._image_token_id else [token]
        row = torch.tensor([ids])
        return {
            "input_ids": row,
            "attention_mask": torch.ones_like(row),
            "mm_token_type_ids": (row == self._image_token_id).long(),
            **image_inputs,
        }

    def save_pretrained(self, folder: Any) -> None:  # noqa: ANN401 - a path
        """Write the tokenizer and the image processor."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
