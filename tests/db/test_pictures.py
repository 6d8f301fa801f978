"""Pictures of every kind: upright, in full range, on white; one image per content; none damaged."""

import json
import unicodedata
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL.ExifTags import Base
from sqlalchemy import func, select

from annotator.web import thumbnails
from db.formats.hf import export_hf
from db.images import image_files
from db.images.orientation import turn_box, turn_picture, upright_size
from db.schema import (
    Image,
    ImageName,
    ImageRegion,
    Release,
    ReleaseTriple,
    Run,
    Split,
    Triple,
    Verbalization,
)
from db.store import runs
from db.store.session import Store
from db.transfer.exporting import export
from db.transfer.importing import ImportReport, import_file
from lskd_cli import cli
from regions.errors import UserError
from regions.geometry import Region
from regions.view import make_view

GREEN = (0, 255, 0)
SIZE, BALL = (64, 48), (35, 15, 55, 40)
"""Of the stored pixels of `ball`, and the box of its green region."""
TEXTS = {"question": "Why is [0] green?", "answer": "[0] is painted.", "rationale": "r"}


def ball(orientation: int = 1, *, blue: int = 0, file_format: str = "PNG") -> bytes:
    """A picture with a green box at `BALL`, and an orientation in its EXIF data."""
    pixels = np.full((SIZE[1], SIZE[0], 3), (200, 0, blue), np.uint8)
    pixels[BALL[1] : BALL[3], BALL[0] : BALL[2]] = GREEN
    exif = PIL.Image.Exif()
    exif[Base.Orientation] = orientation
    out = BytesIO()
    PIL.Image.fromarray(pixels).save(out, file_format, exif=exif, quality=95)
    return out.getvalue()


def green_box(picture: PIL.Image.Image) -> NDArray[np.float64]:
    """Where the picture is green: x1, y1, x2, y2 as shares of its size."""
    red, green, _ = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=int), 2, 0)
    y, x = np.nonzero(green - red > 100)
    corners = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return shares(corners, picture.size)


def shares(box: Any, size: tuple[int, int]) -> NDArray[np.float64]:  # noqa: ANN401 - four numbers
    of_size: NDArray[np.float64] = np.asarray(box) / np.array([*size, *size])
    return of_size


def row(image: str, box: Any = BALL, **fields: object) -> dict[str, Any]:  # noqa: ANN401
    region = {"number": 0, "box": list(box), "label": "ball"}
    return {"image": image, "regions": [region], **TEXTS, **fields}


def import_rows(
    store: Store,
    folder: Path,
    rows: list[dict[str, Any]],
    images: Path,
    **options: Any,  # noqa: ANN401
) -> ImportReport:
    file = folder / f"rows-{len(list(folder.iterdir()))}.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return import_file(store, "jsonl", file, images, **options)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@given(
    orientation=st.integers(1, 8),
    corners=st.tuples(*[st.integers(0, 5)] * 2, *[st.integers(6, 9)] * 2),
    seed=st.integers(0, 99),
)
def test_a_turned_box_holds_the_pixels_that_it_held(
    orientation: int, corners: tuple[int, int, int, int], seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (11, 9, 3), dtype=np.uint8)
    stored = PIL.Image.fromarray(noise)
    upright = turn_picture(stored, orientation)
    assert upright.size == upright_size(stored.size, orientation)
    inside = upright.crop(turn_box(corners, stored.size, orientation))
    assert inside.tobytes() == turn_picture(stored.crop(corners), orientation).tobytes()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_format_is_decoded_upright(tmp_path: Path, file_format: str) -> None:
    for orientation in range(1, 9):
        file = tmp_path / f"{orientation}.{file_format}"
        file.write_bytes(ball(orientation, file_format=file_format))
        picture = image_files.decode(file, file.name)
        header = image_files.read_header(file, file.name)
        assert (header.orientation, header.size) == (orientation, picture.size)
        expected = shares(turn_box(BALL, SIZE, orientation), picture.size)
        assert green_box(picture) == pytest.approx(expected, abs=0.05)


def test_boxes_stay_on_the_ball_from_import_to_page_model_and_export(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    """Whether the rows have boxes in the stored or in the upright pixels."""
    rows = []
    for orientation in range(1, 9):
        for blue, pixels in ((0, "stored"), (90, "upright")):
            name = f"{pixels}-{orientation}.png"
            (images / name).write_bytes(ball(orientation, blue=blue))
            box = turn_box(BALL, SIZE, orientation) if pixels == "upright" else BALL
            rows.append(row(name, box, pixels=pixels))
    report = import_rows(sqlite_store, tmp_path, rows, images)
    assert (report.new["images"], report.rejected_rows) == (16, 0)
    with sqlite_store.write() as session:
        run = Run(kind="critic", name="c", status="done", settings={}, results={}, started=0)
        session.add(run)
        session.flush()
        release = Release(name="all", run_id=run.id, threshold=0, simulated=False, created=0)
        session.add(release)
        session.flush()
        for triple_id in session.scalars(select(Triple.id)):
            session.add(ReleaseTriple(release_id=release.id, triple_id=triple_id, score=1.0))
    with sqlite_store.read() as session:
        stored = session.execute(
            select(Image, ImageRegion).join(ImageRegion, ImageRegion.image_id == Image.id)
        ).all()
    for image, region in stored:
        size = image.width, image.height
        box = region.x1, region.y1, region.x2, region.y2
        with PIL.Image.open(thumbnails.thumbnail(sqlite_store, image, None)) as page:
            assert page.size == size
            assert green_box(page) == pytest.approx(shares(box, size), abs=0.05), image.name
        view = make_view(
            image_files.load(image), [Region(0, box)], ["q"], visible=[], size=(96, 96)
        )
        assert green_box(view.image) == pytest.approx(shares(box, size), abs=0.05), image.name
    export_hf(sqlite_store, "all", tmp_path / "hf", progress=lambda *_: None)
    datasets = pytest.importorskip("datasets")
    exported = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    examples = [example for part in exported.values() for example in part]
    assert len(examples) == 16
    for example in examples:
        (region,) = example["regions"]
        picture = example["image"]
        assert green_box(picture) == pytest.approx(shares(region["box"], picture.size), abs=0.05)
    # A release that is exported and imported again adds nothing.
    for format_ in ("jsonl", "lskd"):
        export(sqlite_store, format_, "all", tmp_path / f"again.{format_}")
        again = import_file(sqlite_store, format_, tmp_path / f"again.{format_}", images)
        assert again.rejected_rows == again.new["regions"] == 0


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(SIZE, (8, 35, 33, 55)), (SIZE[::-1], (5, 10, 30, 40)), (None, (8, 35, 33, 55)), ((9, 9), ())],
    ids=["stored size", "upright size", "not stated", "neither"],
)
def test_a_stated_size_says_which_pixels_the_boxes_refer_to(
    sqlite_store: Store,
    tmp_path: Path,
    images: Path,
    stated: tuple[int, int] | None,
    expected: tuple[int, ...],
) -> None:
    (images / "a.png").write_bytes(ball(6))
    x1, y1, x2, y2 = expected if stated == SIZE[::-1] else BALL
    size = {} if stated is None else {"width": stated[0], "height": stated[1]}
    coco = {
        "images": [{"id": 1, "file_name": "a.png", **size}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    report = import_file(sqlite_store, "coco", tmp_path / "coco.json", images)
    with sqlite_store.read() as session:
        regions = session.scalars(select(ImageRegion)).all()
    assert [(r.x1, r.y1, r.x2, r.y2) for r in regions] == ([expected] if expected else [])
    if not expected:
        reason = "images.width: the file says 9x9, the image is 64x48"
        assert reason in report.rejection_reasons


def test_the_option_says_which_pixels_the_boxes_refer_to(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    (images / "a.png").write_bytes(ball(3))
    turned = turn_box(BALL, SIZE, 3)
    import_rows(sqlite_store, tmp_path, [row("a.png", turned)], images, boxes="upright")
    with sqlite_store.read() as session:
        region = session.scalars(select(ImageRegion)).one()
    assert (region.x1, region.y1, region.x2, region.y2) == turned


def test_pictures_are_scaled_to_their_full_range_and_put_on_white(tmp_path: Path) -> None:
    def decoded(picture: PIL.Image.Image, suffix: str = "png") -> list[tuple[int, ...]]:
        file = tmp_path / f"a.{suffix}"
        picture.save(file)
        pixels = np.asarray(image_files.decode(file, "a"))
        return [tuple(int(v) for v in pixel) for pixel in pixels[0]]

    grey16 = PIL.Image.fromarray(np.array([[0, 257 * 100, 65_535]], np.uint16))
    assert decoded(grey16) == [(0,) * 3, (100,) * 3, (255,) * 3]
    assert decoded(PIL.Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "tiff") == [
        (0,) * 3,
        (128,) * 3,
        (255,) * 3,
    ]
    rgba = PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    rgba.putpixel((1, 0), (10, 20, 30, 255))
    assert decoded(rgba) == [(255, 255, 255), (10, 20, 30)]
    grey_alpha = PIL.Image.new("LA", (1, 1), (0, 0))
    assert decoded(grey_alpha) == [(255, 255, 255)]
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.info["transparency"] = 0
    assert decoded(palette) == [(255, 255, 255), (40, 50, 60)]
    assert decoded(PIL.Image.new("CMYK", (1, 1), (0, 0, 0, 0)), "jpg") == [(255, 255, 255)]
    assert decoded(PIL.Image.new("1", (1, 1), 1)) == [(255, 255, 255)]


def test_spellings_of_a_name_are_one_image(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    name = unicodedata.normalize("NFD", "Fähre/é.png")
    (images / name).parent.mkdir()
    (images / name).write_bytes(ball())
    composed = unicodedata.normalize("NFC", name)
    spellings = [name, composed, f"./{composed}", composed.replace("/", "\\"), f"images/{name}"]
    rows = [row(spelling, question=f"Why {n}? [0]") for n, spelling in enumerate(spellings)]
    report = import_rows(sqlite_store, tmp_path, rows, images)
    assert (report.new["images"], report.new["triples"], report.rejected_rows) == (1, 5, 0)
    with sqlite_store.read() as session:
        assert session.scalars(select(Image.name)).one() == name


def test_a_zip_made_on_a_mac_is_seen_through(sqlite_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "shots.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("shots/a.png", ball())
        archive.writestr("__MACOSX/shots/._a.png", b"meta")
    report = import_rows(
        sqlite_store, tmp_path, [row("a.png"), row("shots/a.png"), row("._a.png")], file
    )
    assert (report.new["images"], report.new["triples"]) == (1, 1)
    assert report.rejection_reasons == {"image: the image is missing (._a.png)": 1}


def test_files_with_the_same_bytes_are_one_image(
    store: Store, tmp_path: Path, images: Path
) -> None:
    for name in ("a.png", "b.png"):
        (images / name).write_bytes(ball())
    other = row("b.png", (1, 2, 30, 40), scene="a scene") | {"shown": [0]}
    other["regions"].append({"number": 1, "box": list(BALL), "label": "ball", "caption": "round"})
    rows = [row("a.png"), other]
    report = import_rows(store, tmp_path, rows, images)
    assert (report.new["images"], report.new["regions"], report.new["triples"]) == (1, 2, 2)
    assert list(report.notes) == [
        "files with the bytes of another image: one image under both names"
    ]
    with store.write() as session:
        image = session.scalars(select(Image)).one()
        assert (image.name, session.scalars(select(ImageName.name)).all()) == ("a.png", ["b.png"])
        assert set(runs.split(session)) == {image.id}
        triples = session.scalars(select(Triple).order_by(Triple.id)).all()
        assert [triple.question for triple in triples] == ["Why is [0] green?", "Why is [1] green?"]
        assert triples[1].visible_regions == [1]
        # The ball of the second row has the number that it has in the first.
        texts = select(Verbalization.text).where(Verbalization.region_number == 0)
        assert session.scalars(texts).all() == ["round"]
    again = import_rows(store, tmp_path, rows, images)
    assert not any(again.new.values())
    captions = import_rows(store, tmp_path, [{**row("b.png"), **TEXTS, "question": "[0]?"}], images)
    assert (captions.new["regions"], captions.new["triples"]) == (0, 1)


def test_a_file_that_was_replaced_is_not_the_image_that_was_imported(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    (images / "a.png").write_bytes(ball())
    import_rows(sqlite_store, tmp_path, [row("a.png")], images)
    (images / "a.png").write_bytes(ball(blue=7))
    report = import_rows(sqlite_store, tmp_path, [row("a.png", question="[0]?")], images)
    assert list(report.rejection_reasons) == [
        "image: the file has changed since it was imported (a.png)"
    ]
    assert report.new["triples"] == 0


DAMAGED = {
    "truncated.jpg": ball(file_format="JPEG")[:-300],
    "truncated.png": ball()[:-40],
    "empty.jpg": b"",
    "text.jpg": b"<html>not found</html>",
}


@pytest.mark.parametrize("strict", [False, True])
def test_damaged_pictures_are_kept_out_with_their_reasons(
    sqlite_store: Store, tmp_path: Path, images: Path, *, strict: bool
) -> None:
    (images / "good.png").write_bytes(ball())
    for name, content in DAMAGED.items():
        (images / name).write_bytes(content)
    rows = [row(name) for name in (*DAMAGED, "good.png")]
    if strict:
        with pytest.raises(UserError, match="line 1"):
            import_rows(sqlite_store, tmp_path, rows, images, strict=True)
        return
    seen: list[tuple[int, int]] = []
    report = import_rows(
        sqlite_store, tmp_path, rows, images, picture_progress=lambda *step: seen.append(step)
    )
    assert (report.rejected_rows, report.new["images"], report.new["triples"]) == (4, 1, 1)
    for name in DAMAGED:
        assert any(f"({name})" in reason for reason in report.rejection_reasons)
    assert seen[-1] == (3, 3)  # those with a readable header


def test_trusted_pictures_are_not_decoded(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    (images / "a.jpg").write_bytes(DAMAGED["truncated.jpg"])
    report = import_rows(sqlite_store, tmp_path, [row("a.jpg")], images, trust_pictures=True)
    assert report.new["triples"] == 1
    with sqlite_store.read() as session:
        image = session.scalars(select(Image)).one()
    assert (image.digest, image.orientation) == (None, 1)
    with pytest.raises(UserError, match=r"damaged.*images/a\.jpg"):
        image_files.load(image)
    (images / "a.jpg").write_bytes(ball(file_format="JPEG"))
    import_rows(sqlite_store, tmp_path, [row("a.jpg")], images)
    with sqlite_store.read() as session:
        assert session.scalars(select(Image.digest)).one() is not None


def test_duplicates_are_on_the_same_side_of_the_split(
    sqlite_store: Store, tmp_path: Path, images: Path
) -> None:
    """The same picture in another file format, among others that do not look like it."""
    rng = np.random.default_rng(0)
    for n in range(12):
        noise = PIL.Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8))
        picture = noise.resize((90, 90), PIL.Image.Resampling.BILINEAR)
        picture.save(images / f"{n}.png")
        if n < 6:
            picture.save(images / f"{n}.jpg", quality=80)
    names = sorted(file.name for file in images.iterdir())
    import_rows(sqlite_store, tmp_path, [row(name, (1, 1, 9, 9)) for name in names], images)
    with sqlite_store.write() as session:
        before = runs.split(session)
    url = sqlite_store.engine.url.render_as_string()
    words = ["sources", "duplicates", "--same-part", "--json", "--store", url]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [group["images"] for group in report["groups"]] == [
        [f"images/{n}.jpg", f"images/{n}.png"] for n in range(6)
    ]
    with sqlite_store.write() as session:
        parts = runs.split(session)
        groups: dict[int, set[str]] = {}
        for image in session.scalars(select(Image).where(Image.duplicate_group.is_not(None))):
            groups.setdefault(image.duplicate_group or 0, set()).add(parts[image.id])
        moved = {i for i in parts if parts[i] != before[i]}
        assert len(moved) == report["moved_to_another_part"] > 0
        assert all(len(of_group) == 1 for of_group in groups.values())
        # Whoever has trained on one of a group has not trained on a test image.
        assert not {i for i in moved if before[i] == "train"}
        session.query(Split).delete()
        assert session.scalar(select(func.count()).select_from(Split)) == 0
        fresh = runs.split(session, seed=5)
        for group in select_groups(session):
            assert len({fresh[i] for i in group}) == 1


def select_groups(session: Any) -> list[list[int]]:  # noqa: ANN401
    groups: dict[int, list[int]] = {}
    for image in session.scalars(select(Image).where(Image.duplicate_group.is_not(None))):
        groups.setdefault(image.duplicate_group, []).append(image.id)
    return list(groups.values())
