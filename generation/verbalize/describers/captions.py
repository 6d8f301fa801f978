"""A narrative of each picture, and captions of its regions, by a model that looks."""

from collections.abc import Sequence

import PIL.Image

from db.store import keys
from generation import prompts
from generation.verbalize import crops
from generation.verbalize.image_text_model import Looking
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import VIEWS, CaptionSettings, ModelSettings
from regions.errors import UserError
from regions.marks import draw_scaled


class Captions(Looking):
    """Describes whole pictures, and regions as marked in the picture and as cut out of it."""

    def __init__(self, model: ModelSettings, settings: CaptionSettings) -> None:
        self._views = [view.strip() for view in settings.views.split(",")]
        if not self._views or set(self._views) - set(VIEWS):
            raise UserError(f"no views {settings.views!r}", hint=f"use some of {','.join(VIEWS)}")
        needed = {
            "whole": frozenset[str](),
            "mark": frozenset({"number"}),
            "crop": frozenset[str](),
        }
        self._prompts = {
            view: prompts.load(f"caption-{view}", "", needed[view]) for view in self._views
        }
        super().__init__(model, settings.longest)
        written = sorted((view, prompt.version) for view, prompt in self._prompts.items())
        made_by = keys.digest("captions", written, settings.longest, self._looking.commit)
        self.version = f"captions-{made_by[:8]}"

    def places(self, item: Item) -> Sequence[Place]:
        """The whole of it, and each region in each view."""
        numbers = [region.number for region in item.regions]
        return [
            *(Place("scene", view="whole") for view in self._views if view == "whole"),
            *(
                Place("region", number, view=view)
                for number in numbers
                for view in self._views
                if view != "whole"
            ),
        ]

    def show(self, item: Item, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        """The whole picture, or the region as its view has it."""
        if place.region is None:
            return picture
        region = next(region for region in item.regions if region.number == place.region)
        if place.view == "crop":
            return crops.cut_out(picture, region)
        return draw_scaled(picture, [region], crops.SIDE)

    def words(self, place: Place) -> str:
        """The prompt of the view; a captioner captions unasked."""
        if place.view != "mark" and not self._looking.chats:
            return ""
        values = {"number": str(place.region)} if place.view == "mark" else {}
        return self._prompts[place.view].fill(**values)[-1]["content"]
