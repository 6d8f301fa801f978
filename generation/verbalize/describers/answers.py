"""Answers open questions with an image-text-to-text model; regions in a question are marked."""

from collections.abc import Sequence

import PIL.Image

from db.store import keys
from generation import prompts
from generation.verbalize.image_text_model import MARKED_SIDE, ImageTextDescriber
from generation.verbalize.protocol import DescriberInput, Target
from generation.verbalize.settings import AnswerSettings, ModelSettings
from regions import references
from regions.geometry import fit_within
from regions.marks import draw_regions


class Answers(ImageTextDescriber):
    """Answers each open question by itself."""

    def __init__(self, model: ModelSettings, settings: AnswerSettings) -> None:
        self._prompt = prompts.load("answer", "", frozenset({"question"}))
        super().__init__(model, settings.max_new_tokens)
        # Under the former name of the setting, so that stored answers keep their version.
        values = {"longest": settings.max_new_tokens}
        digest = keys.digest("answers", self._prompt.version, values, self._image_text_model.commit)
        self.version = f"answers-{digest[:8]}"

    def targets(self, item: DescriberInput) -> Sequence[Target]:
        """Return every open question."""
        return [Target("question", region, question) for question, region in item.questions]

    def view(self, item: DescriberInput, image: PIL.Image.Image, target: Target) -> PIL.Image.Image:
        """Return the image with the regions marked that the question refers to."""
        numbers = {*references.mentioned(target.question), target.region}
        regions = [region for region in item.regions if region.number in numbers]
        return (
            draw_regions(image, regions, size=fit_within(*image.size, MARKED_SIDE))
            if regions
            else image
        )

    def prompt(self, target: Target) -> str:
        """Return the question; for chat models inside the prompt file."""
        if not self._image_text_model.is_chat:
            return target.question
        return self._prompt.fill(question=target.question)[-1]["content"]
