"""Answers to open questions, by a model that looks: regions that a question names are marked."""

from collections.abc import Mapping, Sequence

import PIL.Image

from db import keys
from generation import prompts
from generation.verbalize import sights
from generation.verbalize.captions import SIDE
from generation.verbalize.looking import LookingModel
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import AnswerSettings, ModelSettings
from regions import references


class Answers:
    """Answers what has been asked about pictures, each question for itself."""

    sees = True

    def __init__(self, model: ModelSettings, settings: AnswerSettings) -> None:
        self._prompt = prompts.load("answer", "", frozenset({"question"}))
        self._longest = settings.longest
        self._looking = LookingModel(model)
        self.model, self.batch = model.model, self._looking.device.batch
        made_by = keys.digest("answers", self._prompt.version, settings, self._looking.commit)
        self.version = f"answers-{made_by[:8]}"

    def places(self, item: Item) -> Sequence[Place]:
        """Every open question."""
        return [Place("question", region, question) for question, region in item.questions]

    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The answers to each item's `todo`."""
        asked = [
            (n, place, self._sight(item, picture, place))
            for n, (item, picture) in enumerate(zip(items, pictures, strict=True))
            for place in item.todo
        ]
        words = [self._words(place.question) for _, place, _ in asked]
        written = self._looking.write([sight for *_, sight in asked], words, self._longest)
        found: list[dict[Place, str]] = [{} for _ in items]
        for (n, place, _), text in zip(asked, written, strict=True):
            found[n][place] = text
        return list(found)

    def stated(self) -> str:
        """Where it runs."""
        return f"{self.model} {self._looking.device}"

    def _sight(self, item: Item, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        named = {*references.mentioned(place.question), place.region}
        regions = [region for region in item.regions if region.number in named]
        return sights.marked(picture, regions, SIDE) if regions else picture

    def _words(self, question: str) -> str:
        if not self._looking.chats:
            return question
        return self._prompt.fill(question=question)[-1]["content"]
