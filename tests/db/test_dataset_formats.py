"""Files of the field's other data sets: Visual Genome, VCR, LLaVA."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from db.formats.rows import ImportContext, Row
from db.formats.visual_genome import read
from db.reading.json_lists import JsonListReader
from db.schema import Image, ImageRegion, Instruction, RejectedRow, Run, Triple, Verbalization
from db.store.session import Store
from db.transfer.exporting import export_instructions
from db.transfer.importing import import_file
from regions.errors import UserError

Write = Callable[[str, object], Path]

OBJECTS = [
    {
        "image_id": 1,
        "objects": [
            {"object_id": 12, "names": ["ball"], "x": 60, "y": 10, "w": 30, "h": 30, "synsets": []},
            {"object_id": 11, "names": ["dog"], "x": -2, "y": 5, "w": 40, "h": 40, "synsets": []},
            {"object_id": 13, "names": ["sky"], "x": 500, "y": 0, "w": 9, "h": 9, "synsets": []},
        ],
    },
    {"image_id": 2, "objects": []},
    {"image_id": 9, "objects": []},
]
ATTRIBUTES = [
    {"image_id": 2, "attributes": []},
    {
        "image_id": 1,
        "attributes": [
            {**OBJECTS[0]["objects"][1], "attributes": ["brown", "wet", "brown"]},  # type: ignore[index]
            {**OBJECTS[0]["objects"][0]},  # type: ignore[index]
        ],
    },
]
DESCRIPTIONS = [
    {
        "id": 1,
        "regions": [
            {"region_id": 1, "x": 0, "y": 5, "width": 38, "height": 40, "phrase": "a wet dog"},
            {"region_id": 2, "x": 0, "y": 60, "width": 99, "height": 20, "phrase": "green grass"},
            {"region_id": 3, "x": 0, "y": 60, "width": 99, "height": 20, "phrase": " "},
        ],
    }
]
QUESTIONS = [
    {
        "id": 1,
        "qas": [
            {"question": "Who waits?", "answer": "The dog.", "q_objects": [{"object_id": 11}]},
            {"question": "Is it cold?", "answer": "No.", "q_objects": [], "a_objects": []},
        ],
    }
]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for name in ("VG_100K/1.jpg", "VG_100K_2/2.jpg", "film/a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 255, (80, 100, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(folder / name)
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: object) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return file

    return write_file


def rejected(store: Store) -> list[tuple[int, str, str]]:
    with store.read() as session:
        rows = session.scalars(select(RejectedRow).order_by(RejectedRow.id))
        return [(row.line, row.field, row.reason) for row in rows]


def texts(store: Store) -> set[tuple[str, int | None, str, str]]:
    with store.read() as session:
        rows = session.scalars(select(Verbalization))
        return {(row.kind, row.region_number, row.text, row.answer) for row in rows}


def test_visual_genome_is_imported_from_a_folder(store: Store, images: Path, write: Write) -> None:
    for name, content in (
        ("vg/objects.json", OBJECTS),
        ("vg/attributes.json", ATTRIBUTES),
        ("vg/region_descriptions.json", DESCRIPTIONS),
        ("vg/question_answers.json", QUESTIONS),
    ):
        folder = write(name, content).parent
    report = import_file(store, "visual-genome", folder, images, source="vg")
    with store.read() as session:
        names = session.scalars(select(Image.name).order_by(Image.name)).all()
        regions = session.scalars(select(ImageRegion).order_by(ImageRegion.number)).all()
        assert names == ["VG_100K/1.jpg", "VG_100K_2/2.jpg"]
        assert [(r.label, r.x1, r.y1, r.x2, r.y2) for r in regions] == [
            ("dog", 0, 5, 38, 45),
            ("ball", 60, 10, 90, 40),
            ("", 0, 60, 99, 80),
        ]
        assert {v.run_id for v in session.scalars(select(Verbalization))} == {
            session.scalars(select(Run.id).where(Run.name == report.run)).one()
        }
    assert texts(store) == {
        ("region", 0, "dog: brown, wet", ""),
        ("region", 0, "a wet dog", ""),
        ("region", 2, "green grass", ""),
        ("question", 0, "Who waits?", "The dog."),
        ("question", None, "Is it cold?", "No."),
    }
    reasons = {field: reason for _, field, reason in rejected(store)}
    assert set(reasons) == {"image", "objects.x", "regions.phrase"}
    assert reasons["image"] == "no 9.jpg here, in VG_100K or in VG_100K_2"
    before = texts(store)
    import_file(store, "visual-genome", folder, images, source="vg")
    assert texts(store) == before


@pytest.mark.parametrize("packed", [False, True])
def test_visual_genome_is_imported_from_one_file(
    store: Store, images: Path, write: Write, packed: bool
) -> None:
    file = write("region_descriptions.json", DESCRIPTIONS)
    if packed:
        content = gzip.compress(file.read_bytes())
        file = file.with_name("region_descriptions.json.gz")
        file.write_bytes(content)
    report = import_file(store, "visual-genome", file, images)
    assert report.new["regions"] == 2
    assert {(kind, text) for kind, _, text, _ in texts(store)} == {
        ("region", "a wet dog"),
        ("region", "green grass"),
    }


def test_an_image_of_another_size_than_stated_is_rejected(
    store: Store, images: Path, write: Write
) -> None:
    url = "https://somewhere.org/images/VG_100K/1.jpg"
    data = [{"image_id": 1, "url": url, "width": 640, "height": 480}]
    folder = write("vg/image_data.json", data).parent
    write("vg/objects.json", OBJECTS[:1])
    import_file(store, "visual-genome", folder, images)
    assert rejected(store) == [(1, "image_data", "the file says 640x480, the image is 100x80")]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    orders=st.lists(st.permutations(range(1, 7)), min_size=1, max_size=3),
    cut=st.integers(0, 6),
)
def test_entries_of_an_image_are_joined_whatever_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: list[list[int]], cut: int
) -> None:
    """Whatever the order of each file's images, and whichever of them a file lacks."""
    for method in ("image_size", "stated_size"):
        monkeypatch.setattr(ImportContext, method, lambda *_: (100, 80))
    folder = tmp_path / "orders"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    lists = ("objects", "regions", "qas")
    for n, order in enumerate(orders):
        entries = [{"image_id": i, lists[n]: []} for i in (order if n else order[cut:])]
        (folder / f"{n}.json").write_text(json.dumps(entries) if entries else '[{"image_id": 1}]')
    rows = list(read(JsonListReader(folder), ImportContext("/", "vg", None)))
    expected = {i for n, order in enumerate(orders) for i in (order if n else order[cut:] or [1])}
    assert all(isinstance(row, Row) for row in rows)
    assert sorted(row.image for row in rows if isinstance(row, Row)) == [
        f"VG_100K/{i}.jpg" for i in sorted(expected)
    ]


VCR: dict[str, Any] = {
    "movie": "film",
    "objects": ["person", "person", "cup"],
    "img_fn": "film/a.jpg",
    "metadata_fn": "film/a.json",
    "question": ["Why", "does", [0], "look", "at", [1, 2], "?"],
    "answer_choices": [["No", "reason", "."], [[0], "is", "thirsty", "."]],
    "answer_label": 1,
    "rationale_choices": [[[1], "'s", "cup", "is", "full", "."], ["It", "rains", "."]],
    "rationale_label": 0,
    "annot_id": "val-0",
}
METADATA = {
    "boxes": [[1, 2, 30, 40, 0.99], [40, 2, 60, 40, 0.98], [50, 50, 60, 60, 0.5]],
    "segms": [[[[1, 2], [30, 2], [30, 40]]], [], [[[50, 50], [60, 50], [55, 60]]]],
    "names": ["person", "person", "cup"],
    "width": 100,
    "height": 80,
}


def test_vcr_questions_with_correct_answers_become_triples(
    store: Store, images: Path, write: Write
) -> None:
    (images / "film" / "a.json").write_text(json.dumps(METADATA))
    import_file(store, "vcr", write("val.jsonl", json.dumps(VCR) + "\n"), images)
    with store.read() as session:
        triple = session.scalars(select(Triple)).one()
        assert (triple.question, triple.answer, triple.rationale) == (
            "Why does [0] look at [1][2]?",
            "[0] is thirsty.",
            "[1]'s cup is full.",
        )
        assert (triple.visible_regions, triple.source, triple.model) == (
            [0, 1, 2],
            "vcr",
            "VCR annotators",
        )
        regions = session.scalars(select(ImageRegion).order_by(ImageRegion.number)).all()
        assert [(r.label, len(r.polygons)) for r in regions] == [
            ("person", 1),
            ("person", 0),
            ("cup", 1),
        ]


def test_vcr_without_labels_imports_only_regions(store: Store, images: Path, write: Write) -> None:
    (images / "film" / "a.json").write_text(json.dumps(METADATA))
    row = {key: value for key, value in VCR.items() if not key.endswith("_label")}
    report = import_file(store, "vcr", write("test.jsonl", json.dumps(row) + "\n"), images)
    assert (report.new["regions"], report.new["triples"]) == (3, 0)
    assert report.notes == {"questions without labels (test split): only regions were imported": 1}


@pytest.mark.parametrize(
    ("change", "metadata", "field", "reason"),
    [
        ({"answer_label": 2}, METADATA, "answer_label", "no choice 2 among 2"),
        ({"question": ["Why", [7], "?"]}, METADATA, "question", "names region [7]"),
        ({"question": ["Why", [-1], "?"]}, METADATA, "question", "a token must be a word"),
        ({"objects": ["person"]}, METADATA, "objects", "1 here, 3 in the metadata"),
        ({"metadata_fn": "film/b.json"}, METADATA, "metadata_fn", "missing"),
        ({"metadata_fn": "../../b.json"}, METADATA, "metadata_fn", "leads out of its folder"),
        ({}, {"boxes": [[9, 9, 1, 1]] * 3}, "metadata_fn", "inverted"),
        ({}, [], "metadata_fn", "a list instead of an object"),
    ],
)
def test_an_invalid_row_of_vcr_is_rejected(  # noqa: PLR0917
    store: Store,
    images: Path,
    write: Write,
    change: dict[str, Any],
    metadata: object,
    field: str,
    reason: str,
) -> None:
    (images / "film" / "a.json").write_text(json.dumps(metadata))
    import_file(store, "vcr", write("val.jsonl", json.dumps(VCR | change) + "\n"), images)
    ((line, rejected_field, rejected_reason),) = rejected(store)
    assert (line, rejected_field) == (1, field)
    assert reason in rejected_reason


def entry(*values: str, **change: object) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[n % 2], "value": v} for n, v in enumerate(values)]
    return {"id": "000123", "image": "film/a.jpg", "conversations": turns, **change}


def instructions(store: Store) -> list[tuple[str, list[list[str]]]]:
    with store.read() as session:
        rows = session.scalars(select(Instruction).order_by(Instruction.id))
        return [(row.kind, row.turns) for row in rows]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("conversation_58k.json", "conversation"),
        ("detail_23k.json", "description"),
        ("complex_reasoning_77k.json", "reasoning"),
        ("mine.json", "conversation"),
    ],
)
def test_llava_files_are_imported_with_their_kind(
    store: Store, images: Path, write: Write, name: str, kind: str
) -> None:
    entries = entry("<image>\nWhat is it?", "A dog.", "Is it <image> wet?", "Yes.")
    report = import_file(store, "llava", write(name, [entries]), images)
    assert instructions(store) == [
        (kind, [["<image>\nWhat is it?", "A dog."], ["Is it <image> wet?", "Yes."]])
    ]
    assert bool(report.notes) == (name == "mine.json")


def test_importing_exported_instructions_changes_nothing(
    store: Store, images: Path, write: Write, tmp_path: Path
) -> None:
    entries = [entry(f"What is {n}?\n<image>", f"It is {n}.") for n in range(3)]
    for name in ("detail.json", "reasoning.json"):
        import_file(store, "llava", write(name, entries), images, source="s")
    before = instructions(store)
    out = tmp_path / "out.json"
    export_instructions(store, out, seed=0, force=False, progress=lambda *_: None)
    report = import_file(store, "llava", out, images, source="s")
    assert instructions(store) == before
    assert (report.rows, report.new["instructions"], report.notes) == (6, 0, {})


def test_invalid_entries_of_llava_are_rejected(store: Store, images: Path, write: Write) -> None:
    good = entry("<image>\nWhat is it?", "A dog.")
    wrong = [
        entry("What?", "That.", image="film/z.jpg"),
        {key: value for key, value in good.items() if key != "image"},
        entry("What?"),
        entry("What?", "That.", conversations=[{"from": "gpt", "value": "That."}]),
        entry("<image>", "That."),
        "nothing",
    ]
    report = import_file(store, "llava", write("conversation.json", [*wrong, good]), images)
    assert (report.rows, report.new["instructions"]) == (7, 1)
    assert [(line, field) for line, field, _ in rejected(store)] == [
        (1, "image"),
        (2, "image"),
        (3, "conversations"),
        (4, "conversations"),
        (5, "conversations.value"),
        (6, "entry"),
    ]


@pytest.mark.parametrize("format_", ["visual-genome", "llava"])
@pytest.mark.parametrize("content", ["", "[", "[]", "[1", "[{}] {}"])
def test_a_file_that_is_not_a_list_changes_nothing(
    store: Store, images: Path, write: Write, format_: str, content: str
) -> None:
    with pytest.raises(UserError, match=r"wrong.json|not a file"):
        import_file(store, format_, write("wrong.json", content), images)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 0


def test_a_file_of_another_kind_is_an_error(store: Store, images: Path, write: Write) -> None:
    with pytest.raises(UserError, match="the file is not a JSON list"):
        import_file(store, "visual-genome", write("x.json", {"a": 1}), images)
    import_file(store, "visual-genome", write("x.json", [{"a": 1}]), images)
    assert rejected(store) == [(1, "image_id", "missing (x.json)")]
    with pytest.raises(UserError, match=r"no \.json files here"):
        import_file(store, "visual-genome", images, images)
    with pytest.raises(UserError, match="no such file"):
        import_file(store, "llava", images, images)
