"""Images in a folder, a zip, or at an address: found, measured, and never outside their root."""

import io
import os
import time
import zipfile
from pathlib import Path

import fsspec
import orjson
import PIL.Image
import pytest
from sqlalchemy import select

from annotator.web import thumbnails
from db.images import image_files, locations
from db.schema import Image
from db.store.session import Store
from db.transfer.importing import import_file
from regions.errors import UserError


def photo(width: int, height: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.effect_noise((width, height), 60).convert("RGB").save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A triple about films/a.jpg, and one about a picture that is nowhere."""
    file = tmp_path / "rows.jsonl"
    row = {"regions": [], "question": "q?", "answer": "a", "rationale": "r"}
    lines = [{"image": name, **row} for name in ("films/a.jpg", "films/none.jpg", "../a.jpg")]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return file


@pytest.fixture(params=["folder", "zip", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same frame of a film, 1920 pixels wide, at three kinds of places."""
    frame = photo(1920, 1080)
    (tmp_path / "images" / "films").mkdir(parents=True)
    (tmp_path / "a.jpg").write_bytes(frame)  # beside the root: not to be had
    (tmp_path / "images" / "films" / "a.jpg").write_bytes(frame)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("films/a.jpg", frame)
    memory = f"memory://{tmp_path.name}/images"
    with fsspec.open(f"{memory}/films/a.jpg", "wb") as file:
        file.write(frame)
    kinds = {"folder": tmp_path / "images", "zip": tmp_path / "images.zip", "memory": memory}
    return str(kinds[request.param])


def test_images_of_every_location_are_imported_and_served_as_thumbnails(
    sqlite_store: Store, root: str, rows: Path
) -> None:
    report = import_file(sqlite_store, "jsonl", rows, root)
    assert report.new["triples"] == 1
    assert sorted(report.rejection_reasons) == [
        "image: an image's name leads out of its folder (../a.jpg)",
        "image: the image is missing (films/none.jpg)",
    ]
    with sqlite_store.read() as session:
        image = session.scalars(select(Image)).one()
    assert (image.width, image.height) == (1920, 1080)
    assert image_files.load(image).size == (1920, 1080)
    phone = thumbnails.thumbnail(sqlite_store, image, 390)
    with PIL.Image.open(phone) as small:
        assert small.width == 640
    assert phone.stat().st_size < len(photo(1920, 1080)) / 4


def test_invalid_locations_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    for root, message in (
        (str(tmp_path / "a.zip"), "not a zip, or a damaged one"),
        (str(tmp_path / "none"), "no such folder or zip"),
        ("nowhere://a/b", "no driver for this URL"),
        ("s3://key:secret@bucket/a", "credentials in the environment"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            locations.check(root)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/etc/passwd", "a/../../b.jpg", "..\\a.jpg", "a\0b", ".."]
)
def test_no_name_leads_out_of_its_location(root: str, name: str) -> None:
    with pytest.raises((UserError, FileNotFoundError, ValueError)):
        image_files.find_image(root, name)


def test_the_cache_evicts_the_least_recently_used_files(tmp_path: Path) -> None:
    long_ago = time.time() - 3600
    for n in range(6):
        (tmp_path / f"{n}.jpg").write_bytes(b"x" * 100)
        os.utime(tmp_path / f"{n}.jpg", (long_ago + n, long_ago + n))
    (tmp_path / "fresh.jpg").write_bytes(b"x" * 1000)
    assert thumbnails.evict(tmp_path, limit=1250) == 4
    assert {f.name for f in tmp_path.iterdir()} == {"4.jpg", "5.jpg", "fresh.jpg"}
    assert thumbnails.evict(tmp_path, limit=0) == 2  # what was used just now stays
    assert [f.name for f in tmp_path.iterdir()] == ["fresh.jpg"]
