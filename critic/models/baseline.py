"""The embedded critic: n-grams of the texts and grounding features, logistic regression, no GPU.

Without the grounding features it knows the texts alone: the ablation that a critic has to beat.

A first model reads the texts. A second one weighs the first one's opinion against the grounding
features. The opinion is taken out of fold, as an unseen image would get it, which makes the second
model Platt's calibration too. Saved as arrays, which run no code when loaded.
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

from critic.features.grounding import features
from critic.features.ngrams import Grams
from critic.models.protocol import Example, Notes, Scores, Verdict
from regions.progress import Progress, no_progress

_TEXT_C, _BLEND_C = 1.0, 0.3
"""Inverse regularisation of the two models: by cross-validation on explanations' training votes."""

_AT_ONCE = 256
"""Examples scored together: their arrays stay in the processor's cache."""

FILE = "baseline.npz"


class Baseline:
    """Text and grounding features into two logistic regressions; see the module."""

    def __init__(self, folds: int = 5, *, grounding: bool = True) -> None:
        self.folds, self.grounding = folds, grounding
        self.notes = Notes()
        self._text = np.zeros(0, np.float32)
        self._text_bias = 0.0
        self._blend = np.zeros(0)
        self._bias = 0.0

    def fit(
        self,
        examples: Sequence[Example],
        verdicts: Sequence[Verdict],
        rng: np.random.Generator,
        progress: Progress = no_progress,
        keep: Path | None = None,
    ) -> None:
        """Learn; folds are by image, and as many as there are images if those are fewer."""
        del keep
        labels = np.array([verdict.accept for verdict in verdicts], dtype=int)
        images = np.array([example.image_id for example in examples])
        texts = Grams([_text(example) for example in examples]).matrix()
        seed = int(rng.integers(2**31))
        opinion = self._out_of_fold(texts, labels, images, seed)
        numbers = np.column_stack([opinion, self._numbers(examples)])
        scaler = StandardScaler().fit(numbers)
        blend = LogisticRegression(C=_BLEND_C, max_iter=1000).fit(scaler.transform(numbers), labels)
        # The scaling goes into the weights, so that scoring is one product.
        self._blend = blend.coef_[0] / scaler.scale_
        self._bias = float(blend.intercept_[0] - self._blend @ scaler.mean_)
        text = _text_model(seed).fit(texts, labels)
        self._text = text.coef_[0].astype(np.float32)
        self._text_bias = float(text.intercept_[0])
        progress(1, 1)

    def score(self, examples: Sequence[Example]) -> Scores:
        """The probability of acceptance, shape (examples,)."""
        pieces = (examples[i : i + _AT_ONCE] for i in range(0, len(examples), _AT_ONCE))
        return np.concatenate([np.zeros(0), *(self._score(piece) for piece in pieces)])

    def _score(self, examples: Sequence[Example]) -> Scores:
        opinion = Grams([_text(example) for example in examples]).dot(self._text)
        numbers = np.column_stack([opinion + self._text_bias, self._numbers(examples)])
        return np.asarray(expit(numbers @ self._blend + self._bias), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write weights into `folder`."""
        np.savez_compressed(
            folder / FILE,
            text=self._text,
            blend=self._blend,
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
        """Read what `save` wrote; nothing in the file can run."""
        with np.load(folder / FILE, allow_pickle=False) as file:
            rest = json.loads(str(file["rest"]))
            critic = cls(rest["folds"], grounding=rest.get("grounding", True))
            critic._text, critic._blend = file["text"], file["blend"]
            critic._text_bias, critic._bias = rest["text_bias"], rest["bias"]
        return critic

    def _numbers(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        """What is weighed beside the words: grounding, and numbers that came along."""
        extra = np.array([example.extra for example in examples], dtype=float)
        found = extra.reshape(len(examples), -1)
        return np.column_stack([features(examples), found]) if self.grounding else found

    def _out_of_fold(
        self, texts: csr_matrix, labels: NDArray[np.int64], images: NDArray[np.int64], seed: int
    ) -> NDArray[np.float64]:
        """The text model's log-odds for each example, from a model that saw none of its image."""
        folds = min(self.folds, len(np.unique(images)))
        opinion = np.zeros(len(labels))
        split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for train, held in split.split(texts, labels, images):
            if len(np.unique(labels[train])) > 1:
                model = _text_model(seed).fit(texts[train], labels[train])
                opinion[held] = model.decision_function(texts[held])
        return opinion


def _text_model(seed: int) -> LogisticRegression:
    return LogisticRegression(C=_TEXT_C, solver="liblinear", random_state=seed)


def _text(example: Example) -> str:
    return f"{example.question} / {example.answer} / {example.rationale}"
