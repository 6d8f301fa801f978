"""What a language model is told about an image: its texts, as data it cannot mistake for orders."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.schema import Image, Verbalization
from db.store import queries
from regions.geometry import Region


class TripleText(NamedTuple):
    """A triple's words."""

    triple_id: int
    question: str
    answer: str
    rationale: str


@dataclass(frozen=True, slots=True)
class Brief:
    """An image in words: regions, and what was written about it and them."""

    image_id: int
    name: str
    width: int
    height: int
    regions: Sequence[Region]
    scene: Sequence[str]
    by_region: dict[int, list[str]]
    questions: Sequence[tuple[str, str]]
    concepts: Sequence[str]
    triples: Sequence[TripleText] = ()
    """The triples that stand already, in order of writing."""
    existing: Sequence[str] = ()
    """Their questions and answers, and those written since, so that none is repeated."""
    asked: Sequence[str] = ()
    """Every question about it, so that none is asked twice."""
    open: Sequence[tuple[str, int | None]] = ()
    """Questions without an answer of their own, and which region each is about."""

    @property
    def numbers(self) -> list[int]:
        """The numbers of its regions."""
        return [region.number for region in self.regions]

    @property
    def words(self) -> str:
        """All sentences about it, one after the other."""
        answered = [f"{question} {answer}" for question, answer in self.questions]
        about = [text for texts in self.by_region.values() for text in texts]
        return " ".join([*self.scene, *about, *answered])

    def with_existing(self, rows: Sequence[dict[str, Any]]) -> "Brief":
        """The same after `rows` were written: triples, questions, or others."""
        new = [f"{row['question']} {row['answer']}" for row in rows if "question" in row]
        asked = [row["text"] for row in rows if row.get("kind") == "question"]
        return replace(self, existing=[*self.existing, *new], asked=[*self.asked, *asked])

    def as_json(self, *, boxes: bool) -> str:
        """The texts as one JSON object; `boxes` adds x1, y1, x2, y2 as shares of the picture.

        Whatever a text says, it is a string in here: nothing it holds can end the object.
        """
        told: dict[str, Any] = {}
        if self.scene:
            told["whole picture"] = list(self.scene)
        if self.concepts:
            told["what there is"] = list(self.concepts)
        told["regions"] = [self._region(region, boxes=boxes) for region in self.regions]
        if self.questions:
            told["asked and answered"] = [{"q": q, "a": a} for q, a in self.questions]
        return orjson.dumps(told).decode()

    def _region(self, region: Region, *, boxes: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"number": region.number}
        if region.label:
            told["label"] = region.label
        if texts := self.by_region.get(region.number):
            told["texts"] = texts
        if boxes:
            x1, y1, x2, y2 = region.box
            shares = x1 / self.width, y1 / self.height, x2 / self.width, y2 / self.height
            told["box"] = [round(share, 3) for share in shares]
        return told


def briefs(
    session: Session,
    image_ids: Sequence[int],
    *,
    but: Collection[int] = (),
    but_texts: Collection[int] = (),
) -> list[Brief]:
    """The briefs of these images, in order of their ids, as without some triples and texts."""
    images = session.scalars(select(Image).where(Image.id.in_(image_ids)).order_by(Image.id)).all()
    regions = queries.regions_by_image(session, image_ids)
    texts = queries.verbalizations_by_image(session, image_ids)
    triples = queries.triples_by_image(session, image_ids)
    return [
        _brief(
            image,
            regions[image.id],
            [text for text in texts[image.id] if text.id not in but_texts],
            [
                TripleText(one.id, one.question, one.answer, one.rationale)
                for one in triples[image.id]
                if one.id not in but
            ],
        )
        for image in images
    ]


def _brief(
    image: Image,
    regions: Sequence[Region],
    texts: Sequence[Verbalization],
    triples: Sequence[TripleText],
) -> Brief:
    by_region: dict[int, list[str]] = {}
    for text in texts:
        if text.region_number is not None and text.kind == "region":
            by_region.setdefault(text.region_number, []).append(text.text)
    return Brief(
        image.id,
        image.name,
        image.width,
        image.height,
        regions,
        [text.text for text in texts if text.kind == "scene"],
        by_region,
        [(text.text, text.answer) for text in texts if text.kind == "question" and text.answer],
        [text.text for text in texts if text.kind == "concept"],
        triples,
        [f"{triple.question} {triple.answer}" for triple in triples],
        [text.text for text in texts if text.kind == "question"],
        open_questions(texts),
    )


def open_questions(texts: Sequence[Verbalization]) -> list[tuple[str, int | None]]:
    """Questions that were asked without an answer, each once; models' answers leave them open."""
    asked = [(t.text, t.region_number) for t in texts if t.kind == "question" and not t.answer]
    return list(dict.fromkeys(asked))
