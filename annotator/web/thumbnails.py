"""Images as JPEG in the size that a screen needs, without metadata, cached on disk by the store."""

import os
import random
import threading
import time
from pathlib import Path

import PIL.Image

from db.images import image_files
from db.schema import Image
from db.store.files import replace_file
from db.store.session import Store

WIDTHS = (160, 320, 640, 960, 1280, 1920, 2560)
_JPEG_QUALITY = 88
CACHE_BYTES = 2 * 1024**3
"""Maximum size of the cache."""

_EVICT_PROBABILITY = 1 / 64
"""Share of new files after which the cache is checked."""

_IN_USE_SECONDS = 60
_DECODERS = threading.BoundedSemaphore(4)
"""Pictures in memory at once: a large one takes hundreds of megabytes."""


def thumbnail(store: Store, image: Image, width: int | None) -> Path:
    """The JPEG file of an image, scaled to the smallest of `WIDTHS` that is at least `width`.

    It is never larger than the image; None means full size. UserError if the image file is missing
    or damaged.
    """
    step = next((w for w in WIDTHS if width is not None and w >= width), image.width)
    target_width = min(step, image.width)
    # Earlier versions cached pictures that were not upright, and under other names.
    file = store.folder / "cache" / f"{image.id}-{target_width}-upright.jpg"
    if file.exists():
        os.utime(file)  # the modification time is the time of the last use
        return file
    with _DECODERS:
        picture = image_files.load(image)
        if target_width < image.width:
            height = max(1, round(image.height * target_width / image.width))
            picture = picture.resize((target_width, height), PIL.Image.Resampling.LANCZOS)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Atomic: two requests at once both read a complete file.
        with replace_file(file) as cached:
            picture.save(cached, "JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True)
    if random.random() < _EVICT_PROBABILITY:  # noqa: S311 - needs no cryptography
        evict(file.parent)
    return file


def evict(folder: Path, limit: int = CACHE_BYTES) -> int:
    """Delete the least recently used files until the folder has at most `limit` bytes.

    Returns the number of deleted files. Files used in the last minute stay, since a response may
    still read them. Temporary files that a crash left are deleted like all others.
    """
    files = []
    for entry in os.scandir(folder):
        try:
            info = entry.stat()
        except FileNotFoundError:
            continue  # another process has deleted it
        files.append((info.st_mtime, info.st_size, entry.path))
    total, n_deleted = sum(size for _, size, _ in files), 0
    for last_used, size, path in sorted(files):
        if total <= limit or last_used > time.time() - _IN_USE_SECONDS:
            break
        Path(path).unlink(missing_ok=True)
        total, n_deleted = total - size, n_deleted + 1
    return n_deleted
