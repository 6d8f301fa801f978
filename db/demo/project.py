"""Create the demo project in an empty store, in one transaction.

Each photograph is described by a JSON file in `photographs/`. Its pixels are read from an installed
package. The flaws of its triples are stored as the answer key, which no model reads.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db.images.image_files import find_image
from db.images.locations import PACKAGES
from db.labelling.batches import make_batch
from db.schema import AnswerKey, Image, ImageRegion, Source, Triple, Verbalization
from db.store import keys
from db.store.session import Store
from regions import references
from regions.errors import ConflictError, InvalidError

PHOTOGRAPHS = Path(__file__).parent / "photographs"
_MODEL, _VERSION = "written by hand", "1"
BATCH = "demo"


def create(store: Store) -> None:
    """Create the demo project; UserError if an installed photograph has another size."""
    with store.write() as session:
        source = Source(name="demo", root=PACKAGES)
        session.add(source)
        session.flush()
        triples = [
            triple
            for file in sorted(PHOTOGRAPHS.glob("*.json"))
            for triple in _add(session, source, json.loads(file.read_text("utf-8")))
        ]
        make_batch(
            session,
            BATCH,
            [triple.id for triple in triples],
            votes_required=3,
            rng=np.random.default_rng(0),
        )


def _add(session: Session, source: Source, photograph: dict[str, Any]) -> list[Triple]:
    name = photograph["uri"].removeprefix(PACKAGES)
    _, header = find_image(PACKAGES, name)
    width, height = header.size
    if header.size != (photograph["width"], photograph["height"]):
        raise ConflictError(
            f"the installed photograph is {width}x{height}",
            where=name,
            hint="install the package versions of constraints.txt",
        )
    image = Image(
        source_id=source.id,
        name=name,
        width=width,
        height=height,
        orientation=header.orientation,
        **{field: photograph[field] for field in ("title", "author", "licence", "origin")},
    )
    session.add(image)
    session.flush()
    session.add_all(_regions(image, photograph))
    session.flush()
    session.add_all(_verbalizations(image, photograph))
    return _triples(session, image, photograph)


def _regions(image: Image, photograph: dict[str, Any]) -> list[ImageRegion]:
    return [
        ImageRegion(
            image_id=image.id,
            number=region["number"],
            **dict(zip(("x1", "y1", "x2", "y2"), region["box"], strict=True)),
            polygons=[region["polygon"]] if region["polygon"] else [],
            label=region["label"],
        )
        for region in photograph["regions"]
    ]


def _verbalizations(image: Image, photograph: dict[str, Any]) -> list[Verbalization]:
    texts = [("scene", None, text, "") for text in photograph["scene"]]
    texts += [("region", r["number"], r["caption"], "") for r in photograph["regions"]]
    texts += [
        ("question", q["region"], q["question"], q["answer"]) for q in photograph["questions"]
    ]
    return [
        Verbalization(
            key=keys.digest("verbalization", image.name, number, kind, text, _MODEL, _VERSION),
            image_id=image.id,
            region_number=number,
            kind=kind,
            text=text,
            answer=answer,
            model=_MODEL,
            version=_VERSION,
        )
        for kind, number, text, answer in texts
    ]


def _triples(session: Session, image: Image, photograph: dict[str, Any]) -> list[Triple]:
    visible = [region["number"] for region in photograph["regions"]]
    triples = []
    for entry in photograph["triples"]:
        texts = [entry[part] for part in ("question", "answer", "rationale")]
        if reason := references.check(" ".join(texts), visible):
            raise InvalidError(f"the text {reason}", where=f"{photograph['name']}: {texts[0]}")
        triple = Triple(
            key=keys.triple_key(("demo", image.name), texts, visible, "demo"),
            image_id=image.id,
            question=texts[0],
            answer=texts[1],
            rationale=texts[2],
            visible_regions=visible,
            kind=entry["kind"],
            source="demo",
            model=_MODEL,
            prompt_version=_VERSION,
        )
        session.add(triple)
        session.flush()
        session.add(AnswerKey(triple_id=triple.id, flaw=entry["flaw"]))
        triples.append(triple)
    return triples
