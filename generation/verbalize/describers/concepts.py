"""What a picture shows on the whole: CLIP or SigLIP holds it against lists of concepts."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import AutoModel, AutoProcessor

from db.store import keys
from generation.verbalize import devices
from generation.verbalize.image_text_model import commit_of, config_of, loaded
from generation.verbalize.protocol import Item, Place
from generation.verbalize.settings import ConceptSettings, ModelSettings
from regions.errors import UserError

LISTS = Path(__file__).parent / "concept_lists"
_LONGEST_NAME = 20
"""Characters of a list's name, which goes into the version of its texts."""


class Concepts:
    """Names the `top` concepts of each list with their scores.

    A score is a share among its list for CLIP (softmax), each by itself for SigLIP (sigmoid).
    """

    sees = True

    def __init__(self, model: ModelSettings, settings: ConceptSettings) -> None:
        self._lists = read_lists(Path(settings.lists) if settings.lists else LISTS)
        if settings.top < 1 or "{}" not in settings.template:
            raise UserError("nothing to name", hint="use --top 1 or more, and {} in --template")
        self._settings, self._model_settings = settings, model
        config = config_of(model)
        self.device = devices.choose(model.device, model.batch_size)
        self.model, self.batch = model.model, self.device.batch
        chosen = sorted(self._lists.items()), settings.top, settings.template, commit_of(config)
        self.version = f"concepts-{keys.digest('concepts', *chosen)[:8]}"

    def places(self, item: Item) -> Sequence[Place]:
        """One text for each list."""
        del item
        return [Place("concept", view=name) for name in sorted(self._lists)]

    @torch.inference_mode()
    def describe(
        self, items: Sequence[Item], pictures: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Place, str]]:
        """The best concepts of each list with their scores, the best first."""
        inputs = self._processor(images=list(pictures), return_tensors="pt")
        inputs = inputs.to(self.device.name, self.device.dtype)
        seen = _unit(self._model.get_image_features(**inputs))
        by_list = {name: self._scores(seen, name) for name in self._lists}
        return [
            {place: self._named(place.view, by_list[place.view][n]) for place in item.todo}
            for n, item in enumerate(items)
        ]

    def stated(self) -> str:
        """Where it runs."""
        return f"{self.model} {self.device}"

    def _scores(self, seen: torch.Tensor, name: str) -> torch.Tensor:
        """Shape (pictures, concepts of the list)."""
        scale: torch.Tensor = self._model.logit_scale.float().exp()
        logits = seen @ self._said[name].T * scale
        bias: torch.Tensor | None = getattr(self._model, "logit_bias", None)
        return logits.softmax(1) if bias is None else (logits + bias.float()).sigmoid()

    def _named(self, name: str, scores: torch.Tensor) -> str:
        best = scores.topk(min(self._settings.top, len(scores)))
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        words = ", ".join(f"{self._lists[name][i]} ({score:.2f})" for score, i in found)
        return f"{name}: {words}"

    @cached_property
    def _processor(self) -> Any:  # noqa: ANN401 - each model has its own
        return loaded(AutoProcessor, self._model_settings)

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - each model has its own
        made = loaded(AutoModel, self._model_settings, dtype=self.device.dtype)
        if not hasattr(made, "get_image_features") or not hasattr(made, "logit_scale"):
            raise UserError(
                f"{self.model} does not hold pictures against texts",
                hint="use CLIP or SigLIP, such as openai/clip-vit-large-patch14",
            )
        return made.to(self.device.name).eval()

    @cached_property
    def _said(self) -> dict[str, torch.Tensor]:
        """The concepts of each list as unit vectors; SigLIP learned on texts padded to 64."""
        padding = "max_length" if hasattr(self._model, "logit_bias") else True
        found = {}
        for name, concepts in self._lists.items():
            texts = [self._settings.template.format(concept) for concept in concepts]
            encoded = self._processor(
                text=texts, return_tensors="pt", padding=padding, truncation=True
            ).to(self.device.name)
            found[name] = _unit(self._model.get_text_features(**encoded))
        return found


def read_lists(folder: Path) -> dict[str, list[str]]:
    """The concepts of each `.txt` file of a folder, by the file's name; `#` begins a remark."""
    if not folder.is_dir():
        raise UserError("no such folder of concepts", where=str(folder), hint="check --lists")
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.txt")):
        try:
            lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").split("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the list cannot be read: {error}", where=str(file)) from error
        if len(file.stem) > _LONGEST_NAME:
            raise UserError("the list's name is too long", where=str(file), hint="shorten it")
        if concepts := list(dict.fromkeys(line for line in lines if line)):
            found[file.stem] = concepts
    if not found:
        raise UserError("no concepts here", where=str(folder), hint="put NAME.txt files there")
    return found


def _unit(features: Any) -> torch.Tensor:  # noqa: ANN401 - a tensor, or an output that holds one
    vectors = getattr(features, "pooler_output", features).float()
    return torch.nn.functional.normalize(vectors, dim=-1)
