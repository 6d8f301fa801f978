"""Students made ready to answer: those that were trained, and the baseline that asks elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from db.schema import Run
    from student.asking.inference import Ready
    from student.models.caption_baseline import Complete, Describe

_LONGEST = 40
"""Tokens of a region's description."""


def ready(run: "Run", folder: Path) -> "Ready":
    """A run's student; of an `expression` run, its captioner and its language model are fetched."""
    from student.asking import inference
    from student.models import caption_baseline

    if run.settings.get("kind") != caption_baseline.KIND:
        return inference.ready(run, folder)
    return inference.Ready(caption_baseline.load(folder, _captioner(run), _reader(run)), None)


def _captioner(run: "Run") -> "Describe":
    """What puts a region into words: a model that looks at it, loaded once it is needed."""
    from generation.verbalize.image_text_model import ImageTextModel
    from generation.verbalize.settings import ModelSettings

    loaded: list[ImageTextModel] = []

    def describe(cut: "Image") -> str:
        if not loaded:
            loaded.append(ImageTextModel(ModelSettings(run.settings["captioner"])))
        return loaded[0].generate([cut], [""], _LONGEST)[0]

    return describe


def _reader(run: "Run") -> "Complete":
    """What answers a prompt: a language model behind an API."""
    from generation.llm.completion import complete
    from generation.settings import LLMSettings

    settings = LLMSettings(
        run.settings["model"], base_url=run.settings["base_url"], temperature=0.0, json_schema=False
    )
    return lambda prompt: complete(settings, prompt)
