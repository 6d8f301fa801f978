"""What a describer is: from images and their regions to texts, each with its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import PIL.Image

from db.schema import VerbalizationKind
from regions.geometry import Region


class Place(NamedTuple):
    """What a text is about: an image or the region `region` of it, seen in a `view`.

    Of a question that waits for its answer, the words are in `question`.
    """

    kind: VerbalizationKind
    region: int | None = None
    question: str = ""
    view: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """An image to be described, and the places of which this describer has said nothing yet."""

    image_id: int
    width: int
    height: int
    regions: Sequence[Region]
    questions: Sequence[tuple[str, int | None]]
    """What has been asked about it, and about which region."""
    todo: Sequence[Place] = ()


class Describer(Protocol):
    """Writes about images; `model` and `version` are stored with every text."""

    model: str
    version: str
    """Changes with whatever makes it write something else."""
    sees: bool
    """Whether it looks at pixels, or only at what people have marked."""
    batch: int
    """Images at a time."""

    def places(self, item: Item) -> Sequence[Place]:
        """All that it writes about an image."""
        ...

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The words for each item's `todo`; `pictures` is empty for one that does not see."""
        ...

    def stated(self) -> str:
        """Where it runs and how many pictures at once, as told before a run."""
        ...
