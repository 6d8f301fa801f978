"""What the students on a BLIP-2 share: how they look, what is saved of them, where they compute."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from PIL.Image import Image
from torch import nn

from blip2.training.devices import autocast, default_device
from regions.geometry import Region
from regions.marks import Style, parse_style
from regions.view import View, make_view
from student.models import freezing
from student.models.protocol import Notes
from student.settings import TINY, TrainSettings

Network = TypeVar("Network", bound=nn.Module)


class OnBlip2(Generic[Network]):
    """A network around a BLIP-2, some of which learns; pictures have its tower's size."""

    def __init__(self, network: Network, vision: Any, settings: TrainSettings) -> None:  # noqa: ANN401 - a tower's config
        self.settings = settings
        self.notes = Notes()
        self.device = default_device()
        self.network = network.to(self.device)
        self.style: Style | None = parse_style(settings.style)
        side = settings.size or int(vision.image_size)
        self.size = side, side

    @classmethod
    def named(cls, name: str, settings: TrainSettings) -> Self:
        """A pretrained model."""
        raise NotImplementedError

    def whole(self, folder: Path) -> None:
        """Write it so that transformers alone can load it."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, settings: TrainSettings) -> Self:
        """The student that `save` wrote."""
        own = folder / "base"
        student = cls.named(str(own) if own.is_dir() else settings.model, settings)
        freezing.load_learned(student.network, folder)
        student.network.eval()
        return student

    def save(self, folder: Path) -> None:
        """Write the weights that learned; of `tiny` the base too."""
        freezing.save_learned(self.network, folder)
        if self.settings.model == TINY:
            self.whole(folder / "base")

    def look(
        self, picture: Image, regions: Sequence[Region], texts: Sequence[str], shown: Sequence[int]
    ) -> View:
        """A picture at the model's size, with the regions drawn."""
        return make_view(picture, regions, texts, visible=shown, size=self.size, style=self.style)

    def autocast(self) -> AbstractContextManager[object]:
        """In which numbers it computes."""
        return autocast(self.settings.precision, self.device)
