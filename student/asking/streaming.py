"""What a model is writing, as it writes it."""

from typing import Any

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from student.models.protocol import Listener


class Telling(BaseStreamer):  # type: ignore[misc]  # transformers ships no types
    """Calls a listener with the whole text so far, each time there is more of it.

    `skip` tokens are the prompt's.
    """

    def __init__(self, tokenizer: Any, listener: Listener, skip: int = 0) -> None:  # noqa: ANN401 - no typed base
        self._tokenizer, self._listener, self._skip = tokenizer, listener, skip
        self._ids: list[int] = []
        self._told = ""

    def put(self, value: Tensor) -> None:
        """Takes what came after what was there."""
        self._ids += value.reshape(-1).tolist()
        text = self._tokenizer.decode(self._ids[self._skip :], skip_special_tokens=True)
        # A letter of several bytes comes in parts.
        if text != self._told and not text.endswith("\ufffd"):
            self._told = text
            self._listener(text)

    def end(self) -> None:
        """Nothing more comes."""
