"""What a describer is: from an image and its regions to texts, each with its place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from db.schema import Image, VerbalizationKind
from regions.geometry import Region


@dataclass(frozen=True, slots=True)
class Text:
    """Something said about an image, or about the region `region` of it."""

    kind: VerbalizationKind
    text: str
    region: int | None = None
    answer: str = ""


class Describer(Protocol):
    """Writes about images; `model` and `version` are stored with every text."""

    model: str
    version: str

    def describe(self, image: Image, regions: Sequence[Region]) -> Iterable[Text]:
        """The texts about one image; the same image gives the same texts."""
        ...
