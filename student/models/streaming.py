"""Streaming of generated text to a callback."""

from typing import Any

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from student.models.protocol import OnText


class CallbackStreamer(BaseStreamer):  # type: ignore[misc]  # transformers ships no types
    """Calls `on_text` with the whole text so far each time it grows.

    The first `skip` tokens belong to the prompt.
    """

    def __init__(self, tokenizer: Any, on_text: OnText, skip: int = 0) -> None:  # noqa: ANN401 - no typed base
        self._tokenizer, self._on_text, self._skip = tokenizer, on_text, skip
        self._ids: list[int] = []
        self._text = ""

    def put(self, value: Tensor) -> None:
        """Take new token ids."""
        self._ids += value.reshape(-1).tolist()
        text = self._tokenizer.decode(self._ids[self._skip :], skip_special_tokens=True)
        # A character of several bytes may be split over tokens.
        if text != self._text and not text.endswith("\ufffd"):
            self._text = text
            self._on_text(text)

    def end(self) -> None:
        """Do nothing: all text has been passed on."""
