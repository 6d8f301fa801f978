"""The critic of the LSKD paper: BLIP-2 with a fine-tuned Q-Former and a frozen vision tower.

The image-text matching head, averaged over the queries, predicts acceptance. Two more heads predict
whether question-answer and rationale are acceptable, each from labels of its own. Marks are drawn
at the model's input size. The base is any BLIP-2 for image-text retrieval by name or folder;
`tiny` creates a small one.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval
from transformers.utils import logging

from blip2.model import tiny
from blip2.model.encoder import Encoder, to_pixel_values
from blip2.training.devices import autocast, default_device
from blip2.training.loading import from_pretrained, load_errors
from blip2.training.memory import AdaptiveBatchSize
from critic.features.views import group_by_image, prefetch_views
from critic.models.blip2.network import Blip2CriticNetwork, trainable_state_dict
from critic.models.blip2.trainer import train_network
from critic.protocol import UNREADABLE, Diagnostics, Example, Scores, Targets
from critic.settings import TINY, ModelConfig
from regions.errors import InvalidError, UserError
from regions.marks import parse_style
from regions.progress import Progress, no_progress
from regions.view import View

logging.disable_progress_bar()  # commands show their own
logging.set_verbosity_error()

CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE = "blip2.json", "learned.safetensors", "heads.safetensors"
_MODEL_HINT = "give a BLIP-2 for retrieval by --model, such as Salesforce/blip2-itm-vit-g, or tiny"

Probabilities = NDArray[np.float64]
_Group = tuple[list[int], list[View]]
"""Indices of examples about one image, and their views."""
_Predictions = tuple[list[int], Probabilities, Probabilities]
"""Indices of examples, probabilities of acceptance (n,) and of both parts (n, 2)."""


class Blip2Critic:
    """See the module; implements `critic.protocol.Critic`."""

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        config: ModelConfig,
    ) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.style = parse_style(config.style)
        self.device = default_device()
        network = Blip2CriticNetwork(Encoder(model), freeze_vision=config.model != TINY)
        self.network = network.to(self.device)
        side = config.image_size or int(model.config.vision_config.image_size)
        self.image_size = side, side
        self.diagnostics = Diagnostics()
        self._batch_size = self.adaptive(config.score_batch_size, "reduced_score_batch_size")

    @classmethod
    def create(cls, config: ModelConfig, texts: Sequence[str], seed: int) -> Self:
        """A critic on the configured base, not yet trained.

        The base may be the folder of a saved critic, whose training then continues. The tokenizer
        of `tiny` is trained on `texts`.
        """
        torch.manual_seed(seed)
        if config.model == TINY:
            tokenizer = tiny.train_tokenizer(texts)
            return cls(tiny.tiny_retrieval(tokenizer, seed=seed), tokenizer, config)
        folder = Path(config.model)
        if cls.is_saved_in(folder):
            return cls._load(folder, config)
        return cls(*load_base_model(config.model), config)

    def fit(
        self,
        examples: Sequence[Example],
        targets: Sequence[Targets],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint_dir: Path | None = None,
    ) -> None:
        """Fine-tune the network; see `critic.models.blip2.trainer`."""
        train_network(self, examples, targets, rng, progress, checkpoint_dir)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance, shape (examples,).

        An image with the same visible regions is encoded once.
        """
        self.network.eval()
        scores = np.full(len(examples), UNREADABLE)
        for indices, accept, _ in self.predict_parts(examples):
            scores[indices] = accept
        return scores

    def predict_parts(self, examples: Sequence[Example]) -> Iterator[_Predictions]:
        """Indices of examples, probabilities of acceptance (n,) and of both parts (n, 2).

        Images with equally many texts are batched together; batches are halved where GPU memory
        runs out.
        """
        groups = sorted(group_by_image(examples), key=len)
        drawn = prefetch_views(examples, groups, self.image_size, self.style, self.diagnostics)
        for batch in self._batch_size.map(self._predict_groups, drawn):
            yield from batch

    def _predict_groups(self, groups: Sequence[_Group]) -> list[_Predictions]:
        k = max(len(indices) for indices, _ in groups)
        # Smaller groups repeat their last view; its predictions are dropped.
        views = [views[min(n, len(views) - 1)] for _, views in groups for n in range(k)]
        accept, parts = self._predict(views, k)
        predictions = []
        for n, (indices, _) in enumerate(groups):
            rows = slice(n * k, n * k + len(indices))
            predictions.append((indices, accept[rows], parts[rows]))
        return predictions

    @torch.inference_mode()
    def _predict(
        self, views: Sequence[View], triples_per_image: int
    ) -> tuple[Probabilities, Probabilities]:
        """Probabilities of acceptance and of the parts; the k views of an image stand together."""
        with self.autocast():
            images = self.pixel_values(views[::triples_per_image])
            logits, parts = self.network(images, *self.tokenize(views))
        accept = logits.float().softmax(1)[:, 1]
        return accept.cpu().double().numpy(), parts.float().cpu().double().numpy()

    def save(self, folder: Path) -> None:
        """Save the trained weights into `folder`; of `tiny` also the base and the tokenizer."""
        if self.config.model == TINY:
            self.network.encoder.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            save_file(trainable_state_dict(self.network.encoder), folder / WEIGHTS_FILE)
        save_file(trainable_state_dict(self.network.heads), folder / HEADS_FILE)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.config)), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` or `convert` wrote; nothing in the files is executed.

        UserError if the base model is missing or another one.
        """
        return cls._load(folder, load_config(folder))

    @classmethod
    def _load(cls, folder: Path, config: ModelConfig) -> Self:
        has_base = (folder / "config.json").is_file()
        base = str(folder) if has_base else load_config(folder).model
        critic = cls(*load_base_model(base), config)
        with load_errors("the critic", folder):
            critic.network.heads.load_state_dict(load_file(folder / HEADS_FILE))
            if not has_base:
                weights = load_file(folder / WEIGHTS_FILE)
                _, unexpected = critic.network.encoder.load_state_dict(weights, strict=False)
                if unexpected:
                    raise InvalidError(f"the base has no weight {unexpected[0]}", where=base)
        critic.network.eval()
        return critic

    @staticmethod
    def is_saved_in(folder: Path) -> bool:
        """Whether a folder holds a critic of this kind."""
        return (folder / CONFIG_FILE).is_file()

    def pixel_values(self, views: Sequence[View]) -> Tensor:
        """Images of views as model input, shape (views, 3, height, width)."""
        return to_pixel_values([view.image for view in views]).to(self.device)

    def tokenize(self, views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask; texts longer than the model's maximum are truncated."""
        texts = [format_triple(*view.texts) for view in views]
        encoded = self.tokenizer(
            texts, return_tensors="pt", padding=True, return_token_type_ids=False
        )
        max_tokens = self.network.encoder.max_tokens
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        self.diagnostics.truncated_texts += int((mask[:, max_tokens:].sum(1) > 0).sum())
        return ids[:, :max_tokens].to(self.device), mask[:, :max_tokens].to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision as configured: bfloat16 where it is safe, float32 elsewhere."""
        return autocast(self.config.precision, self.device)

    def adaptive(self, size: int, diagnostic: str) -> AdaptiveBatchSize:
        """A batch size that is halved when the GPU is full, which goes into the diagnostics."""
        return AdaptiveBatchSize(
            size,
            hint="use --precision bf16, or a smaller --image-size",
            on_halved=partial(setattr, self.diagnostics, diagnostic),
        )


def format_triple(question: str, answer: str, rationale: str) -> str:
    """A triple as one text, in the format of the released critic."""
    return f"{question} Answer: {answer} Rationale: {rationale}"


def load_config(folder: Path) -> ModelConfig:
    """The configuration of a saved critic; UserError if another version wrote it."""
    try:
        return ModelConfig.from_json(json.loads((folder / CONFIG_FILE).read_text("utf-8")))
    except (TypeError, ValueError) as error:
        raise UserError(
            "another version wrote this critic", where=str(folder), hint="train it again"
        ) from error


def load_base_model(name: str) -> tuple[Blip2ForImageTextRetrieval, Any]:
    """A BLIP-2 and its tokenizer by name or folder; UserError if it cannot be loaded."""
    if not name:
        raise InvalidError("a BLIP-2 critic needs a model", hint=_MODEL_HINT)
    tokenizer = from_pretrained(AutoTokenizer, name, _MODEL_HINT)
    return from_pretrained(Blip2ForImageTextRetrieval, name, _MODEL_HINT), tokenizer
