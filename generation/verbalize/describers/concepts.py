"""Matches images to lists of concepts with CLIP or SigLIP."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from transformers import AutoModel, AutoProcessor

from blip2.training.devices import inference_device
from db.store import keys
from generation.verbalize.image_text_model import commit_hash, from_pretrained, load_config
from generation.verbalize.protocol import DescriberInput, Target
from generation.verbalize.settings import ConceptSettings, ModelSettings
from regions.errors import InvalidError, NotFoundError

CONCEPT_LISTS = Path(__file__).parent / "concept_lists"
_MAX_LIST_NAME = 20
"""Characters: the name becomes part of the version of the texts."""


class Concepts:
    """Names the `top` concepts of each list with their scores.

    Scores are a softmax over the list for CLIP, and a sigmoid per concept for SigLIP.
    """

    needs_image = True

    def __init__(self, model: ModelSettings, settings: ConceptSettings) -> None:
        self._lists = read_lists(Path(settings.lists) if settings.lists else CONCEPT_LISTS)
        if settings.top < 1:
            raise InvalidError(f"--top must be at least 1 (got {settings.top})")
        if "{}" not in settings.template:
            raise InvalidError(f"--template must contain {{}} (got {settings.template!r})")
        self._settings, self._model_settings = settings, model
        config = load_config(model)
        self.device = inference_device(model.device, model.batch_size)
        self.model, self.batch_size = model.model, self.device.batch_size
        identity = (
            sorted(self._lists.items()),
            settings.top,
            settings.template,
            commit_hash(config),
        )
        self.version = f"concepts-{keys.digest('concepts', *identity)[:8]}"

    def targets(self, item: DescriberInput) -> Sequence[Target]:
        """Return one text per list."""
        del item
        return [Target("concept", view=name) for name in sorted(self._lists)]

    @torch.inference_mode()
    def describe(
        self, items: Sequence[DescriberInput], images: Sequence[PIL.Image.Image]
    ) -> list[Mapping[Target, str]]:
        """Return the best concepts of each list with their scores, in descending order."""
        inputs = self._processor(images=list(images), return_tensors="pt")
        inputs = inputs.to(self.device.name, self.device.dtype)
        embeddings = _normalised(self._model.get_image_features(**inputs))
        scores = {name: self._scores(embeddings, name) for name in self._lists}
        return [
            {target: self._text(target.view, scores[target.view][i]) for target in item.pending}
            for i, item in enumerate(items)
        ]

    def device_summary(self) -> str:
        """Return the model, its device and its batch size."""
        return f"{self.model} {self.device}"

    def _scores(self, image_embeddings: torch.Tensor, name: str) -> torch.Tensor:
        """Return scores of shape (images, concepts of the list)."""
        scale: torch.Tensor = self._model.logit_scale.float().exp()
        logits = image_embeddings @ self._text_embeddings[name].T * scale
        bias: torch.Tensor | None = getattr(self._model, "logit_bias", None)
        return logits.softmax(1) if bias is None else (logits + bias.float()).sigmoid()

    def _text(self, name: str, scores: torch.Tensor) -> str:
        best = scores.topk(min(self._settings.top, len(scores)))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        concepts = ", ".join(f"{self._lists[name][i]} ({score:.2f})" for score, i in pairs)
        return f"{name}: {concepts}"

    @cached_property
    def _processor(self) -> Any:  # noqa: ANN401 - each model has its own
        return from_pretrained(AutoProcessor, self._model_settings)

    @cached_property
    def _model(self) -> Any:  # noqa: ANN401 - each model has its own
        model = from_pretrained(AutoModel, self._model_settings, dtype=self.device.dtype)
        if not hasattr(model, "get_image_features") or not hasattr(model, "logit_scale"):
            raise InvalidError(
                f"{self.model} cannot compare images with texts",
                hint="use CLIP or SigLIP, such as openai/clip-vit-large-patch14",
            )
        return model.to(self.device.name).eval()

    @cached_property
    def _text_embeddings(self) -> dict[str, torch.Tensor]:
        """Unit vectors of each list, shape (concepts, dimensions)."""
        # SigLIP was trained on texts padded to the maximum length.
        padding = "max_length" if hasattr(self._model, "logit_bias") else True
        embeddings = {}
        for name, concepts in self._lists.items():
            texts = [self._settings.template.format(concept) for concept in concepts]
            encoded = self._processor(
                text=texts, return_tensors="pt", padding=padding, truncation=True
            ).to(self.device.name)
            embeddings[name] = _normalised(self._model.get_text_features(**encoded))
        return embeddings


def read_lists(folder: Path) -> dict[str, list[str]]:
    """Return the concepts of each `.txt` file of a folder, by file name; `#` begins a comment."""
    if not folder.is_dir():
        raise NotFoundError("no such folder of concepts", where=str(folder), hint="check --lists")
    lists: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.txt")):
        try:
            lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").split("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(f"cannot read the list: {error}", where=str(file)) from error
        if len(file.stem) > _MAX_LIST_NAME:
            raise InvalidError(
                f"the name of a list may have {_MAX_LIST_NAME} characters",
                where=str(file),
                hint="rename the file",
            )
        if concepts := list(dict.fromkeys(line for line in lines if line)):
            lists[file.stem] = concepts
    if not lists:
        raise InvalidError("no concepts found", where=str(folder), hint="add NAME.txt files")
    return lists


def _normalised(features: Any) -> torch.Tensor:  # noqa: ANN401 - a tensor, or an output with one
    vectors = getattr(features, "pooler_output", features).float()
    return torch.nn.functional.normalize(vectors, dim=-1)
