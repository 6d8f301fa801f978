"""Answers to open questions, by a model that looks: regions that a question names are marked."""

from collections.abc import Sequence

import PIL.Image

from db.store import keys
from generation import prompts
from generation.verbalize import crops
from generation.verbalize.image_text_model import Looking
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import AnswerSettings, ModelSettings
from regions import references
from regions.marks import draw_scaled


class Answers(Looking):
    """Answers what has been asked about pictures, each question for itself."""

    def __init__(self, model: ModelSettings, settings: AnswerSettings) -> None:
        self._prompt = prompts.load("answer", "", frozenset({"question"}))
        super().__init__(model, settings.longest)
        made_by = keys.digest("answers", self._prompt.version, settings, self._looking.commit)
        self.version = f"answers-{made_by[:8]}"

    def places(self, item: Item) -> Sequence[Place]:
        """Every open question."""
        return [Place("question", region, question) for question, region in item.questions]

    def show(self, item: Item, picture: PIL.Image.Image, place: Place) -> PIL.Image.Image:
        """The picture with the regions marked that the question names."""
        named = {*references.mentioned(place.question), place.region}
        regions = [region for region in item.regions if region.number in named]
        return draw_scaled(picture, regions, crops.SIDE) if regions else picture

    def words(self, place: Place) -> str:
        """The question, in the prompt of a chat."""
        if not self._looking.chats:
            return place.question
        return self._prompt.fill(question=place.question)[-1]["content"]
