"""Text-only baseline of the paper: captions of regions, answered by a language model.

The language model sees no image. Each region is cut out and captioned, `[0]` is replaced by that
caption, and the model answers, or names the best choice. Captions and replies are cached in the
run's folder.
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from db.store import json_lines
from regions import references
from regions.geometry import Region
from regions.view import View, make_view
from student.models import prompts
from student.models.protocol import Answer, Diagnostics, ImageExamples, OnText, Query, Scores

KIND = "caption-baseline"
CaptionImage = Callable[[Image], str]
"""Describes an image in words."""
Complete = Callable[[str], str]
"""Returns a language model's reply to a prompt."""

_CACHE_FILE = "replies.jsonl"
_NUMBER = re.compile(r"\d+")


def load(folder: Path, caption: CaptionImage, complete: Complete) -> "CaptionBaseline":
    """Return the baseline with the cache of its run."""
    return CaptionBaseline(_TextCache(folder / _CACHE_FILE), caption, complete)


class CaptionBaseline:
    """A `Student` that cannot be trained."""

    can_generate = True

    def __init__(self, cache: "_TextCache", caption: CaptionImage, complete: Complete) -> None:
        self.diagnostics = Diagnostics()
        self._cache, self._caption_image, self._complete = cache, caption, complete

    def make_view(
        self,
        image: Image,
        regions: Sequence[Region],
        texts: Sequence[str],
        visible_regions: Sequence[int],
    ) -> View:
        """Return the image at its own size without marks, which would show in the crops."""
        return make_view(image, regions, texts, visible=visible_regions, style=None)

    def answer(self, query: Query, on_text: OnText | None = None) -> Answer:
        """Return the language model's answer, given captions of the image and its regions."""
        began = time.perf_counter()
        history = "".join(f"Question: {q} Answer: {a}\n" for q, a in query.turns)
        question = query.question or "Ask a question about what is pointed at, and answer it."
        prompt = (
            f"{self._context(query.view)}\n{self._without_references(history, query.view)}"
            f"Question: {self._without_references(question, query.view)}\n"
            "Answer in one sentence. After it write `Rationale:` and say why in one sentence."
        )
        text = self._reply(prompt)
        if on_text:
            on_text(text)
        asked = query.question
        if asked is None:
            asked, _, text = text.partition("Answer:")
        return prompts.parse_answer(asked, text, time.perf_counter() - began)

    def rank(self, queries: Sequence[Query], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """1 for the choice that the language model names, 0 for the others.

        All choices score 0 if its reply names none; `diagnostics.unparsed_replies` counts these.
        """
        return [self._rank_one(query, texts) for query, texts in zip(queries, choices, strict=True)]

    def mean_loss(self, batch: Sequence[ImageExamples]) -> float:
        """NaN: the language model behind an API gives no loss."""
        del batch
        return float("nan")

    def save(self, folder: Path) -> None:
        """Do nothing: the cache is in the run's folder already."""
        del folder

    def _rank_one(self, query: Query, choices: Sequence[str]) -> Scores:
        listed = "\n".join(
            f"{n}: {self._without_references(text, query.view)}" for n, text in enumerate(choices)
        )
        question = self._without_references(query.question or "", query.view)
        reply = self._reply(
            f"{self._context(query.view)}\nQuestion: {question}\n{listed}\n"
            "Which is the best answer? Write its number alone."
        )
        scores = np.zeros(len(choices))
        number = _NUMBER.search(reply)
        if number and int(number[0]) < len(choices):
            scores[int(number[0])] = 1
        else:
            self.diagnostics.unparsed_replies += 1
        return scores

    def _context(self, image_view: View) -> str:
        captions = [f"{self._describe(image_view, region)}." for region in image_view.regions]
        return "Somebody points at a picture that you cannot see. It shows: " + (
            " ".join([f"{self._caption(image_view.image)}.", *captions])
        )

    def _without_references(self, text: str, image_view: View) -> str:
        """Return the text with each reference replaced by the caption of its region."""
        by_number = {region.number: region for region in image_view.regions}
        return "".join(
            part if isinstance(part, str) else f"({self._describe(image_view, by_number[part])})"
            for part in references.parse(text)
        )

    def _describe(self, image_view: View, region: Region) -> str:
        x1, y1, x2, y2 = region.box
        box = int(x1), int(y1), max(int(x1) + 1, round(x2)), max(int(y1) + 1, round(y2))
        return f"thing {region.number}: {self._caption(image_view.image.crop(box))}"

    def _caption(self, image: Image) -> str:
        key = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        return self._cache.get(key, lambda: self._caption_image(image))

    def _reply(self, prompt: str) -> str:
        key = hashlib.sha256(prompt.encode()).hexdigest()
        return self._cache.get(key, lambda: self._complete(prompt))


class _TextCache:
    """Texts by the hash of their input; each is written to disk before it is used."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._texts: dict[str, str] = {
            row["key"]: row["text"] for row in json_lines.open_for_append(file)
        }

    def get(self, key: str, make: Callable[[], str]) -> str:
        """Return the text of a key, made on the first use."""
        if key not in self._texts:
            text = make()
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json_lines.to_line({"key": key, "text": text}))
            self._texts[key] = text
        return self._texts[key]
