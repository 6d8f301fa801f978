"""The paper's student: a BLIP-2 for image-text matching whose Q-Former is trained.

Answers are ranked by whether image and text match, and generated as captions. The model is `tiny`,
built here, or any pretrained `Blip2ForImageTextRetrieval`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval
from transformers.utils import logging

from blip2.model.encoder import Encoder, to_pixel_values
from blip2.training import distributed
from blip2.training.loading import from_pretrained
from student.models import prompts
from student.models.blip2_student import Blip2Student
from student.models.freezing import freeze, stacked_layers
from student.models.losses import pad_rows
from student.models.matching_network import MatchingBatch, MatchingNetwork
from student.models.protocol import Answer, Example, ImageExamples, OnText, Query, Scores
from student.models.ranking import rank_choices
from student.models.streaming import CallbackStreamer
from student.settings import TrainSettings

# Commands show progress of their own, and pages need none.
logging.disable_progress_bar()
logging.set_verbosity_error()

_HINT = "give a BLIP-2 for retrieval, e.g. Salesforce/blip2-itm-vit-g, a folder, or tiny"
_MAX_ANSWER_TOKENS = 90

RegionMap = frozenset[tuple[int, int]]


class DiscriminativeStudent(Blip2Student[MatchingNetwork]):
    """A `TrainableStudent` on a BLIP-2 for image-text matching."""

    can_generate = False

    def __init__(
        self,
        model: Blip2ForImageTextRetrieval,
        tokenizer: Any,  # noqa: ANN401 - transformers' tokenizers share no typed base
        settings: TrainSettings,
    ) -> None:
        self.tokenizer = tokenizer
        encoder = Encoder(model)
        encoder.gradient_checkpointing = settings.gradient_checkpointing
        network = MatchingNetwork(encoder)
        freeze(network, is_trainable=lambda name: "vision_model." not in name)
        super().__init__(network, model.config.vision_config, settings)
        self._bos_token_id = tokenizer.bos_token_id
        self._cls_token_id = tokenizer.cls_token_id or self._bos_token_id
        self._eos_token_id = tokenizer.sep_token_id or tokenizer.eos_token_id

    @classmethod
    def from_tiny_base(cls, base: tuple[Any, Any], settings: TrainSettings) -> Self:
        """Return a student on a pretrained tiny model and its tokenizer."""
        return cls(*base, settings)

    @classmethod
    def from_pretrained(cls, name: str, settings: TrainSettings) -> Self:
        """Return a student on a pretrained model; UserError if it cannot be loaded."""
        tokenizer = from_pretrained(AutoTokenizer, name, _HINT)
        if tokenizer.bos_token_id is None:  # BLIP-2's tokenizer has [DEC], BERT's has not
            tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        return cls(from_pretrained(Blip2ForImageTextRetrieval, name, _HINT), tokenizer, settings)

    def save_merged(self, folder: Path) -> None:
        """Write the model in the format of transformers, which has no language-modelling head."""
        self.network.encoder.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def fsdp_modules(self) -> list[nn.Module]:
        """Return the layers of the vision tower.

        Those of the Q-Former are not called as modules: the encoder calls their parts.
        """
        return stacked_layers(self.network.encoder.model.vision_model)

    @torch.inference_mode()
    def mean_loss(self, batch: Sequence[ImageExamples]) -> float:
        """Return the mean captioning loss over the examples, in nats per token."""
        self.network.eval()
        return float(torch.cat([self._caption_losses([group]) for group in batch]).mean())

    def example_losses(
        self, network: nn.Module, batch: Sequence[ImageExamples], seed: int
    ) -> Tensor:
        """Return the loss of each example, shape (examples,); see `TrainableStudent`."""
        examples = [example for group in batch for example in group.examples]
        image_ids = [group.image_id for group in batch for _ in group.examples]
        drawings = distributed.all_gather_lists(
            [(group.image_id, group.visible_regions) for group in batch]
        )
        counts = distributed.all_gather_lists([len(group.examples) for group in batch])
        texts = distributed.all_gather_lists(
            [(i, e.key, e.region_map) for i, e in zip(image_ids, examples, strict=True)]
        )
        text_counts = distributed.all_gather_lists([len(examples)])
        offset = sum(text_counts[: distributed.rank()])
        image_index = np.repeat(np.arange(len(drawings)), counts)
        negative = [
            [is_negative(image, regions, *drawing) for drawing in drawings]
            for image, _, regions in texts
        ]
        rngs = [np.random.default_rng([seed % 2**32, e.key % 2**32]) for e in examples]
        inputs = MatchingBatch(
            self._token_ids([example_text(example) for example in examples]),
            self._bos_token_id,
            offset,
            self._tensor(image_index[offset : offset + len(examples)]),
            self._tensor(np.array(negative)),
            self._tensor(_gumbel_noise(rngs, drawings)),
            self._tensor(_gumbel_noise(rngs, [(key, sorted(r)) for _, key, r in texts])),
        )
        with self.autocast():
            losses: Tensor = network(self._pixel_values(batch), inputs)
        return losses

    @torch.inference_mode()
    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        """Generate the greedy caption that continues the question, token by token."""
        began = time.perf_counter()
        self.network.eval()
        prompt = f"{query.question} Answer:" if query.question else ""
        prompt_ids = self.tokenizer(prompt, add_special_tokens=False).input_ids
        ids = [self._cls_token_id, *prompt_ids]
        streamer = CallbackStreamer(self.tokenizer, on_text) if on_text and query.question else None
        with self.autocast():
            image = to_pixel_values([query.view.image]).to(self.device)
            image_embeds = self.network.encoder.encode_image(image)
            for _ in range(_MAX_ANSWER_TOKENS):
                row = torch.tensor([ids], device=self.device)
                logits = self.network.caption_logits(
                    image_embeds,
                    row,
                    torch.ones_like(row),
                    self._bos_token_id,
                    torch.zeros_like(row[:, 0]),
                )
                scores = logits[0, -1].float()
                scores[_repeating_tokens(ids)] = -torch.inf
                token = int(scores.argmax())
                if token == self._eos_token_id:
                    break
                ids.append(token)
                if streamer:
                    streamer.put(torch.tensor([token]))
        text = self.tokenizer.decode(ids[1 + len(prompt_ids) :], skip_special_tokens=True)
        question = query.question
        if question is None:
            question, _, text = text.partition("Answer:")
        return prompts.parse_answer(question, text, time.perf_counter() - began)

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """Score choices by the log-odds that image and text match."""
        self.network.eval()
        return rank_choices(self._match_log_odds, queries, choices)

    def _match_log_odds(self, batch: Sequence[ImageExamples]) -> Tensor:
        image_embeds, ids, image_index = self._encode(batch)
        with self.autocast():
            logits = self.network.itm_logits(
                image_embeds, ids, (ids != 0).long(), image_index
            ).float()
        return logits[:, 1] - logits[:, 0]

    def _caption_losses(self, batch: Sequence[ImageExamples]) -> Tensor:
        image_embeds, ids, image_index = self._encode(batch)
        with self.autocast():
            return self.network.caption_loss(
                image_embeds, ids, (ids != 0).long(), self._bos_token_id, image_index
            )

    def _encode(self, batch: Sequence[ImageExamples]) -> tuple[Tensor, Tensor, Tensor]:
        """Return image embeddings, the texts' token ids, and the index of each text's image."""
        counts = torch.tensor([len(group.examples) for group in batch], device=self.device)
        image_index = torch.arange(len(batch), device=self.device).repeat_interleave(counts)
        with self.autocast():
            image_embeds = self.network.encoder.encode_image(self._pixel_values(batch))
        texts = [example_text(example) for group in batch for example in group.examples]
        return image_embeds, self._token_ids(texts), image_index

    def _pixel_values(self, batch: Sequence[ImageExamples]) -> Tensor:
        return to_pixel_values([group.view.image for group in batch]).to(self.device)

    def _token_ids(self, texts: Sequence[str]) -> Tensor:
        """Return token ids between the special tokens; long texts are truncated."""
        longest = self.network.encoder.max_tokens - 2
        rows = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        self.diagnostics.truncated_texts += sum(len(row) > longest for row in rows)
        framed = [[self._cls_token_id, *row[:longest], self._eos_token_id] for row in rows]
        return pad_rows(framed, 0).to(self.device)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def example_text(example: Example) -> str:
    """Return an example as one text, in the format of the released student.

    >>> example_text(Example(1, "Why?", "To rest."))
    'Why? Answer: To rest.'
    """
    history = "".join(f"{question} Answer: {answer} " for question, answer in example.turns)
    rationale = f" Rationale: {example.rationale}" if example.rationale else ""
    return f"{history}{example.question} Answer: {example.answer}{rationale}".strip()


def is_negative(
    image_id: int, region_map: RegionMap, other_id: int, visible_regions: Sequence[int]
) -> bool:
    """Whether a text of one image is a negative of a drawing of another, or the same, image.

    On a drawing of its own image it is false if one of its numbers is another region there.
    Otherwise, or if it refers to no region, it is as true as on its own drawing.

    >>> region_map = frozenset({(0, 7)})
    >>> is_negative(1, region_map, 1, (7, 3)), is_negative(1, region_map, 1, (3, 7))
    (False, True)
    >>> is_negative(1, region_map, 2, (7,))
    True
    """
    if image_id != other_id:
        return True
    return any(
        number >= len(visible_regions) or visible_regions[number] != region
        for number, region in region_map
    )


def _gumbel_noise(rngs: Sequence[np.random.Generator], keys: Sequence[Any]) -> NDArray[np.float32]:
    """Return Gumbel noise, shape (rngs, keys), that depends on the keys and not on their order."""
    order = sorted(range(len(keys)), key=lambda n: keys[n])
    noise = np.empty((len(rngs), len(keys)), np.float32)
    for row, rng in zip(noise, rngs, strict=True):
        row[order] = rng.gumbel(size=len(keys))
    return noise


def _repeating_tokens(ids: Sequence[int], size: int = 4) -> list[int]:
    """Return the tokens that would repeat an n-gram of `size`."""
    end = tuple(ids[-size + 1 :])
    ngrams = (tuple(ids[n : n + size]) for n in range(len(ids) - size + 1))
    return [ngram[-1] for ngram in ngrams if ngram[:-1] == end]
