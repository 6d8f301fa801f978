"""A chat model's tokenizer and picture processor as one, whether or not torchvision is there.

Processors of the Qwen families ask for torchvision, for videos. Pictures need none of it: their
parts are put together here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer

from blip2.training.loading import from_pretrained
from regions.errors import UserError


def processor_of(name: str, give: str) -> Any:  # noqa: ANN401 - of transformers, or ours
    """The processor of a model by name or folder; UserError where it has no chat."""
    try:
        found = from_pretrained(AutoProcessor, name, give)
    except ImportError as error:
        config = from_pretrained(AutoConfig, name, give)
        if not hasattr(config, "image_token_id"):
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the processor of {name!r} cannot be made: {reason:.160}", hint="install it"
            ) from error
        found = Pictures(name, int(config.image_token_id), give)
    if getattr(found, "chat_template", None) is None:
        raise UserError(f"{name!r} has no chat", hint="use --kind generative for a BLIP-2")
    return found


class Pictures:
    """Texts and pictures for a model that cuts pictures into a grid of patches and merges them."""

    def __init__(self, name: str, image_token: int, give: str) -> None:
        self.tokenizer = from_pretrained(AutoTokenizer, name, give)
        self.image_processor = from_pretrained(AutoImageProcessor, name, give)
        self.chat_template = self.tokenizer.chat_template
        self._image_token = image_token

    def apply_chat_template(self, chat: Sequence[Mapping[str, Any]], **how: Any) -> str:  # noqa: ANN401 - of transformers
        """A chat as one text."""
        found: str = self.tokenizer.apply_chat_template(chat, tokenize=False, **how)
        return found

    def __call__(
        self, *, text: Sequence[str], images: Sequence[Image], return_tensors: str
    ) -> dict[str, Tensor]:
        """One text with one picture, whose token stands once for each of its merged patches."""
        seen = dict(self.image_processor(images=list(images), return_tensors=return_tensors))
        merged = int(seen["image_grid_thw"][0].prod()) // self.image_processor.merge_size**2
        ids: list[int] = []
        for token in self.tokenizer(text[0]).input_ids:
            ids += [token] * merged if token == self._image_token else [token]
        row = torch.tensor([ids])
        return {
            "input_ids": row,
            "attention_mask": torch.ones_like(row),
            "mm_token_type_ids": (row == self._image_token).long(),
            **seen,
        }

    def save_pretrained(self, folder: Any) -> None:  # noqa: ANN401 - a path
        """Write both parts."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)
