"""A narrative of each picture, and captions of its regions, by a model that looks."""

from collections.abc import Mapping, Sequence

import PIL.Image

from db import keys
from generation import prompts
from generation.verbalize import sights
from generation.verbalize.looking import LookingModel
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import VIEWS, CaptionSettings, ModelSettings
from regions.errors import UserError

SIDE = 1024
"""Longest side at which marks are drawn: a numeral must survive what the model makes smaller."""


class Captions:
    """Describes whole pictures, and regions as marked in the picture and as cut out of it."""

    sees = True

    def __init__(self, model: ModelSettings, settings: CaptionSettings) -> None:
        self._views = [view.strip() for view in settings.views.split(",")]
        if not self._views or set(self._views) - set(VIEWS):
            raise UserError(f"no views {settings.views!r}", todo=f"use some of {','.join(VIEWS)}")
        self._longest = settings.longest
        needed = {
            "whole": frozenset[str](),
            "mark": frozenset({"number"}),
            "crop": frozenset[str](),
        }
        self._prompts = {
            view: prompts.load(f"caption-{view}", "", needed[view]) for view in self._views
        }
        self._looking = LookingModel(model)
        self.model, self.batch = model.model, self._looking.device.batch
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

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The words for each item's `todo`."""
        asked = [
            (n, place, self._sight(item, picture, place), self._words(place))
            for n, (item, picture) in enumerate(zip(items, pictures, strict=True))
            for place in item.todo
        ]
        written = self._looking.write(
            [sight for *_, sight, _ in asked], [words for *_, words in asked], self._longest
        )
        found: list[dict[Place, str]] = [{} for _ in items]
        for (n, place, *_), text in zip(asked, written, strict=True):
            found[n][place] = text
        return list(found)

    def stated(self) -> str:
        """Where it runs."""
        return f"{self.model} {self._looking.device}"

    def _sight(self, item: Item, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        if place.region is None:
            return picture
        region = next(region for region in item.regions if region.number == place.region)
        if place.view == "crop":
            return sights.cut_out(picture, region)
        return sights.marked(picture, [region], SIDE)

    def _words(self, place: Place) -> str:
        if place.view != "mark" and not self._looking.chats:
            return ""  # a captioner captions unasked
        values = {"number": str(place.region)} if place.view == "mark" else {}
        return self._prompts[place.view].fill(**values)[-1]["content"]
