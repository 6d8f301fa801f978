"""Files as people have them: compressed, from other systems, incomplete, among other files."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from db.schema import ImageRegion
from db.store.session import Store
from db.transfer.importing import ImportReport, import_file
from lskd_cli import cli
from regions.errors import UserError
from tests.db import example_records
from tests.db.example_records import COCO, NATIVE, VISUAL_GENOME


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return example_records.write_images(tmp_path / "pictures")


LINES = b"".join(
    json.dumps(NATIVE | {"answer": f"It waits, {n}."}).encode() + b"\n" for n in range(3)
)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINES,
        LINES.replace(b"\n", b"\r\n"),
        gzip.compress(LINES),
        b"\n \n" + LINES + b"\n",
        LINES.rstrip(b"\n"),
        b"[" + LINES.rstrip(b"\n").replace(b"\n", b",") + b"]",
        LINES.replace(b'"kind": "next"', b'"kind": "next", "area": NaN'),
    ],
    ids=["bom", "crlf", "gzip", "blank lines", "no last newline", "list", "nan"],
)
def test_every_row_is_read(
    sqlite_store: Store, images: Path, tmp_path: Path, content: bytes
) -> None:
    (file := tmp_path / "rows").write_bytes(content)
    report = import_file(sqlite_store, "jsonl", file, images)
    assert (report.new["triples"], report.rejected_rows) == (3, 0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "no rows"), (LINES.decode().encode("utf-16"), "UTF-16")],
)
def test_a_file_without_readable_rows_changes_nothing(
    sqlite_store: Store, images: Path, tmp_path: Path, content: bytes, problem: str
) -> None:
    (file := tmp_path / "rows").write_bytes(content)
    with pytest.raises(UserError, match=problem):
        import_file(sqlite_store, "jsonl", file, images)


def test_the_exit_code_is_1_if_every_row_is_rejected(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    url = sqlite_store.engine.url.render_as_string()
    words = ["--images", str(images), "--store", url]
    for content, code in ((b"{}\n7\n", 1), (LINES + b"{}\n", 0)):
        (file := tmp_path / "rows").write_bytes(content)
        assert CliRunner().invoke(cli, ["import", "jsonl", str(file), *words]).exit_code == code


# ---- COCO


def import_coco(store: Store, folder: Path, file: Path, **change: Any) -> ImportReport:  # noqa: ANN401 - sections
    document: dict[str, Any] = {name: [entry] for name, entry in COCO.items()} | change
    file.write_text(json.dumps(document))
    return import_file(store, "coco", file, folder)


def test_missing_and_null_sections_of_coco_are_empty(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    report = import_coco(sqlite_store, images, tmp_path / "a.json", licenses=None, annotations=None)
    assert (report.new["images"], report.rejected_rows) == (1, 0)


def test_categories_match_as_texts_and_unknown_ones_are_noted(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    annotation = COCO["annotations"]
    annotations = [
        annotation | {"id": 1, "category_id": "1", "area": float("nan")},
        annotation | {"id": 2, "category_id": 77, "bbox": [1, 1, 9, 9]},
        annotation | {"id": 3, "category_id": None, "bbox": [2, 2, 9, 9]},
        annotation | {"id": 4, "segmentation": {"counts": [1], "size": [80, 100]}},
    ]
    report = import_coco(sqlite_store, images, tmp_path / "a.json", annotations=annotations)
    with sqlite_store.read() as session:
        labels = session.scalars(select(ImageRegion.label).order_by(ImageRegion.number)).all()
    assert labels == ["person", "", "", "person"]
    assert report.notes == {
        "annotations of an unknown category: imported without a label": 1,
        "annotations without a category: imported without a label": 1,
        "masks (run-length encoded): only the box was imported": 1,
        "outlines outside their box: only the box was imported": 2,
    }


def test_repeated_images_are_joined_and_ambiguous_ids_rejected(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    image, annotation = COCO["images"], COCO["annotations"]
    report = import_coco(
        sqlite_store,
        images,
        tmp_path / "a.json",
        images=[image, image, *({"id": 5, "file_name": name} for name in ("a.jpg", "c.jpg"))],
        annotations=[annotation, annotation | {"id": 9, "image_id": 5}],
    )
    assert (report.new["images"], report.new["regions"]) == (1, 1)
    assert report.notes == {"images listed more than once: their entries were joined": 1}
    assert report.rejection_reasons == {
        "images.id: the id of several images": 2,
        "annotations.image_id: the id of several images": 1,
    }


# ---- a folder of Visual Genome


def test_files_of_no_interest_in_a_folder_are_skipped_and_named(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    (folder := tmp_path / "vg").mkdir()
    (folder / "objects.json").write_text(json.dumps([VISUAL_GENOME]))
    (folder / "synsets.json").write_text(json.dumps([{"synset_name": "tree.n.01"}]))
    (folder / "qa_to_region_mapping.json").write_text("{}")
    (folder / "._objects.json").write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "__MACOSX").mkdir()
    report = import_file(sqlite_store, "visual-genome", folder, images)
    assert (report.new["regions"], report.rejected_rows) == (1, 0)
    skipped = ".DS_Store, ._objects.json, __MACOSX, qa_to_region_mapping.json, synsets.json"
    assert report.notes[f"files that were skipped: {skipped}"] == 5
