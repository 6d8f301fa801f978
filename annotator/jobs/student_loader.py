"""Loading of students: trained ones, and the caption baseline with its two models."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from db.schema import Run
    from student.asking.inference import LoadedStudent
    from student.models.caption_baseline import CaptionImage, Complete

_MAX_CAPTION_TOKENS = 40


def load_student(run: "Run", folder: Path) -> "LoadedStudent":
    """Return a run's student; the caption baseline gets its captioning and its language model."""
    from student.asking import inference
    from student.models import caption_baseline

    if run.settings.get("kind") != caption_baseline.KIND:
        return inference.load_student(run, folder)
    baseline = caption_baseline.load(folder, _captioner(run), _language_model(run))
    return inference.LoadedStudent(baseline, None)


def _captioner(run: "Run") -> "CaptionImage":
    """Return a function that captions images; its model is loaded on the first use."""
    from generation.verbalize.image_text_model import ImageTextModel
    from generation.verbalize.settings import ModelSettings

    models: list[ImageTextModel] = []

    def caption(image: "Image") -> str:
        if not models:
            models.append(ImageTextModel(ModelSettings(run.settings["captioner"])))
        return models[0].generate([image], [""], _MAX_CAPTION_TOKENS)[0]

    return caption


def _language_model(run: "Run") -> "Complete":
    """Return a function that asks the run's language model behind an API."""
    from generation.llm.completion import complete
    from generation.settings import LLMSettings

    settings = LLMSettings(
        run.settings["model"], base_url=run.settings["base_url"], temperature=0.0, json_schema=False
    )
    return lambda prompt: complete(settings, prompt)
