"""What the demo page shows: pictures to ask about, students and what they learned from."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from db import records
from db.schema import Image, Release, Run, Split
from db.session import Store
from regions.errors import UserError

_MOST_PICTURES = 60


def overview(store: Store) -> dict[str, Any]:
    """Pictures (those held out of training last), students and releases, the newest first."""
    with store.read() as session:
        held_out = set(session.scalars(select(Split.image_id).where(Split.part == "test")))
        images = session.scalars(select(Image).order_by(Image.id).limit(_MOST_PICTURES)).all()
        order = sorted(images, key=lambda image: (image.id in held_out, image.id))
        students = session.scalars(
            select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id.desc())
        )
        return {
            "pictures": [_image(image, held_out=image.id in held_out) for image in order],
            "students": [{"name": run.name, "about": describe(run)} for run in students],
            "releases": list(session.scalars(select(Release.name).order_by(Release.id.desc()))),
        }


def picture(store: Store, image_id: int) -> dict[str, Any]:
    """An image with its regions; UserError where there is none."""
    with store.read() as session:
        image = session.get(Image, image_id)
        if image is None:
            raise UserError("no such image", where=str(image_id))
        regions = records.regions_of(session, [image_id])[image_id]
        part = session.scalar(select(Split.part).where(Split.image_id == image_id))
        return {
            "image": _image(image, held_out=part == "test"),
            "regions": [asdict(region) for region in regions],
        }


def describe(run: Run) -> str:
    """What a student is, in one honest line."""
    results = run.results
    votes = " and simulated votes" if run.simulated else ""
    trained = f"trained here on {results['triples']} triples of {results['release']}{votes}"
    if results["model"] == "tiny":
        return f"tiny · {trained}, from scratch: expect little"
    return f"{results['model']} · {trained}"


def _image(image: Image, *, held_out: bool) -> dict[str, Any]:
    fields = ("id", "width", "height", "title", "author", "licence")
    found = {field: getattr(image, field) for field in fields}
    return found | {"url": f"/images/{image.id}", "held_out": held_out}
