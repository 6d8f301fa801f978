"""What calls cost: a table of prices, tokens counted before a call, and a purse that holds."""

import asyncio
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from generation.prompts import Message
from regions.errors import UserError

MILLION = 1_000_000
_TABLE = Path(__file__).parent / "prices.json"

# What a chat adds around each message, and a usual length of a token: for want of the tokenizer.
_AROUND, _CHARACTERS = 4, 4

_TALLEST, _SHORT_SIDE, _TILE = 2048, 768, 512
"""Pixels to which a picture is made smaller before its tiles are counted."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    input: float
    output: float
    picture: tuple[int, int] | None = None
    """Tokens of a picture, and of each of its tiles; None where nobody has said."""
    submitted: float = 1.0
    """The share of the price at which a request is answered that may wait."""

    def later(self) -> "Price":
        """What requests cost that may wait."""
        return replace(self, input=self.input * self.submitted, output=self.output * self.submitted)

    def seen(self, size: tuple[int, int] | None) -> int:
        """Tokens of a picture of this size, by OpenAI's rule: tiles of 512 pixels at 768."""
        if size is None or self.picture is None:
            return 0
        by = min(1.0, _TALLEST / max(size))
        by *= min(1.0, _SHORT_SIDE / (by * min(size)))
        tiles = math.prod(math.ceil(round(side * by) / _TILE) for side in size)
        return self.picture[0] + self.picture[1] * tiles

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Millionths of a dollar, rounded up."""
        return -int(-(prompt_tokens * self.input + completion_tokens * self.output) // 1)


def price_of(model: str, file: str) -> Price | None:
    """The price of a model, by the table that comes along or `file`; None where it has none."""
    path = Path(file) if file else _TABLE
    try:
        table = json.loads(path.read_text("utf-8"))["models"]
        found = table.get(model)
        if not found:
            return None
        picture = found.get("picture")
        return Price(
            float(found["input"]),
            float(found["output"]),
            (int(picture[0]), int(picture[1])) if picture else None,
            float(found.get("submitted", 1.0)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "no table of prices",
            where=str(path),
            hint='write {"models": {"NAME": {"input": 0.15, "output": 0.60}}}, dollars a million',
        ) from error


def dollars(millionths: int) -> str:
    """An amount as people read it."""
    return f"${millionths / MILLION:.4f}"


class Counter(Protocol):
    """Counts the tokens of a request before it is sent."""

    exact: bool

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt."""
        ...


class ByLength:
    """For want of the tokenizer: characters by four, corrected by what this model has answered."""

    exact = False

    def __init__(self) -> None:
        self._guessed, self._told = 0, 0

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens, as well as that can be told."""
        guess = _guess(messages)
        return round(guess * self._told / self._guessed) if self._guessed else guess

    def learn(self, messages: Sequence[Message], tokens: int) -> None:
        """A request was so many tokens by the server's count."""
        self._guessed += _guess(messages)
        self._told += tokens


def _guess(messages: Sequence[Message]) -> int:
    return sum(len(m["content"]) // _CHARACTERS + _AROUND for m in messages)


class ByTokenizer:
    """The model's own tokenizer, with its chat template where it has one."""

    exact = True

    def __init__(self, name: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no tokenizer {name!r}", hint="give a name or a folder of transformers"
            ) from error

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt as the model gets it."""
        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return sum(len(self._tokenizer(m["content"])["input_ids"]) for m in messages)


class Empty(Exception):  # noqa: N818 - it is no error to have spent what was meant to be spent
    """The next call might cost more than what is left."""


class Purse:
    """Holds back what calls in flight may cost at most, so that a budget is never exceeded."""

    def __init__(self, budget: int | None, spent: int) -> None:
        self.budget, self.spent = budget, spent
        self._held = 0
        self._back = asyncio.Condition()

    async def hold(self, most: int) -> None:
        """Set aside what a call may cost; Empty where it would not fit even if all came back."""
        async with self._back:
            while self.budget is not None and self.spent + self._held + most > self.budget:
                if not self._held:
                    raise Empty
                await self._back.wait()
            self._held += most

    async def settle(self, most: int, cost: int) -> None:
        """Give back what was set aside, and pay what it did cost."""
        async with self._back:
            self._held -= most
            self.spent += cost
            self._back.notify_all()
