"""A source is a place: two are never mixed, and one that has moved is found again."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, select, text

from db.images import image_files
from db.schema import Image, ImageRegion, Source, Triple
from db.store import migrate
from db.store.session import Store
from db.transfer.sources import check_source
from lskd_cli import cli
from regions.errors import UserError
from tests.db.test_pictures import ball, green_box, row, shares

OLD_IMAGE = """
    INSERT INTO images (id, source_id, name, width, height, title, author, licence, origin)
    VALUES (1, 1, 'p.png', 64, 48, '', '', '', '')
"""
OLD_REGION = """
    INSERT INTO regions (image_id, number, x1, y1, x2, y2, polygons, label)
    VALUES (1, 0, 35, 15, 55, 40, '[[[35, 15], [55, 15], [55, 40]]]', 'ball')
"""


def run(url: str, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--store", url])


def as_json(url: str, *words: str) -> Any:  # noqa: ANN401 - JSON
    result = run(url, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two folders of one name, with different pictures of one name."""
    for n, name in enumerate("AB"):
        images = tmp_path / name / "images"
        images.mkdir(parents=True)
        (images / "a.png").write_bytes(ball(blue=100 * n))
        question = f"Why is [0] in {name}?"
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row("a.png", question=question)))
    return tmp_path


@pytest.fixture
def url(project: Path) -> str:
    url = f"sqlite:///{project}/data/store.db"
    for name in "AB":
        images = str(project / name / "images")
        as_json(url, "import", "jsonl", str(project / f"{name}.jsonl"), "--images", images)
    return url


def test_two_folders_of_one_name_are_two_sources(url: str, project: Path) -> None:
    store = Store.open(url)
    with store.read() as session:
        roots = {
            triple.question: triple.image.source.root for triple in session.scalars(select(Triple))
        }
    assert roots == {f"Why is [0] in {name}?": str(project / name / "images") for name in "AB"}
    assert [(s["name"], s["images"]) for s in as_json(url, "sources")] == [
        ("images", 1),
        ("images-2", 1),
    ]
    images = str(project / "B" / "images")
    again = as_json(url, "import", "jsonl", str(project / "B.jsonl"), "--images", images)
    assert not any(again["new"].values())


def test_a_name_of_another_place_is_refused_with_both_places(url: str, project: Path) -> None:
    a, b = (str(project / name / "images") for name in "AB")
    words = "import", "jsonl", str(project / "B.jsonl"), "--images", b, "--source", "images"
    result = run(url, *words)
    assert result.exit_code == 2
    assert a in result.output
    assert b in result.output
    assert "lskd sources move images" in result.output


def test_a_source_moves_only_to_a_place_with_the_same_files(url: str, project: Path) -> None:
    new = project / "new"
    shutil.move(project / "A", new)
    store = Store.open(url)
    with store.read() as session:
        image = session.scalars(select(Image).join(Source).where(Source.name == "images")).one()
    with pytest.raises(UserError, match=r"not at their place.*lskd sources move images NEW-PLACE"):
        image_files.load(image)
    (project / "other").mkdir()
    shutil.copy(project / "B" / "images" / "a.png", project / "other" / "a.png")
    (project / "none").mkdir()
    for place, reason in (
        ("other", "of 1 images 1 are different, 0 damaged and 0 missing: a.png: another file"),
        ("none", "1 missing: a.png: the image is missing"),
        ("B/images", "is the source images-2 already"),
    ):
        result = run(url, "sources", "move", "images", str(project / place))
        assert result.exit_code == 2
        assert reason in result.output
        assert as_json(url, "sources")[0]["place"] == str(project / "A" / "images")
    moved = as_json(url, "sources", "move", "images", str(new / "images"))
    assert (moved["images"], moved["same_digest"], moved["missing"]) == (1, 1, 0)
    with store.read() as session:
        assert image_files.load(session.get_one(Image, image.id)).size == (64, 48)


def test_a_check_counts_missing_damaged_and_changed_images(url: str, project: Path) -> None:
    file = project / "A" / "images" / "a.png"
    assert as_json(url, "sources", "check", "images")["same_digest"] == 1
    file.write_bytes(ball(blue=3))
    assert as_json(url, "sources", "check", "images")["different"] == 1
    file.write_bytes(file.read_bytes()[:-40])
    assert as_json(url, "sources", "check", "images")["damaged"] == 1
    file.unlink()
    assert as_json(url, "sources", "check", "images")["missing"] == 1


def test_a_store_restored_elsewhere_finds_its_pictures(url: str, project: Path) -> None:
    """One source lies at the same place relative to the store, the other one does not."""
    as_json(url, "backup", str(project / "backup.zip"))
    elsewhere = project / "elsewhere"
    shutil.copytree(project / "A", elsewhere / "A")
    for name in "AB":
        shutil.move(project / name, project / f"gone-{name}")
    new = f"sqlite:///{elsewhere}/data/store.db"
    restored = as_json(new, "restore", str(project / "backup.zip"))
    assert restored["sources_found"] == {"images": str(elsewhere / "A" / "images")}
    assert list(restored["sources_missing"]) == ["images-2"]
    assert "lskd sources move images-2 NEW-PLACE" in restored["sources_missing"]["images-2"]


@pytest.mark.parametrize("present", [True, False])
def test_pictures_of_an_older_store_become_upright(tmp_path: Path, *, present: bool) -> None:
    """Its size and regions are of the stored pixels, which is what annotators saw."""
    images = tmp_path / "images"
    images.mkdir()
    if present:
        (images / "p.png").write_bytes(ball(6))
    with create_engine(f"sqlite:///{tmp_path}/store.db").begin() as connection:
        migrate.upgrade(connection, "0006")
        source = text("INSERT INTO sources (id, name, root) VALUES (1, 'old', :root)")
        connection.execute(source, {"root": str(images)})
        connection.execute(text(OLD_IMAGE))
        connection.execute(text(OLD_REGION))
    store = Store.open(f"sqlite:///{tmp_path}/store.db")
    if not present:
        (images / "p.png").write_bytes(ball(6))
        with store.read() as session:
            image = session.scalars(select(Image)).one()
        assert image.orientation is None
        with pytest.raises(UserError, match=r"not upright.*lskd sources check old"):
            image_files.load(image)
        assert check_source(store, "old").turned == 1
    with store.read() as session:
        image, region = (
            session.scalars(select(Image)).one(),
            session.scalars(select(ImageRegion)).one(),
        )
    picture = image_files.load(image)
    assert picture.size == (image.width, image.height) == (48, 64)
    box = region.x1, region.y1, region.x2, region.y2
    assert green_box(picture) == pytest.approx(shares(box, picture.size))
    assert region.polygons == [[[33, 35], [33, 55], [8, 55]]]
    assert check_source(store, "old").turned == 0
