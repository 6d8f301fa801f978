"""Token counts of prompts before they are sent: by the model's tokenizer, or by length."""

from collections.abc import Sequence
from typing import Any, Protocol

from generation.prompts import Message
from regions.errors import UserError

_TOKENS_PER_MESSAGE, _CHARACTERS_PER_TOKEN = 4, 4


class TokenCounter(Protocol):
    """Counts the tokens of a prompt."""

    @property
    def is_exact(self) -> bool:
        """Whether counts come from the model's own tokenizer."""
        ...

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of the prompt."""
        ...


class LengthCounter:
    """Four characters per token, calibrated by prompts that the server has counted."""

    is_exact = False

    def __init__(self) -> None:
        self._guessed, self._reported = 0, 0

    def count(self, messages: Sequence[Message]) -> int:
        """Return an estimate of the tokens of the prompt."""
        guess = _guess(messages)
        return round(guess * self._reported / self._guessed) if self._guessed else guess

    def calibrate(self, messages: Sequence[Message], tokens: int) -> None:
        """Take into account that the server counted `tokens` for this prompt."""
        self._guessed += _guess(messages)
        self._reported += tokens


def _guess(messages: Sequence[Message]) -> int:
    return sum(len(m["content"]) // _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE for m in messages)


class TokenizerCounter:
    """The model's tokenizer from transformers, with its chat template if it has one."""

    is_exact = True

    def __init__(self, name: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no tokenizer {name!r}", hint="give a name on the hub or a folder"
            ) from error

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of the prompt as the model receives it."""
        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return sum(len(self._tokenizer(m["content"])["input_ids"]) for m in messages)
