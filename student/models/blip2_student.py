"""Base class of the students built on BLIP-2: rendering, saving, device and precision."""

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
from student.models.protocol import Diagnostics
from student.settings import TINY, TrainSettings

Network = TypeVar("Network", bound=nn.Module)


class Blip2Student(Generic[Network]):
    """A partly frozen network around a BLIP-2; images are square, at the vision tower's size."""

    def __init__(self, network: Network, vision_config: Any, settings: TrainSettings) -> None:  # noqa: ANN401 - of transformers
        self.settings = settings
        self.diagnostics = Diagnostics()
        self.device = default_device()
        self.network = network.to(self.device)
        self.style: Style | None = parse_style(settings.style)
        side = settings.image_size or int(vision_config.image_size)
        self.image_size = side, side

    @classmethod
    def from_pretrained(cls, name: str, settings: TrainSettings) -> Self:
        """Return a student on a pretrained model, by name or folder."""
        raise NotImplementedError

    def save_merged(self, folder: Path) -> None:
        """Write the whole model in the format of transformers."""
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, settings: TrainSettings) -> Self:
        """Load a student that `save` wrote."""
        base = folder / "base"
        student = cls.from_pretrained(str(base) if base.is_dir() else settings.model, settings)
        freezing.load_trainable(student.network, folder)
        student.network.eval()
        return student

    def save(self, folder: Path) -> None:
        """Write the trained parameters, and the base model if it was built here."""
        freezing.save_trainable(self.network, folder)
        if self.settings.model == TINY:
            self.save_merged(folder / "base")

    def make_view(
        self,
        image: Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        """Resize an image to the model's size and draw the regions on it."""
        return make_view(
            image, regions, texts, visible=visible_regions, size=self.image_size, style=self.style
        )

    def autocast(self) -> AbstractContextManager[object]:
        """Context manager that computes in the precision of the settings."""
        return autocast(self.settings.precision, self.device)
