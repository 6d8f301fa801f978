"""What is known of an image, as the data of a prompt.

Texts go into the prompt inside one JSON object, so that no text can be taken for an instruction or
end the object.
"""

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
    """The texts of a triple."""

    triple_id: int
    question: str
    answer: str
    rationale: str


class OpenQuestion(NamedTuple):
    """A question without an answer, about a region or the whole image."""

    question: str
    region: int | None


@dataclass(frozen=True, slots=True)
class Context:
    """An image's regions and the texts about it."""

    image_id: int
    name: str
    width: int
    height: int
    regions: Sequence[Region]
    scene_texts: Sequence[str]
    region_texts: dict[int, list[str]]
    """By region number."""
    answered_questions: Sequence[tuple[str, str]]
    concepts: Sequence[str]
    triples: Sequence[TripleText] = ()
    """Stored triples in the order in which they were written."""
    questions_and_answers: Sequence[str] = ()
    """Of the triples, and of those written since, to detect duplicates."""
    asked_questions: Sequence[str] = ()
    """All questions about the image, to detect duplicates."""
    open_questions: Sequence[OpenQuestion] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the image has neither a region nor a text about the whole of it."""
        return not self.regions and not self.scene_texts

    @property
    def region_numbers(self) -> list[int]:
        """The numbers of the regions."""
        return [region.number for region in self.regions]

    @property
    def all_text(self) -> str:
        """All sentences about the image, to identify their language."""
        answers = [f"{question} {answer}" for question, answer in self.answered_questions]
        captions = [text for texts in self.region_texts.values() for text in texts]
        return " ".join([*self.scene_texts, *captions, *answers])

    def with_rows(self, rows: Sequence[dict[str, Any]]) -> "Context":
        """Return the context after `rows` of triples or questions were written."""
        triples = [f"{row['question']} {row['answer']}" for row in rows if "question" in row]
        questions = [row["text"] for row in rows if row.get("kind") == "question"]
        return replace(
            self,
            questions_and_answers=[*self.questions_and_answers, *triples],
            asked_questions=[*self.asked_questions, *questions],
        )

    def to_json(self, *, with_boxes: bool) -> str:
        """Return all texts as a JSON object; boxes are x1, y1, x2, y2 as shares of the image."""
        data: dict[str, Any] = {}
        if self.scene_texts:
            data["whole picture"] = list(self.scene_texts)
        if self.concepts:
            data["what there is"] = list(self.concepts)
        data["regions"] = [self._region(region, with_box=with_boxes) for region in self.regions]
        if self.answered_questions:
            data["asked and answered"] = [{"q": q, "a": a} for q, a in self.answered_questions]
        return orjson.dumps(data).decode()

    def _region(self, region: Region, *, with_box: bool) -> dict[str, Any]:
        data: dict[str, Any] = {"number": region.number}
        if region.label:
            data["label"] = region.label
        if texts := self.region_texts.get(region.number):
            data["texts"] = texts
        if with_box:
            x1, y1, x2, y2 = region.box
            shares = x1 / self.width, y1 / self.height, x2 / self.width, y2 / self.height
            data["box"] = [round(share, 3) for share in shares]
        return data


def load_contexts(
    session: Session,
    image_ids: Sequence[int],
    *,
    exclude_triples: Collection[int] = (),
    exclude_texts: Collection[int] = (),
) -> list[Context]:
    """Return the contexts of images in order of their ids, without excluded triples and texts."""
    images = session.scalars(select(Image).where(Image.id.in_(image_ids)).order_by(Image.id)).all()
    regions = queries.regions_by_image(session, image_ids)
    texts = queries.verbalizations_by_image(session, image_ids)
    triples = queries.triples_by_image(session, image_ids)
    return [
        _context(
            image,
            regions[image.id],
            [text for text in texts[image.id] if text.id not in exclude_texts],
            [
                TripleText(triple.id, triple.question, triple.answer, triple.rationale)
                for triple in triples[image.id]
                if triple.id not in exclude_triples
            ],
        )
        for image in images
    ]


def _context(
    image: Image,
    regions: Sequence[Region],
    texts: Sequence[Verbalization],
    triples: Sequence[TripleText],
) -> Context:
    region_texts: dict[int, list[str]] = {}
    for text in texts:
        if text.region_number is not None and text.kind == "region":
            region_texts.setdefault(text.region_number, []).append(text.text)
    questions = [text for text in texts if text.kind == "question"]
    return Context(
        image_id=image.id,
        name=image.name,
        width=image.width,
        height=image.height,
        regions=regions,
        scene_texts=[text.text for text in texts if text.kind == "scene"],
        region_texts=region_texts,
        answered_questions=[(text.text, text.answer) for text in questions if text.answer],
        concepts=[text.text for text in texts if text.kind == "concept"],
        triples=triples,
        questions_and_answers=[f"{triple.question} {triple.answer}" for triple in triples],
        asked_questions=[text.text for text in questions],
        open_questions=open_questions(texts),
    )


def open_questions(texts: Sequence[Verbalization]) -> list[OpenQuestion]:
    """Return the distinct questions that were stored without an answer.

    A model's answer is stored as a text of its own, so that other models can still answer.
    """
    questions = [
        OpenQuestion(text.text, text.region_number)
        for text in texts
        if text.kind == "question" and not text.answer
    ]
    return list(dict.fromkeys(questions))
