"""Pictures in the size that a screen needs: without tags, cached on disk beside the store."""

import io
import os
from pathlib import Path
from tempfile import NamedTemporaryFile

import PIL.Image

from db import pictures
from db.schema import Image
from db.session import Store

WIDTHS = (160, 320, 640, 960, 1280, 1920, 2560)
_QUALITY = 88


def rendered(store: Store, image: Image, width: int | None) -> Path:
    """The file of an image, JPEG, as wide as the smallest step that covers `width` pixels.

    None, or more than the image has, is its own size. UserError where the picture is missing or
    damaged.
    """
    step = next((w for w in WIDTHS if width is not None and w >= width), image.width)
    target = min(step, image.width)
    file = store.folder / "cache" / f"{image.id}-{target}.jpg"
    if file.exists():
        return file
    picture = pictures.load(image)
    if target < image.width:
        height = max(1, round(image.height * target / image.width))
        picture = picture.resize((target, height), PIL.Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Renamed when whole: two who ask at once both read a complete file.
    with NamedTemporaryFile(dir=file.parent, delete=False) as part:
        part.write(encoded.getvalue())
    os.replace(part.name, file)  # noqa: PTH105 - the same call, and atomic by its documentation
    return file
