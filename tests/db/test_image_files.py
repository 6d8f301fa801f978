"""Pictures come whole or not at all, and a name never leads out of its folder."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from db.images import image_files, locations
from db.schema import Image, Source
from regions.errors import UserError


def jpeg(size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")


def test_a_jpeg_that_promises_too_many_pixels_is_refused(tmp_path: Path) -> None:
    large = jpeg().replace(struct.pack(">HH", 30, 40), struct.pack(">HH", 60_000, 60_000), 1)
    (tmp_path / "a.jpg").write_bytes(large)
    with pytest.raises(UserError, match="too large"):
        image_files.find_image(str(tmp_path), "a.jpg")


def test_size_and_pixels_of_an_image_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    image = Image(name="a.jpg", width=40, height=30, source=Source(name="s", root=str(tmp_path)))
    assert image_files.read_header(tmp_path / "a.jpg", "a.jpg").size == (40, 30)
    loaded = image_files.load(image)
    assert (loaded.size, loaded.mode) == ((40, 30), "RGB")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "missing"),
        (b"", "not a picture"),
        (b"<html>", "not a picture"),
        (jpeg()[:200], "damaged|not a picture"),
        (jpeg()[:-400], "damaged"),
        (png_header(20_000, 10_000), "too large"),
        (png_header(60_000, 60_000), "too large"),
    ],
    ids=["missing", "empty", "html", "header only", "truncated", "200 megapixels", "a bomb"],
)
def test_a_damaged_or_huge_image_is_an_error_with_its_name(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    file = tmp_path / "a.jpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"({what}).*shop/a.jpg"):
        image_files.decode(file, "shop/a.jpg")


def test_a_name_that_leads_out_of_its_folder_is_an_error(tmp_path: Path) -> None:
    for name in ("../secret.jpg", "/etc/passwd", "a/../../b.jpg"):
        with pytest.raises(UserError, match="leads out"):
            locations.path_of(str(tmp_path), name)


def test_a_package_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(UserError, match="pip install not_there"):
        locations.path_of(locations.PACKAGES, "not_there/a.jpg")


def test_an_image_whose_size_changed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    image = Image(name="a.jpg", width=99, height=30, source=Source(name="s", root=str(tmp_path)))
    with pytest.raises(UserError, match="changed its size"):
        image_files.load(image)


def test_a_file_that_the_system_cannot_read_is_reported() -> None:
    with pytest.raises(UserError, match=r"the image cannot be read: Input/output error.*mem"):
        image_files.inspect("/proc/self", "mem")
