"""The baseline that the paper beat: a region is put into words, and a language model reads them.

It sees no picture. Each region is cut out and described, `[0]` becomes that description, and the
model answers, or says which choice is best. What was described and answered is kept in the run's
folder, and never asked for again.
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from db.store import json_lines, runs
from db.store.session import Store
from regions import references
from regions.errors import UserError
from regions.geometry import Region
from regions.view import View, make_view
from student.models import prompts
from student.models.protocol import Answer, Ask, Listener, Notes, Scene, Scores

KIND = "expression"
Describe = Callable[[Image], str]
"""A picture, cut out of another -> what it shows, in words."""
Complete = Callable[[str], str]
"""A prompt -> what a language model says."""

_FILE = "replies.jsonl"
_NUMBER = re.compile(r"\d+")


def begin(store: Store, name: str, captioner: str, model: str, base_url: str) -> str:
    """A run of the baseline, ready to be asked; its name."""
    settings = {"kind": KIND, "captioner": captioner, "model": model, "base_url": base_url}
    with store.write() as session:
        run = runs.start(session, "student", settings=settings, name=name)
        told = {"release": None, "model": model, "kind": KIND, "triples": None}
        runs.finish(session, run.id, told)
        (runs.folder(store, run.name) / "student").mkdir(parents=True, exist_ok=True)
        return run.name


def load(folder: Path, describe: Describe, complete: Complete) -> "Expression":
    """The baseline over what its run has kept."""
    return Expression(_Kept(folder / _FILE), describe, complete)


class Expression:
    """See the module; it satisfies `student.models.protocol.Student`, and learns nothing."""

    writes = True

    def __init__(self, kept: "_Kept", describe: Describe, complete: Complete) -> None:
        self.notes = Notes()
        self._kept, self._describe, self._complete = kept, describe, complete

    def look(
        self, picture: Image, regions: Sequence[Region], texts: Sequence[str], shown: Sequence[int]
    ) -> View:
        """The picture as it is: nothing is drawn on what is cut out of it."""
        return make_view(picture, regions, texts, visible=shown, style=None)

    def answer(self, ask: Ask, listener: Listener | None = None) -> Answer:
        """What a language model says that reads descriptions."""
        began = time.perf_counter()
        told = self._told(ask.view)
        said = "".join(f"Question: {q} Answer: {a}\n" for q, a in ask.turns)
        question = ask.question or "Ask a question about what is pointed at, and answer it."
        prompt = (
            f"{told}\n{self._in_words(said, ask.view)}"
            f"Question: {self._in_words(question, ask.view)}\n"
            "Answer in one sentence. After it write `Rationale:` and say why in one sentence."
        )
        text = self._asked(prompt)
        if listener:
            listener(text)
        asked = ask.question
        if asked is None:
            asked, _, text = text.partition("Answer:")
        return prompts.read(asked, text, time.perf_counter() - began)

    def rank(self, asks: Sequence[Ask], choices: Sequence[Sequence[str]]) -> list[Scores]:
        """1 for the choice that the language model names, 0 for the others.

        A reply that names none is counted, and ranks them all alike.
        """
        return [self._ranked(ask, some) for ask, some in zip(asks, choices, strict=True)]

    def loss(self, scenes: Sequence[Scene]) -> float:
        """Nothing is known of it."""
        del scenes
        return float("nan")

    def fit(self, *_: object) -> None:
        """UserError: it learns nothing."""
        raise UserError("the baseline learns nothing", hint="ask it, or evaluate it")

    def save(self, folder: Path) -> None:
        """What it keeps is in its run's folder already."""
        del folder

    def _ranked(self, ask: Ask, some: Sequence[str]) -> Scores:
        listed = "\n".join(f"{n}: {self._in_words(text, ask.view)}" for n, text in enumerate(some))
        asked = self._in_words(ask.question or "", ask.view)
        text = self._asked(
            f"{self._told(ask.view)}\nQuestion: {asked}\n{listed}\n"
            "Which is the best answer? Write its number alone."
        )
        scores = np.zeros(len(some))
        named = _NUMBER.search(text)
        if named and int(named[0]) < len(some):
            scores[int(named[0])] = 1
        else:
            self.notes["replies that name no choice"] += 1
        return scores

    def _told(self, seen: View) -> str:
        named = [f"{self._name(seen, region)}." for region in seen.regions]
        return "Somebody points at a picture that you cannot see. It shows: " + (
            " ".join([f"{self._words(seen.image)}.", *named])
        )

    def _in_words(self, text: str, seen: View) -> str:
        """A text whose references have become descriptions."""
        by_number = {region.number: region for region in seen.regions}
        return "".join(
            part if isinstance(part, str) else f"({self._name(seen, by_number[part])})"
            for part in references.parse(text)
        )

    def _name(self, seen: View, region: Region) -> str:
        x1, y1, x2, y2 = region.box
        box = int(x1), int(y1), max(int(x1) + 1, round(x2)), max(int(y1) + 1, round(y2))
        return f"thing {region.number}: {self._words(seen.image.crop(box))}"

    def _words(self, picture: Image) -> str:
        key = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
        return self._kept.get(key, lambda: self._describe(picture))

    def _asked(self, prompt: str) -> str:
        key = hashlib.sha256(prompt.encode()).hexdigest()
        return self._kept.get(key, lambda: self._complete(prompt))


class _Kept:
    """Texts by what they were asked with; each is on disk before it is used."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._texts: dict[str, str] = {
            row["key"]: row["text"] for row in json_lines.open_for_append(file)
        }

    def get(self, key: str, make: Callable[[], str]) -> str:
        """The text, made where it is not there."""
        if key not in self._texts:
            text = make()
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json_lines.to_line({"key": key, "text": text}))
            self._texts[key] = text
        return self._texts[key]
