"""Sizes read without Pillow are those that Pillow reads."""

import io

import numpy as np
import PIL.Image
from hypothesis import given
from hypothesis import strategies as st

from db.images.jpeg_header import HEADER_BYTES, plain_jpeg_size


def encoded(width: int, height: int, **options: object) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(file, **{"format": "JPEG", **options})  # type: ignore[arg-type]
    return file.getvalue()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.integers(1, 100))
def test_the_size_is_the_one_that_pillow_reads(
    width: int, height: int, progressive: bool, quality: int
) -> None:
    content = encoded(width, height, progressive=progressive, quality=quality)
    assert plain_jpeg_size(content) == (width, height)


def test_pillow_reads_all_others() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert plain_jpeg_size(encoded(20, 10, exif=exif)) is None
    assert plain_jpeg_size(encoded(20, 10, format="PNG")) is None


@given(st.integers(0, 400), st.binary(max_size=20))
def test_damaged_headers_give_no_size_or_a_positive_one(cut: int, rest: bytes) -> None:
    size = plain_jpeg_size((encoded(20, 10)[:cut] + rest)[:HEADER_BYTES])
    assert size is None or min(size) > 0
