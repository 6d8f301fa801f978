"""Ids, kinds, several images, places of `<image>`, and who voted: nothing of a record is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator.labels.label_runs import make_labels
from annotator.labels.settings import LabelSettings
from db.formats.votes import export_votes
from db.schema import Image, Person, RejectedRow, Triple, Vote
from db.store.session import Store
from db.transfer.exporting import export_instructions
from db.transfer.importing import import_file
from generation.settings import InstructionSettings
from generation.tasks.context import load_contexts
from generation.tasks.instructions import Instructions
from tests.db import example_records
from tests.db.example_records import LSKD, VCR, VCR_METADATA


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = example_records.write_images(tmp_path / "pictures")
    (folder / "a.json").write_text(json.dumps(VCR_METADATA))
    return folder


def conversation(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


ENTRIES: list[dict[str, Any]] = [
    {
        "id": "000000033471",
        "image": "a.jpg",
        "kind": "reasoning",
        "conversations": conversation("What is it?\n<image>", "A dog.", "Is it wet?", "Yes."),
    },
    {
        "id": "000000033471",
        "image": "a.jpg",
        "kind": "description",
        "conversations": conversation("Is this <image> wet?", "Yes."),
    },
    {
        "id": "pair",
        "image": ["a.jpg", "b.jpg", "VG_100K/1.jpg"],
        "kind": "conversation",
        "conversations": conversation("<image> or <image>?", "The first.", "<image>?", "No."),
    },
]


def test_instructions_are_exported_as_they_were_imported(
    store: Store, images: Path, tmp_path: Path
) -> None:
    # Different bytes, since equal files are one image.
    (images / "b.jpg").write_bytes((images / "a.jpg").read_bytes() + b"b")
    (images / "VG_100K/1.jpg").write_bytes((images / "a.jpg").read_bytes() + b"1")
    file, out = tmp_path / "mix665k.json", tmp_path / "out.json"
    file.write_text(json.dumps(ENTRIES))
    report = import_file(store, "llava", file, images)
    assert (report.new["instructions"], report.notes) == (3, {})
    export_instructions(store, out)
    assert json.loads(out.read_text()) == ENTRIES
    assert import_file(store, "llava", out, images).new["instructions"] == 0


def test_a_damaged_further_image_costs_its_record(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    content = (images / "b.jpg").read_bytes()
    (images / "b.jpg").write_bytes(content[: len(content) // 2])
    file = tmp_path / "detail.json"
    file.write_text(json.dumps(ENTRIES))
    report = import_file(sqlite_store, "llava", file, images)
    assert (report.new["instructions"], report.rejected_rows) == (2, 1)


def test_lines_of_llava_are_read_like_a_list(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "detail.jsonl"
    file.write_text("\n".join(map(json.dumps, ENTRIES[:2])))
    assert import_file(sqlite_store, "llava", file, images).new["instructions"] == 2


CAPTIONS = {
    "id": "000000296284",
    "image": "000000296284.jpg",
    "captions": ["Two donuts on a plate.", "A plate with food."],
    "instances": [
        {"category": "donut", "bbox": [0.1, 0.2, 0.5, 0.75]},
        {"category": "plate", "bbox": [0.0, 0.1, 1.0, 1.0]},
    ],
}


def test_captions_and_boxes_without_pictures_are_generated_from(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "caps_boxes.jsonl"
    file.write_text(json.dumps(CAPTIONS) + "\n" + json.dumps(CAPTIONS | {"captions": 5}))
    report = import_file(store, "llava", file)
    assert (report.new["regions"], report.new["verbalizations"], report.rejected_rows) == (2, 2, 1)
    with store.read() as session:
        image = session.scalars(select(Image)).one()
        assert image.source.name == "caps_boxes"
        (context,) = load_contexts(session, [image.id])
    task = Instructions("reasoning", InstructionSettings())
    assert task.skip_reason(context) is None
    prompt = str(task.messages(context, 0))
    assert "Two donuts on a plate." in prompt
    assert "0.75" in prompt


def test_boxes_beside_the_image_are_rejected(sqlite_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "caps_boxes.jsonl"
    file.write_text(json.dumps(CAPTIONS | {"instances": [{"category": "x", "bbox": [1, 2, 3, 4]}]}))
    report = import_file(sqlite_store, "llava", file)
    assert list(report.rejection_reasons) == [
        "instances.bbox: not four shares: [1.0, 2.0, 3.0, 4.0]"
    ]


def test_coco_can_be_imported_without_pictures(sqlite_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    document = {name: [entry] for name, entry in example_records.COCO.items()}
    document["images"].append({"id": 3, "file_name": "c.jpg"})
    file.write_text(json.dumps(document))
    report = import_file(sqlite_store, "coco", file)
    assert report.new["regions"] == 1
    assert list(report.rejection_reasons) == [
        "images.file_name: the size of the image is not stated, and there are no pictures (c.jpg)"
    ]


def test_triples_keep_the_ids_of_their_files(store: Store, images: Path, tmp_path: Path) -> None:
    for format_, record in (("lskd", LSKD), ("vcr", VCR)):
        file = tmp_path / f"{format_}.jsonl"
        file.write_text(json.dumps(record))
        import_file(store, format_, file, images, accept_means="1")
    with store.read() as session:
        ids = session.scalars(select(Triple.external_id).order_by(Triple.id)).all()
    assert ids == ["teacher-7", "val-0"]


# ---- who voted


def labelled(store: Store, images: Path, tmp_path: Path, *labels: dict[str, Any]) -> None:
    rows = [
        LSKD
        | dict.fromkeys(("label", "annotators", "reject_label"))
        | {"index": f"t{n}", "answer": f"It is {n}."}
        for n, _ in enumerate(labels)
    ]
    file = tmp_path / "labels.jsonl"
    file.write_text(
        "\n".join(json.dumps(row | label) for row, label in zip(rows, labels, strict=True))
    )
    import_file(store, "lskd", file, images, source="pilot", accept_means="1")


def votes(store: Store) -> set[tuple[str, str, str, bool]]:
    """Return the id of the triple, who voted, the decision, and whether the person is unknown."""
    with store.read() as session:
        query = (
            select(Triple.external_id, Person.name, Vote.decision, Person.anonymous)
            .join(Triple, Triple.id == Vote.triple_id)
            .join(Person, Person.id == Vote.person_id)
        )
        rows = session.execute(query)
        return {(triple, name, decision, unknown) for triple, name, decision, unknown in rows}


@pytest.mark.parametrize(
    "label",
    [
        {"label": {"ann": "accept", "bob": "reject"}},
        {"label": ["accept", 0], "annotators": ["ann", "bob"]},
        {
            "label": [
                {"annotator": "ann", "decision": 1},
                {"annotator": "bob", "decision": "reject"},
            ]
        },
    ],
)
def test_label_files_say_who_voted(
    store: Store, images: Path, tmp_path: Path, label: dict[str, Any]
) -> None:
    labelled(store, images, tmp_path, label)
    assert votes(store) == {("t0", "ann", "accept", False), ("t0", "bob", "reject", False)}


def test_places_in_a_list_are_not_people(store: Store, images: Path, tmp_path: Path) -> None:
    """The labels of unknown people share one accuracy, whatever their places in the list."""
    mixed = [{"label": ["accept", "accept", "reject"]}, {"label": ["reject", "accept", "accept"]}]
    labelled(store, images, tmp_path, *mixed)
    assert {(person, unknown) for _, person, _, unknown in votes(store)} == {
        (f"pilot worker {n}", True) for n in (1, 2, 3)
    }
    run = make_labels(store, LabelSettings(method="dawid_skene"))
    assert list(run.results["annotator_accuracy"]) == ["pilot worker 1"]
    assert run.results["votes"] == 6


CSV = """\ufefftriple;annotator;decision;reasons;time
t0;ann;accept;;2026-03-01T10:00:00Z
t0;"'=bob()";reject;wrong_answer trivial;1772359200
t1;ann;skip;;
t1;bob;maybe;;
t9;ann;accept;;
t0;ann;reject;;
t1;bob;reject;ugly;
t1;bob;reject;;yesterday
"""


def test_votes_are_imported_from_a_table(store: Store, images: Path, tmp_path: Path) -> None:
    labelled(store, images, tmp_path, {}, {})
    file = tmp_path / "votes.csv"
    file.write_text(CSV, "utf-8")
    for new in (3, 0):
        report = import_file(store, "votes", file)
        assert (report.rows, report.new, report.rejected_rows) == (8, {"votes": new}, 5)
    assert votes(store) == {
        ("t0", "ann", "accept", False),
        ("t0", "=bob()", "reject", False),
        ("t1", "ann", "skip", False),
    }
    with store.read() as session:
        vote = session.scalars(select(Vote).where(Vote.decision == "reject")).one()
        assert (vote.reasons, vote.created) == (["wrong_answer", "trivial"], 1_772_359_200_000)
        rejected = session.scalars(select(RejectedRow).order_by(RejectedRow.line)).all()
    assert [(row.line, row.field) for row in rejected] == [
        (5, "decision"),
        (6, "triple"),
        (7, "decision"),
        (8, "reasons"),
        (9, "time"),
    ]
    assert rejected[0].reason == "neither accept nor reject nor skip: 'maybe'"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_exported_votes_can_be_imported(
    store: Store, images: Path, tmp_path: Path, suffix: str
) -> None:
    labelled(store, images, tmp_path, {"label": {"=ann": "accept"}}, {"label": ["reject"]})
    before, out = votes(store), tmp_path / f"votes{suffix}"
    export_votes(store, out)
    with store.write() as session:
        session.query(Vote).delete()
        session.query(Person).delete()
    report = import_file(store, "votes", out)
    assert (report.new, report.rejected_rows) == ({"votes": 2}, 0)
    assert votes(store) == before


def test_simulated_votes_stay_simulated(sqlite_store: Store, images: Path, tmp_path: Path) -> None:
    labelled(sqlite_store, images, tmp_path, {"label": {"ann": "accept"}}, {})
    rows = [
        {"triple": "t0", "annotator": "robot", "decision": "accept", "simulated": True},
        {"triple": "t1", "annotator": "ann", "decision": "accept", "simulated": True},
    ]
    file = tmp_path / "votes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    report = import_file(sqlite_store, "votes", file)
    assert report.rejection_reasons == {"simulated: ann is not simulated": 1}
    with sqlite_store.read() as session:
        assert session.scalars(select(Person.name).where(Person.simulated)).all() == ["robot"]
