"""The protocol of describers: from images and their regions to texts, each with its target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import PIL.Image

from db.schema import VerbalizationKind
from regions.geometry import Region


class Target(NamedTuple):
    """What a text is about: an image, or a region of it, rendered as `view`.

    The target of an answer has the `question`.
    """

    kind: VerbalizationKind
    region: int | None = None
    question: str = ""
    view: str = ""


@dataclass(frozen=True, slots=True)
class DescriberInput:
    """An image, and the targets for which this describer has stored no text yet."""

    image_id: int
    width: int
    height: int
    regions: Sequence[Region]
    questions: Sequence[tuple[str, int | None]]
    """Open questions, each with the region that it is about."""
    pending: Sequence[Target] = ()


class Describer(Protocol):
    """Writes texts about images; `model` and `version` are stored with every text."""

    model: str
    version: str
    """Changes with every setting that changes the texts."""
    needs_image: bool
    """Whether it reads pixels, or only annotations."""
    batch_size: int
    """Images per call of `describe`."""

    def targets(self, item: DescriberInput) -> Sequence[Target]:
        """Return all targets of an image."""
        ...

    def describe(
        self, items: Sequence[DescriberInput], images: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Target, str]]:
        """Return a text for each pending target of each item.

        `images` has the image of each item if the describer `needs_image`, else it is empty.
        """
        ...

    def device_summary(self) -> str:
        """Return the model, its device and its batch size."""
        ...
