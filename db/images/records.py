"""Images as JSON, as every page receives them."""

from typing_extensions import TypedDict  # pydantic requires it on Python 3.11

from db.images.orientation import UPRIGHT
from db.schema import Image


class ImageRecord(TypedDict):
    """An image's size in pixels, where it comes from, and the URL that the web app serves it at."""

    id: int
    width: int
    height: int
    title: str
    author: str
    licence: str
    origin: str
    url: str


def image_record(image: Image) -> ImageRecord:
    """Return the record of a stored image."""
    # Earlier versions served turned pictures at the first URL, and browsers keep them for a week.
    suffix = "" if image.orientation in {None, UPRIGHT} else "/upright"
    return {
        "id": image.id,
        "width": image.width,
        "height": image.height,
        "title": image.title,
        "author": image.author,
        "licence": image.licence,
        "origin": image.origin,
        "url": f"/images/{image.id}{suffix}",
    }
