"""Prices of models, and the cost of requests before they are sent.

Amounts are integers in millionths of a dollar.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from generation.llm.protocol import Request
from generation.llm.token_counting import LengthCounter, TokenCounter
from regions.errors import InvalidError

MILLION = 1_000_000
_TABLE = Path(__file__).parent / "prices.json"

_MAX_SIDE, _MAX_SHORT_SIDE, _TILE = 2048, 768, 512
"""Pixels: OpenAI scales an image down to these sides, then counts its tiles."""


@dataclass(frozen=True, slots=True)
class Price:
    """Price of a model in dollars per million tokens."""

    input: float
    output: float
    image: tuple[int, int] | None = None
    """Tokens per image and per tile of an image; None if unknown."""
    batch_factor: float = 1.0
    """The Batch API's price as a share of the normal price."""

    def for_batches(self) -> "Price":
        """Return the price of requests sent through the Batch API."""
        return replace(
            self, input=self.input * self.batch_factor, output=self.output * self.batch_factor
        )

    def image_tokens(self, size: tuple[int, int] | None) -> int:
        """Return the tokens of an image of size (width, height) by OpenAI's rule; 0 if unknown."""
        if size is None or self.image is None:
            return 0
        scale = min(1.0, _MAX_SIDE / max(size))
        scale *= min(1.0, _MAX_SHORT_SIDE / (scale * min(size)))
        tiles = math.prod(math.ceil(round(side * scale) / _TILE) for side in size)
        per_image, per_tile = self.image
        return per_image + per_tile * tiles

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the cost of a call in millionths of a dollar, rounded up."""
        return -int(-(prompt_tokens * self.input + completion_tokens * self.output) // 1)


def load_price(model: str, file: str) -> Price | None:
    """Return a model's price in `file` or the included table; None if it is not listed."""
    path = Path(file) if file else _TABLE
    try:
        row = json.loads(path.read_text("utf-8"))["models"].get(model)
        if not row:
            return None
        image = row.get("picture")
        return Price(
            float(row["input"]),
            float(row["output"]),
            (int(image[0]), int(image[1])) if image else None,
            float(row.get("submitted", 1.0)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(
            "this is not a price table",
            where=str(path),
            hint='write {"models": {"NAME": {"input": 0.15, "output": 0.60}}}, '
            "in dollars per million tokens",
        ) from error


def to_dollars(millionths: int) -> float:
    """Convert millionths of a dollar to dollars."""
    return millionths / MILLION


@dataclass(frozen=True, slots=True)
class CostModel:
    """Tokens and cost of requests to one model; cost is 0 if the model has no price."""

    price: Price | None
    counter: TokenCounter
    max_tokens: int
    """Maximum completion tokens of a call."""

    def prompt_tokens(self, request: Request) -> int:
        """Return the tokens of a prompt, with those of its image if they are known."""
        return self.counter.count(request.messages) + self._image_tokens(request)

    def max_cost(self, prompt_tokens: int) -> int:
        """Return the cost of a call whose reply is as long as allowed."""
        return self.price.cost(prompt_tokens, self.max_tokens) if self.price else 0

    def calibrate(self, requests: Iterable[Request], reported: Mapping[str, int]) -> None:
        """Correct an inexact counter by the prompt tokens that the server `reported`.

        `reported` is by fingerprint.
        """
        if not isinstance(self.counter, LengthCounter):
            return
        for request in requests:
            if tokens := reported.get(request.fingerprint):
                self.counter.calibrate(request.messages, tokens - self._image_tokens(request))

    def _image_tokens(self, request: Request) -> int:
        return self.price.image_tokens(request.image_size) if self.price else 0
