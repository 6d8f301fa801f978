"""What the demo page shows: pictures to ask about, students and what they learned from."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from db import records
from db.schema import Image, Release, Run
from db.session import Store
from regions.errors import UserError

_MOST_PICTURES = 60


def overview(store: Store) -> dict[str, Any]:
    """Pictures, trained students (newest first) and releases to train one on."""
    with store.read() as session:
        images = session.scalars(select(Image).order_by(Image.id).limit(_MOST_PICTURES))
        students = session.scalars(
            select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id.desc())
        )
        return {
            "pictures": [_image(image) for image in images],
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
        return {"image": _image(image), "regions": [asdict(region) for region in regions]}


def describe(run: Run) -> str:
    """What a student is, in one honest line."""
    results = run.results
    votes = " and simulated votes" if run.simulated else ""
    trained = f"trained here on {results['triples']} triples of {results['release']}{votes}"
    if results["model"] == "tiny":
        return f"tiny · {trained}, from scratch: expect little"
    return f"{results['model']} · {trained}"


def _image(image: Image) -> dict[str, Any]:
    fields = ("id", "width", "height", "title", "author", "licence")
    return {field: getattr(image, field) for field in fields} | {"url": f"/images/{image.id}"}
