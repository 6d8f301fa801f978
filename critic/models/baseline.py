"""The default critic: logistic regression on n-grams and grounding features; needs no GPU.

A first model reads the texts. A second model combines its log-odds with the grounding features. The
log-odds are out-of-fold predictions, as for an unseen image, so that the second model calibrates
too (Platt scaling). Without grounding features this is the text-only ablation. Saved as arrays,
which execute no code when loaded.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from critic.features.grounding import grounding_features
from critic.features.ngrams import HashedNgrams
from critic.models.soft_targets import WeightedLabels, weighted_labels
from critic.protocol import Diagnostics, Example, Scores, Targets
from regions.progress import Progress, no_progress

_TEXT_C, _COMBINED_C = 1.0, 0.3
"""Inverse regularisation of both models, cross-validated on votes about explanations."""

_CHUNK_SIZE = 256
"""Examples scored together, so that their arrays fit into the processor's cache."""

FILE = "baseline.npz"


class Baseline:
    """Text and grounding features into two logistic regressions; see the module."""

    def __init__(self, folds: int = 5, *, grounding: bool = True) -> None:
        self.folds, self.grounding = folds, grounding
        self.diagnostics = Diagnostics()
        self._text_weights = np.zeros(0, np.float32)
        self._text_bias = 0.0
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
        """Fit both models; there are at most as many folds as images."""
        del checkpoint_dir
        rows = weighted_labels(targets)
        image_ids = np.array([example.image_id for example in examples])[rows.index]
        ngrams = HashedNgrams([triple_text(example) for example in examples]).matrix()[rows.index]
        seed = int(rng.integers(2**31))
        logits = self._out_of_fold_logits(ngrams, rows, image_ids, seed)
        features = np.column_stack([logits, self._dense_features(examples)[rows.index]])
        scaler = StandardScaler().fit(features, sample_weight=rows.weights)
        combined = LogisticRegression(C=_COMBINED_C, max_iter=1000).fit(
            scaler.transform(features), rows.labels, rows.weights
        )
        # Fold the scaling into the weights, so that scoring is one product.
        self._weights = combined.coef_[0] / scaler.scale_
        self._bias = float(combined.intercept_[0] - self._weights @ scaler.mean_)
        text_model = _new_text_model(seed).fit(ngrams, rows.labels, rows.weights)
        self._text_weights = text_model.coef_[0].astype(np.float32)
        self._text_bias = float(text_model.intercept_[0])
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance, shape (examples,)."""
        chunks = (examples[i : i + _CHUNK_SIZE] for i in range(0, len(examples), _CHUNK_SIZE))
        return np.concatenate([np.zeros(0), *(self._score(chunk) for chunk in chunks)])

    def _score(self, examples: Sequence[Example]) -> Scores:
        ngrams = HashedNgrams([triple_text(example) for example in examples])
        logits = ngrams.dot(self._text_weights) + self._text_bias
        features = np.column_stack([logits, self._dense_features(examples)])
        return np.asarray(expit(features @ self._weights + self._bias), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Save the weights into `folder`."""
        np.savez_compressed(
            folder / FILE,
            text=self._text_weights,
            blend=self._weights,
            rest=json.dumps(
                {
                    "folds": self.folds,
                    "grounding": self.grounding,
                    "text_bias": self._text_bias,
                    "bias": self._bias,
                }
            ),
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load what `save` wrote; nothing in the file is executed."""
        with np.load(folder / FILE, allow_pickle=False) as file:
            rest = json.loads(str(file["rest"]))
            # The first release had no text-only kind.
            critic = cls(rest["folds"], grounding=rest.get("grounding", True))
            critic._text_weights, critic._weights = file["text"], file["blend"]
            critic._text_bias, critic._bias = rest["text_bias"], rest["bias"]
        return critic

    def _dense_features(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """Grounding features and scores of other runs, shape (examples, features)."""
        extra = np.array([example.extra_features for example in examples], dtype=float)
        extra = extra.reshape(len(examples), -1)
        if not self.grounding:
            return extra
        return np.column_stack([grounding_features(examples), extra])

    def _out_of_fold_logits(
        self, ngrams: csr_matrix, rows: WeightedLabels, image_ids: NDArray[np.int64], seed: int
    ) -> NDArray[np.float64]:
        """The text model's log-odds of each example, fitted without any example of its image."""
        folds = min(self.folds, len(np.unique(image_ids)))
        labels, weights = rows.labels, rows.weights
        logits = np.zeros(len(labels))
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for train, held_out in split.split(ngrams, labels, image_ids):
            if len(np.unique(labels[train])) > 1:
                model = _new_text_model(seed).fit(ngrams[train], labels[train], weights[train])
                logits[held_out] = model.decision_function(ngrams[held_out])
        return logits


def _new_text_model(seed: int) -> LogisticRegression:
    return LogisticRegression(C=_TEXT_C, solver="liblinear", random_state=seed)


def triple_text(example: Example) -> str:
    """The texts that n-grams are taken from."""
    return f"{example.question} / {example.answer} / {example.rationale}"
