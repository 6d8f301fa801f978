"""Files in and out: exact, resumable, changing nothing twice, and clear about each bad row."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import func, insert, select

from db.labelling.labels import majority_labels, share_interval
from db.schema import (
    Image,
    ImageRegion,
    Person,
    RejectedRow,
    Release,
    ReleaseTriple,
    Run,
    Score,
    Triple,
    Verbalization,
    Vote,
)
from db.store import runs
from db.store.session import Store
from db.transfer.exporting import export
from db.transfer.importing import import_file
from regions.errors import UserError

Write = Callable[..., Path]
ROW: dict[str, Any] = {
    "image": "a/dog.jpg",
    "source": "teacher_v1",
    "split": "train",
    "index": "teacher_v1-7",
    "region": [1],
    "region_all": [0, 1],
    "references": [
        {"name": "0", "boxes": [[1, 2, 30, 40, 0.99]], "segms": None, "obj_guess": "dog"},
        {
            "name": "1",
            "boxes": [[50.5, 10, 90, 70]],
            "segms": [[[51, 11], [89, 12], [70, 69]]],
            "obj_guess": "ball",
        },
    ],
    "question": ["Why", "does", "the", "dog", "watch", [1], "?"],
    "answer": ["It", "wants", "to", "play", "with", [1], "."],
    "rationale": [[0], "'s", "eyes", "follow", [1], "."],
    "prediction": 0.91,
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with pictures of 100 x 80 pixels, and some that are none."""
    folder = tmp_path / "pictures"
    (folder / "a").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("dog.jpg", "cat.jpg"):
        noise = rng.integers(0, 255, (80, 100, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(folder / "a" / name)
    (folder / "a" / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture
def jsonl(tmp_path: Path) -> Write:
    def write(*rows: object, name: str = "rows.jsonl") -> Path:
        file = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return file

    return write


def count(store: Store, *tables: type) -> list[int]:
    with store.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def everything(store: Store) -> list[int]:
    return count(
        store, Image, ImageRegion, Triple, Vote, Score, Person, Run, RejectedRow, Verbalization
    )


def test_all_fields_of_a_released_row_are_imported(
    store: Store, images: Path, jsonl: Write
) -> None:
    report = import_file(store, "lskd", jsonl(ROW), images)
    assert (report.rows, report.new["triples"], report.rejected_rows) == (1, 1, 0)
    with store.read() as session:
        triple = session.scalars(select(Triple)).one()
        assert triple.question == "Why does the dog watch [1]?"
        assert triple.rationale == "[0]'s eyes follow [1]."
        assert triple.visible_regions == [0, 1]
        dog, ball = session.scalars(select(ImageRegion).order_by(ImageRegion.number))
        assert (dog.x1, dog.y2, dog.polygons, dog.label) == (1, 40, [], "dog")
        assert ball.polygons == [[[51, 11], [89, 12], [70, 69]]]
        score, run = session.execute(select(Score.value, Run).join(Run)).one()
        assert (score, run.kind, run.name) == (0.91, "foreign", "lskd prediction")


def test_both_layouts_of_references_are_read(store: Store, images: Path, jsonl: Write) -> None:
    as_object = {**ROW, "references": {str(r["name"]): r for r in ROW["references"]}}
    report = import_file(store, "lskd", jsonl(ROW, as_object), images)
    assert (report.rows, report.new["triples"], report.new["regions"]) == (2, 1, 2)


def test_importing_twice_changes_nothing(store: Store, images: Path, jsonl: Write) -> None:
    file = jsonl(ROW, {**ROW, "image": "a/none.jpg"}, {**ROW, "label": ["accept"] * 3})
    first = import_file(store, "lskd", file, images)
    before = everything(store)
    second = import_file(store, "lskd", file, images)
    assert everything(store) == before
    assert (second.run, sum(second.new.values())) == (first.run, 0)


def changed(**change: object) -> dict[str, Any]:
    return {**ROW, **change}


def box(*values: object) -> list[dict[str, Any]]:
    return [{**ROW["references"][0], "boxes": [list(values)]}, ROW["references"][1]]


BAD: dict[str, tuple[object, str, str]] = {
    "no json": ("{", "line", "invalid JSON"),
    "no object": ("[1]", "line", "a list instead of an object"),
    "lone surrogate": (json.dumps({**ROW, "answer": "\ud800"}), "answer", "surrogate"),
    "field missing": ({"image": "a/dog.jpg"}, "source", "missing"),
    "image missing": (changed(image="a/none.jpg"), "image", "the image is missing"),
    "no image": (changed(image="a/text.jpg"), "image", "not a picture"),
    "out of the folder": (changed(image="../../etc/passwd"), "image", "leads out"),
    "box inverted": (changed(references=box(30, 2, 1, 40)), "references.boxes", "inverted"),
    "box outside": (changed(references=box(1, 2, 300, 40)), "references.boxes", "100x80"),
    "box of words": (
        changed(references=box("a", 2, 3, 4)),
        "references.boxes",
        "a text instead of a number",
    ),
    "no box": (changed(references=[{"name": "0"}]), "references.boxes", "no box"),
    "region unknown": (changed(answer=["See", [7], "."]), "answer", "names region [7]"),
    "token unknown": (
        changed(answer=["See", {"x": 1}]),
        "answer",
        "an object instead of a text or a list",
    ),
    "empty": (changed(rationale=[]), "rationale", "empty"),
    "too long": (changed(answer="w" * 100_000), "answer", "100000 characters"),
    "null character": (changed(answer="a\0b"), "answer", "NUL"),
    "score": (changed(prediction=7), "prediction", "between 0 and 1 (got 7)"),
    "label unknown": (changed(label=["maybe"]), "label", "neither accept nor reject"),
    "label a number": (changed(label=[1, 0, 1]), "label", "--accept-means"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_row_is_rejected_with_line_field_and_reason(
    sqlite_store: Store, images: Path, jsonl: Write, name: str
) -> None:
    row, field, reason = BAD[name]
    report = import_file(sqlite_store, "lskd", jsonl(ROW, row), images)
    assert (report.new["triples"], report.rejected_rows) == (1, 1)
    with sqlite_store.read() as session:
        rejected = session.scalars(select(RejectedRow)).one()
    assert (rejected.line, rejected.field) == (2, field)
    assert reason in rejected.reason


def test_a_region_with_another_box_than_before_is_rejected(
    store: Store, images: Path, jsonl: Write
) -> None:
    report = import_file(
        store,
        "lskd",
        jsonl(ROW, changed(references=box(5, 5, 20, 20), answer="It sleeps.")),
        images,
    )
    assert report.rejection_reasons == {"regions: region [0] has another box in the store": 1}
    assert count(store, Triple) == [1]


def test_strict_stops_at_the_first_invalid_row_and_changes_nothing(
    store: Store, images: Path, jsonl: Write
) -> None:
    before = everything(store)
    with pytest.raises(UserError, match=r"image: the image is missing.*line 2.*without --strict"):
        import_file(store, "lskd", jsonl(ROW, changed(image="a/none.jpg")), images, strict=True)
    assert everything(store) == before


def test_a_stopped_import_is_completed_by_the_same_command(
    sqlite_store: Store, images: Path, jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.transfer.parsing._CHUNK_BYTES", 1_000)
    rows = [changed(answer=f"It plays, {i}.") for i in range(7)]
    file = jsonl(*rows)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_file(sqlite_store, "lskd", file, images, progress=stop)
    (imported,) = count(sqlite_store, Triple)
    assert 0 < imported < 7
    report = import_file(sqlite_store, "lskd", file, images)
    assert report.new["triples"] == 7 - imported


def test_a_rejected_row_is_located_by_its_line_in_the_file(
    sqlite_store: Store, images: Path, jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.transfer.parsing._CHUNK_BYTES", 1_000)
    rows = [changed(answer=f"It plays, {i}.") for i in range(6)]
    import_file(sqlite_store, "lskd", jsonl(*rows, changed(image="none.jpg")), images)
    with sqlite_store.read() as session:
        assert session.scalars(select(RejectedRow.line)).all() == [7]


def test_votes_of_a_label_file_become_labels(store: Store, images: Path, jsonl: Write) -> None:
    row = changed(label=["accept", "reject", "accept"], qa_score=0.9, r_score=0.4)
    import_file(store, "lskd", jsonl(row), images, source="pilot")
    with store.read() as session:
        (label,) = majority_labels(session).values()
        people = session.scalars(select(Person.name).order_by(Person.name)).all()
        names = session.scalars(select(Run.name).where(Run.kind == "foreign")).all()
    assert (label.accept, label.accepts, label.votes) == (True, 2, 3)
    assert people == ["pilot worker 1", "pilot worker 2", "pilot worker 3"]
    assert set(names) == {"lskd prediction", "lskd qa_score", "lskd r_score"}


@pytest.mark.parametrize(("accept_means", "accepted"), [("1", True), ("0", False)])
def test_the_caller_says_what_a_numeric_label_means(
    store: Store, images: Path, jsonl: Write, accept_means: str, *, accepted: bool
) -> None:
    import_file(store, "lskd", jsonl(changed(label=1)), images, accept_means=accept_means)
    with store.read() as session:
        (label,) = majority_labels(session).values()
    assert label.accept is accepted


def test_a_reject_label_of_one_rejects(store: Store, images: Path, jsonl: Write) -> None:
    import_file(store, "lskd", jsonl(changed(reject_label=1)), images)
    with store.read() as session:
        (label,) = majority_labels(session).values()
    assert label.accept is False


def test_a_compressed_file_is_read(store: Store, images: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(ROW).encode() + b"\n"))
    assert import_file(store, "lskd", file, images).new["triples"] == 1
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        import_file(store, "lskd", file, images)


def test_a_large_file_is_parsed_in_worker_processes(
    sqlite_store: Store, images: Path, jsonl: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.transfer.parsing._MIN_BYTES_FOR_PROCESSES", 0)
    rows = [changed(answer=f"It plays, {i}.") for i in range(50)]
    report = import_file(sqlite_store, "lskd", jsonl(*rows, "{"), images)
    assert (report.new["triples"], report.rejected_rows) == (50, 1)


# ---- COCO

COCO: dict[str, Any] = {
    "images": [
        {"id": 9, "file_name": "a/dog.jpg", "width": 100, "height": 80, "license": 4},
        {"id": 8, "file_name": "a/none.jpg", "width": 100, "height": 80},
    ],
    "annotations": [
        {"id": 2, "image_id": 9, "bbox": [50, 10, 40, 60], "category_id": 1, "segmentation": []},
        {
            "id": 1,
            "image_id": 9,
            "bbox": [1, 2, 29, 38],
            "category_id": 18,
            "segmentation": [[1, 2, 30, 2, 30, 40], [5, 5, 9, 5, 9, 9]],
        },
        {
            "id": 3,
            "image_id": 9,
            "bbox": [0, 0, 99, 79],
            "category_id": 1,
            "iscrowd": 1,
            "segmentation": {"counts": [1], "size": [80, 100]},
        },
        {"id": 4, "image_id": 9, "bbox": [90, 10, 40, 60], "category_id": 1},
        {"id": 5, "image_id": 8, "bbox": [1, 1, 4, 6], "category_id": 1},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
    "licenses": [{"id": 4, "name": "Attribution License"}],
}


def test_coco_images_boxes_polygons_and_crowds_are_imported(
    store: Store, images: Path, jsonl: Write
) -> None:
    report = import_file(store, "coco", jsonl(COCO), images)
    assert +Counter(report.new) == {"images": 1, "regions": 3}
    assert report.notes == {"masks (run-length encoded): only the box was imported": 1}
    assert report.rejected_rows == 3
    with store.read() as session:
        regions = session.scalars(select(ImageRegion).order_by(ImageRegion.number)).all()
        assert [r.label for r in regions] == ["dog", "person", "crowd of person"]
        assert (regions[0].x2, regions[0].y2) == (30, 40)
        assert len(regions[0].polygons) == 2
        assert session.scalars(select(Image.licence)).one() == "Attribution License"
        fields = session.scalars(select(RejectedRow.field).order_by(RejectedRow.field)).all()
    assert fields == ["annotations.bbox", "annotations.image_id", "images.file_name"]


def test_coco_captions_are_added_to_their_images(store: Store, images: Path, jsonl: Write) -> None:
    import_file(store, "coco", jsonl(COCO), images)
    captions = {
        "images": COCO["images"][:1],
        "annotations": [{"id": 1, "image_id": 9, "caption": "A dog with a ball."}],
    }
    for _ in range(2):
        import_file(store, "coco", jsonl(captions, name="captions.json"), images)
    with store.read() as session:
        text = session.scalars(select(Verbalization)).one()
        assert (text.kind, text.text) == ("scene", "A dog with a ball.")
    assert count(store, Image) == [1]


def test_a_file_that_is_not_coco_changes_nothing(store: Store, images: Path, jsonl: Write) -> None:
    before = everything(store)
    for wrong in ("[1, 2]", "{", '{"images": 3}'):
        with pytest.raises(UserError, match="not a COCO file"):
            import_file(store, "coco", jsonl(wrong), images)
    assert everything(store) == before


# ---- the project's own jsonl, and exports

OWN: dict[str, Any] = {
    "image": "a/cat.jpg",
    "regions": [
        {"number": 0, "box": [1, 2, 30, 40], "label": "cat", "caption": "a black cat"},
        {"number": 3, "box": [50, 10, 90, 70], "polygons": [[[50, 10], [90, 10], [70, 70]]]},
    ],
    "scene": ["A cat looks at a box."],
    "question": "What will [0] do with [3]?",
    "answer": "[0] will sit in it.",
    "rationale": "Cats like boxes such as [3].",
    "kind": "next",
    "source": "me",
}


def test_native_rows_are_imported(store: Store, images: Path, jsonl: Write) -> None:
    only_image = {"image": "a/dog.jpg", "regions": [], "mood": "happy"}
    report = import_file(store, "jsonl", jsonl(OWN, only_image), images)
    assert +Counter(report.new) == {"images": 2, "regions": 2, "verbalizations": 2, "triples": 1}
    assert report.notes == {"unknown fields: mood": 1}
    with store.read() as session:
        triple = session.scalars(select(Triple)).one()
        assert (triple.kind, triple.source, triple.visible_regions) == ("next", "me", [0, 3])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"regions": [{"number": 0}]}, "regions.box"),
        ({"regions": [{"box": [1, 2, 3, 4]}]}, "regions.number"),
        ({"shown": [0]}, "question"),
        ({"shown": [9]}, "shown"),
        ({"answer": None}, "answer"),
        ({"scores": {"x": "high"}}, "scores"),
    ],
)
def test_an_invalid_native_row_is_rejected_with_its_field(
    sqlite_store: Store, images: Path, jsonl: Write, change: dict[str, Any], field: str
) -> None:
    import_file(sqlite_store, "jsonl", jsonl({**OWN, **change}), images)
    with sqlite_store.read() as session:
        assert session.scalars(select(RejectedRow.field)).one() == field


def release_all(store: Store) -> None:
    with store.write() as session:
        run = runs.start(session, "critic", settings={})
        session.add(Release(id=1, name="all", run_id=run.id, threshold=0, created=0))
        session.flush()
        ids = session.scalars(select(Triple.id)).all()
        session.execute(
            insert(Score), [{"run_id": run.id, "triple_id": i, "value": 0.5} for i in ids]
        )
        session.execute(
            insert(ReleaseTriple), [{"release_id": 1, "triple_id": i, "score": 0.5} for i in ids]
        )


@pytest.mark.parametrize("format_", ["lskd", "jsonl"])
def test_importing_an_export_changes_nothing(
    store: Store, images: Path, jsonl: Write, tmp_path: Path, format_: str
) -> None:
    import_file(store, "lskd", jsonl(ROW, changed(answer="It waits.")), images, source="s")
    import_file(store, "jsonl", jsonl(OWN, name="own.jsonl"), images, source="s")
    release_all(store)
    out = tmp_path / "out.jsonl"
    assert export(store, format_, "all", out) == 3
    tables = Image, ImageRegion, Vote, Person, Verbalization
    before = count(store, *tables)
    report = import_file(store, format_, out, images, source="s")
    assert (report.rejected_rows, report.notes) == (0, {})
    assert count(store, *tables) == before
    # The released rows have no kind or model: a triple is the same by image, texts and regions.
    assert report.new["triples"] == 0


def test_an_exported_row_has_the_fields_of_the_format(
    store: Store, images: Path, jsonl: Write, tmp_path: Path
) -> None:
    texts = {"question": "What will [0] do?", "answer": "Sleep.", "rationale": "It is tired."}
    import_file(store, "jsonl", jsonl({**OWN, **texts, "shown": [0]}), images)
    release_all(store)
    export(store, "jsonl", "all", tmp_path / "own.jsonl")
    export(store, "lskd", "all", tmp_path / "lskd.jsonl")
    (own,) = map(json.loads, (tmp_path / "own.jsonl").read_text("utf-8").splitlines())
    (released,) = map(json.loads, (tmp_path / "lskd.jsonl").read_text("utf-8").splitlines())
    assert set(own) == {
        *("image", "regions", "question", "answer", "rationale", "shown"),
        *("kind", "source", "model", "prompt_version", "scores"),
    }
    assert own["shown"] == [0]
    assert set(released) == set(ROW)


def test_an_exported_row_carries_its_label_which_an_import_ignores(
    store: Store, images: Path, jsonl: Write, tmp_path: Path
) -> None:
    import_file(store, "lskd", jsonl(changed(label=["accept", "accept", "reject"])), images)
    release_all(store)
    out = tmp_path / "own.jsonl"
    export(store, "jsonl", "all", out)
    (row,) = map(json.loads, out.read_text("utf-8").splitlines())
    low, high = share_interval(2, 3)
    assert row["label"] == {
        "accept": pytest.approx(2 / 3, abs=1e-6),
        "low": pytest.approx(low, abs=1e-6),
        "high": pytest.approx(high, abs=1e-6),
        "votes": 3,
    }
    before = count(store, Vote)
    report = import_file(store, "jsonl", out, images, source="s")
    assert (report.rejected_rows, count(store, Vote)) == (0, before)


def test_the_demo_can_be_exported(demo_store: Store, tmp_path: Path) -> None:
    release_all(demo_store)
    out = tmp_path / "demo.jsonl"
    assert export(demo_store, "lskd", "all", out) == 157
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert {row["source"] for row in rows} == {"demo"}
    assert all(isinstance(row["question"], list) for row in rows)


def test_an_existing_file_is_replaced_only_with_force(demo_store: Store, tmp_path: Path) -> None:
    release_all(demo_store)
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"already exists.*--force"):
        export(demo_store, "jsonl", "all", out)
    assert out.read_text() == "mine"
    assert export(demo_store, "jsonl", "all", out, force=True) == 157
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".jsonl") == ["out.jsonl"]


@pytest.mark.parametrize(
    ("format_", "release", "what"),
    [("csv", "all", "unknown format 'csv'"), ("lskd", "none", "no release named 'none'")],
)
def test_a_failed_export_leaves_no_file(
    demo_store: Store, tmp_path: Path, format_: str, release: str, what: str
) -> None:
    with pytest.raises(UserError, match=what):
        export(demo_store, format_, release, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("wrong", ["format", "file", "images", "accept"])
def test_invalid_arguments_of_an_import_change_nothing(
    sqlite_store: Store, images: Path, jsonl: Write, wrong: str
) -> None:
    file = jsonl(ROW)
    arguments = {
        "format": ("csv", file, images, None, "unknown format"),
        "file": ("lskd", images, images, None, "no such file"),
        "images": ("lskd", file, file, None, "no such folder"),
        "accept": ("lskd", file, images, "yes", "--accept-means must be 1 or 0"),
    }
    format_, path, folder, accept, what = arguments[wrong]
    before = everything(sqlite_store)
    with pytest.raises(UserError, match=what):
        import_file(sqlite_store, format_, path, folder, accept_means=accept)
    assert everything(sqlite_store) == before
