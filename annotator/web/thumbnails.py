"""Pictures in the size that a screen needs: without tags, cached on disk beside the store."""

import io
import os
import random
import time
from pathlib import Path

import PIL.Image

from db.images import image_files
from db.schema import Image
from db.store.files import replace_file
from db.store.session import Store

WIDTHS = (160, 320, 640, 960, 1280, 1920, 2560)
_QUALITY = 88
CACHE_BYTES = 2 * 1024**3
"""Bytes that the cache may take."""

_SWEEPS = 1 / 64
"""The share of new files after which the cache is looked through."""

_IN_USE_SECONDS = 60


def thumbnail(store: Store, image: Image, width: int | None) -> Path:
    """The file of an image, JPEG, as wide as the smallest step that covers `width` pixels.

    None, or more than the image has, is its own size. UserError where the picture is missing or
    damaged.
    """
    step = next((w for w in WIDTHS if width is not None and w >= width), image.width)
    target = min(step, image.width)
    file = store.folder / "cache" / f"{image.id}-{target}.jpg"
    if file.exists():
        os.utime(file)  # used now: the last to go
        return file
    picture = image_files.load(image)
    if target < image.width:
        height = max(1, round(image.height * target / image.width))
        picture = picture.resize((target, height), PIL.Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Atomic: two requests at once both read a complete file.
    with replace_file(file) as cached:
        cached.write(encoded.getvalue())
    if random.random() < _SWEEPS:  # noqa: S311 - how often, not who
        evict(file.parent)
    return file


def evict(folder: Path, limit: int = CACHE_BYTES) -> int:
    """Delete what was used longest ago until the folder is within `limit` bytes; how many files.

    What was used a minute ago stays, since somebody may be about to read it. Parts that a crash
    left go as everything else does.
    """
    found = []
    for entry in os.scandir(folder):
        try:
            seen = entry.stat()
        except FileNotFoundError:
            continue  # another process was quicker
        found.append((seen.st_mtime, seen.st_size, entry.path))
    size, gone = sum(bytes_ for _, bytes_, _ in found), 0
    for used, bytes_, path in sorted(found):
        if size <= limit or used > time.time() - _IN_USE_SECONDS:
            break
        Path(path).unlink(missing_ok=True)
        size, gone = size - bytes_, gone + 1
    return gone
