"""Captions of images and of their regions, marked or cropped, by an image-text-to-text model."""

from collections.abc import Sequence

import PIL.Image

from db.store import keys
from generation import prompts
from generation.verbalize.crops import crop_region
from generation.verbalize.image_text_model import MARKED_SIDE, ImageTextDescriber
from generation.verbalize.protocol import DescriberInput, Target
from generation.verbalize.settings import VIEWS, CaptionSettings, ModelSettings
from regions.errors import InvalidError
from regions.geometry import fit_within
from regions.marks import draw_regions

_PLACEHOLDERS = {
    "whole": frozenset[str](),
    "mark": frozenset({"number"}),
    "crop": frozenset[str](),
}


class Captions(ImageTextDescriber):
    """Captions the whole image, and each region as marked in it and as cropped."""

    def __init__(self, model: ModelSettings, settings: CaptionSettings) -> None:
        self._views = [view.strip() for view in settings.views.split(",")]
        if not self._views or set(self._views) - set(VIEWS):
            raise InvalidError(
                f"unknown views {settings.views!r}", hint=f"use some of {','.join(VIEWS)}"
            )
        self._prompts = {
            view: prompts.load(f"caption-{view}", "", _PLACEHOLDERS[view]) for view in self._views
        }
        super().__init__(model, settings.max_new_tokens)
        versions = sorted((view, prompt.version) for view, prompt in self._prompts.items())
        digest = keys.digest(
            "captions", versions, settings.max_new_tokens, self._image_text_model.commit
        )
        self.version = f"captions-{digest[:8]}"

    def targets(self, item: DescriberInput) -> Sequence[Target]:
        """Return the whole image, and each region in each view."""
        targets = [Target("scene", view="whole") for view in self._views if view == "whole"]
        region_views = [view for view in self._views if view != "whole"]
        for region in item.regions:
            targets += [Target("region", region.number, view=view) for view in region_views]
        return targets

    def view(self, item: DescriberInput, image: PIL.Image.Image, target: Target) -> PIL.Image.Image:
        """Return the whole image, or the region marked or cropped."""
        if target.region is None:
            return image
        region = next(region for region in item.regions if region.number == target.region)
        if target.view == "crop":
            return crop_region(image, region)
        return draw_regions(image, [region], size=fit_within(*image.size, MARKED_SIDE))

    def prompt(self, target: Target) -> str:
        """Return the prompt of the view; models without a chat caption by an empty prompt."""
        if target.view != "mark" and not self._image_text_model.is_chat:
            return ""
        values = {"number": str(target.region)} if target.view == "mark" else {}
        return self._prompts[target.view].fill(**values)[-1]["content"]
