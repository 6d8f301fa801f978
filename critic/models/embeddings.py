"""Frozen CLIP or SigLIP embeddings with a trained linear head."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoProcessor

from blip2.training.devices import autocast, default_device
from blip2.training.loading import from_pretrained
from critic.features.views import group_by_image, prefetch_views
from critic.models.calibration import check_readable
from critic.models.soft_targets import weighted_labels
from critic.protocol import UNREADABLE, Diagnostics, Example, Scores, Targets
from critic.settings import ModelConfig
from regions import references
from regions.errors import InvalidError
from regions.marks import parse_style
from regions.progress import Progress, no_progress
from regions.view import View

FILE = "embeddings.npz"
_MODEL_HINT = "give a CLIP or SigLIP, such as --model google/siglip2-base-patch16-256"
_DRAWING_SIZE = 480
"""Side in pixels at which regions are drawn, before the model's processor resizes the image."""
_HEAD_C = 0.02
"""Inverse regularisation of the head: there are more features than votes at first."""


class Embeddings:
    """Logistic regression on unit embeddings of the image, the mentioned regions and the text."""

    def __init__(self, config: ModelConfig, folds: int = 5) -> None:
        if not config.model:
            raise InvalidError("--kind embeddings needs a model", hint=_MODEL_HINT)
        self.config, self.folds = config, folds
        self.diagnostics = Diagnostics()
        self.device, self._style = default_device(), parse_style(config.style)
        self._processor: Any = from_pretrained(AutoProcessor, config.model, _MODEL_HINT)
        model = from_pretrained(AutoModel, config.model, _MODEL_HINT)
        self._model: Any = model.to(self.device).eval()
        if not hasattr(self._model, "get_image_features"):
            raise InvalidError(f"{config.model} does not embed images and texts", hint=_MODEL_HINT)
        self._weights = np.zeros(0)
        self._bias = 0.0

    def fit(
        self,
        examples: Sequence[Example],
        targets: Sequence[Targets],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        checkpoint_dir: Path | None = None,
    ) -> None:
        """Fit the head, calibrated on out-of-fold predictions; folds are grouped by image."""
        del checkpoint_dir
        readable, features = self._features(examples)
        check_readable(readable, self.diagnostics)
        rows = weighted_labels([t for t, is_ok in zip(targets, readable, strict=True) if is_ok])
        image_ids = np.array([example.image_id for example in examples])[readable][rows.index]
        features = features[rows.index]
        scaler = StandardScaler().fit(features, sample_weight=rows.weights)
        folds = min(self.folds, len(np.unique(image_ids)))
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        calibrated = CalibratedClassifierCV(
            LogisticRegression(C=_HEAD_C, max_iter=2000),
            cv=list(split.split(features, rows.labels, image_ids)),
            ensemble=False,
        ).fit(scaler.transform(features), rows.labels, rows.weights)
        (classifier,) = calibrated.calibrated_classifiers_
        (platt,) = classifier.calibrators
        # scikit-learn's Platt scaling is 1 / (1 + exp(a d + b)) of the decision d.
        weights = -platt.a_ * classifier.estimator.coef_[0] / scaler.scale_
        self._bias = float(-platt.a_ * classifier.estimator.intercept_[0] - platt.b_)
        self._bias -= float(weights @ scaler.mean_)
        self._weights = weights
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance, shape (examples,)."""
        readable, features = self._features(examples)
        scores = np.full(len(examples), UNREADABLE)
        scores[readable] = expit(features @ self._weights + self._bias)
        return scores

    def save(self, folder: Path) -> None:
        """Save the head and the name of its model."""
        document = {"settings": asdict(self.config), "folds": self.folds, "bias": self._bias}
        np.savez_compressed(folder / FILE, weights=self._weights, rest=json.dumps(document))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as file:
            document = json.loads(str(file["rest"]))
            critic = cls(ModelConfig.from_json(document["settings"]), document["folds"])
            critic._weights, critic._bias = file["weights"], document["bias"]
        return critic

    def _features(
        self, examples: Sequence[Example]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which examples have a readable image, shape (examples,), and the features of these.

        Features are of shape (readable, 4 * width + 2); each image is drawn and embedded once.
        """
        groups = group_by_image(examples)
        size = _DRAWING_SIZE, _DRAWING_SIZE
        rows: list[Any] = [None] * len(examples)
        for group, views in prefetch_views(examples, groups, size, self._style, self.diagnostics):
            for index, row in zip(group, self._group_features(views), strict=True):
                rows[index] = row
        readable = np.array([row is not None for row in rows], dtype=bool)
        features = np.array([row for row in rows if row is not None], dtype=np.float64)
        return readable, features.reshape(
            len(features), -1 if len(features) else len(self._weights)
        )

    @torch.inference_mode()
    def _group_features(self, views: Sequence[View]) -> NDArray[np.float64]:
        """Features of triples about the same image."""
        images = [views[0].image, *(_crop_mentioned(view) for view in views)]
        with autocast(self.config.precision, self.device):
            inputs = self._processor(images=images, return_tensors="pt").to(self.device)
            image = _normalized(self._model.get_image_features(**inputs))
            text = _normalized(self._model.get_text_features(**self._tokenize(views)))
        whole, crops = image[:1].expand(len(views), -1), image[1:]
        similarities = [(part * text).sum(1, keepdim=True) for part in (whole, crops)]
        features = torch.cat([whole * text, crops * text, crops, text, *similarities], dim=1)
        return features.cpu().double().numpy()

    def _tokenize(self, views: Sequence[View]) -> Any:  # noqa: ANN401 - transformers' BatchEncoding
        texts = [" ".join(view.texts) for view in views]
        max_length = int(self._model.config.text_config.max_position_embeddings)
        lengths = [len(ids) for ids in self._processor.tokenizer(texts)["input_ids"]]
        self.diagnostics.truncated_texts += sum(length > max_length for length in lengths)
        return self._processor(
            text=texts,
            return_tensors="pt",
            # SigLIP was trained on texts padded to its full length.
            padding="max_length" if hasattr(self._model, "logit_bias") else True,
            truncation=True,
            max_length=max_length,
        ).to(self.device)


def _crop_mentioned(view: View) -> PIL.Image.Image:
    """The bounding box of the mentioned regions; the whole image if none is mentioned."""
    numbers = set(references.mentioned(" ".join(view.texts)))
    boxes = [region.box for region in view.regions if region.number in numbers]
    if not boxes:
        return view.image
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    return view.image.crop(
        (int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1))
    )


def _normalized(features: Any) -> torch.Tensor:  # noqa: ANN401 - a tensor, or an output that holds one
    vectors = getattr(features, "pooler_output", features).float()
    return torch.nn.functional.normalize(vectors, dim=-1)
