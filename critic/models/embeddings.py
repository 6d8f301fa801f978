"""Frozen CLIP or SigLIP with a small head: how near a text is to its picture and its regions."""

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
from critic.features.views import by_picture, pictures_ahead
from critic.models.protocol import Example, Notes, Scores, Verdict
from critic.settings import PictureSettings
from regions import references
from regions.errors import UserError
from regions.marks import parse_style
from regions.progress import Progress, no_progress
from regions.view import View

FILE = "embeddings.npz"
_GIVE = "give CLIP or SigLIP by --model, such as google/siglip2-base-patch16-256"
_SIDE = 480
"""Pixels at which regions are drawn, before the model's own processor makes of it what it wants."""
_C = 0.02
"""Inverse regularisation of the head: there are more numbers than votes at first."""


class Embeddings:
    """Whole picture, mentioned regions and text as unit vectors; a logistic regression on them."""

    def __init__(self, settings: PictureSettings, folds: int = 5) -> None:
        if not settings.model:
            raise UserError("a critic that looks needs a model", hint=_GIVE)
        self.settings, self.folds = settings, folds
        self.notes = Notes()
        self.device, self._style = default_device(), parse_style(settings.style)
        self._processor: Any = from_pretrained(AutoProcessor, settings.model, _GIVE)
        self._model: Any = from_pretrained(AutoModel, settings.model, _GIVE).to(self.device).eval()
        if not hasattr(self._model, "get_image_features"):
            raise UserError(f"{settings.model} does not embed pictures and texts", hint=_GIVE)
        self._weights = np.zeros(0)
        self._bias = 0.0

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        keep: Path | None = None,
    ) -> None:
        """Learn the head, calibrated out of fold; folds are by image."""
        del keep
        labels = np.array([verdict.accept for verdict in verdicts], dtype=int)
        images = np.array([example.image_id for example in examples])
        numbers = self._numbers(examples)
        scaler = StandardScaler().fit(numbers)
        folds = min(self.folds, len(np.unique(images)))
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
        head = CalibratedClassifierCV(
            LogisticRegression(C=_C, max_iter=2000),
            cv=list(split.split(numbers, labels, images)),
            ensemble=False,
        ).fit(scaler.transform(numbers), labels)
        found = head.calibrated_classifiers_[0]
        (platt,) = found.calibrators
        # scikit-learn's Platt is 1 / (1 + exp(a d + b)) of the decision d.
        weights = -platt.a_ * found.estimator.coef_[0] / scaler.scale_
        self._bias = float(-platt.a_ * found.estimator.intercept_[0] - platt.b_)
        self._bias -= float(weights @ scaler.mean_)
        self._weights = weights
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance."""
        numbers = self._numbers(examples)
        return np.asarray(expit(numbers @ self._weights + self._bias), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write the head, and which model it stands on."""
        said = {"settings": asdict(self.settings), "folds": self.folds, "bias": self._bias}
        np.savez_compressed(folder / FILE, weights=self._weights, rest=json.dumps(said))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / FILE, allow_pickle=False) as file:
            rest = json.loads(str(file["rest"]))
            made = cls(PictureSettings(**rest["settings"]), rest["folds"])
            made._weights, made._bias = file["weights"], rest["bias"]
        return made

    def _numbers(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Shape (examples, 4 * width + 2): each picture is drawn and embedded once."""
        pieces = by_picture(examples)
        views = pictures_ahead(examples, pieces, (_SIDE, _SIDE), self._style)
        rows: list[Any] = [None] * len(examples)
        for places, seen in zip(pieces, views, strict=True):
            for place, row in zip(places, self._rows(seen), strict=True):
                rows[place] = row
        return np.array(rows, dtype=np.float64).reshape(len(examples), -1)

    @torch.inference_mode()
    def _rows(self, views: Sequence[View]) -> NDArray[np.float64]:
        """Triples about one picture."""
        pictures = [views[0].image, *(_part(one) for one in views)]
        with autocast(self.settings.precision, self.device):
            inputs = self._processor(images=pictures, return_tensors="pt").to(self.device)
            seen = _unit(self._model.get_image_features(**inputs))
            said = _unit(self._model.get_text_features(**self._tokens(views)))
        whole, parts = seen[:1].expand(len(views), -1), seen[1:]
        near = [(one * said).sum(1, keepdim=True) for one in (whole, parts)]
        found = torch.cat([whole * said, parts * said, parts, said, *near], dim=1)
        return found.cpu().double().numpy()

    def _tokens(self, views: Sequence[View]) -> Any:  # noqa: ANN401 - a batch of transformers
        texts = [" ".join(one.texts) for one in views]
        longest = int(self._model.config.text_config.max_position_embeddings)
        lengths = [len(ids) for ids in self._processor.tokenizer(texts)["input_ids"]]
        if cut := sum(length > longest for length in lengths):
            self.notes["texts longer than the model reads"] += cut
        return self._processor(
            text=texts,
            return_tensors="pt",
            # SigLIP learned on texts padded to its full length.
            padding="max_length" if hasattr(self._model, "logit_bias") else True,
            truncation=True,
            max_length=longest,
        ).to(self.device)


def _part(seen: View) -> PIL.Image.Image:
    """What the mentioned regions cover, cut out; the whole where none is mentioned."""
    numbers = set(references.mentioned(" ".join(seen.texts)))
    boxes = [region.box for region in seen.regions if region.number in numbers]
    if not boxes:
        return seen.image
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    return seen.image.crop(
        (int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1))
    )


def _unit(features: Any) -> torch.Tensor:  # noqa: ANN401 - a tensor, or an output that holds one
    vectors = getattr(features, "pooler_output", features).float()
    return torch.nn.functional.normalize(vectors, dim=-1)
