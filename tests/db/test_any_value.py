"""Any value in any field costs at most its own row, by the command and by the API."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from annotator.web import app
from db.schema import (
    Image,
    ImageRegion,
    Instruction,
    Person,
    RejectedRow,
    Source,
    Triple,
    Verbalization,
    Vote,
)
from db.store.session import Store
from db.transfer.importing import import_file
from lskd_cli import cli
from regions.errors import UserError
from tests.db import example_records
from tests.db.example_records import (
    COCO,
    LLAVA,
    LSKD,
    NATIVE,
    VCR,
    VISUAL_GENOME,
    VOTE,
    mutations,
)

pytestmark = pytest.mark.slow

N_VALID = 4
"""Valid records, half of them before and half after the mutated ones."""


def lines(record: dict[str, Any], **valid: Callable[[int], object]) -> bytes:
    return b"\n".join(json.dumps(entry).encode() for entry in entries(record, **valid))


def entries(record: dict[str, Any], **valid: Callable[[int], object]) -> list[object]:
    """Return mutations of a record between records with `valid` fields."""
    good = [record | {key: value(n) for key, value in valid.items()} for n in range(N_VALID)]
    return [*good[: N_VALID // 2], *mutations(record), *good[N_VALID // 2 :]]


def turns(n: int) -> list[dict[str, str]]:
    return [{"from": "human", "value": f"Valid {n}?"}, {"from": "gpt", "value": "Yes."}]


def coco() -> bytes:
    valid: dict[str, list[Any]] = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": n, "image_id": 1, "caption": f"Valid {n}"} for n in range(N_VALID)],
        "categories": [{"id": 2, "name": "dog"}],
        "licenses": [],
    }
    return json.dumps({name: [*mutations(COCO[name]), *valid[name]] for name in COCO}).encode()


FILES: dict[str, bytes] = {
    "jsonl": lines(NATIVE, question=lambda n: f"Valid {n}?"),
    "lskd": lines(LSKD, question=lambda n: ["Valid", str(n), "?"]),
    "vcr": lines(VCR, question=lambda n: ["Valid", str(n), "?"]),
    "llava": json.dumps(entries(LLAVA, conversations=turns)).encode(),
    "visual-genome": json.dumps(
        entries(
            VISUAL_GENOME,
            image_id=lambda _: 1,
            qas=lambda n: [{"question": f"Valid {n}?", "answer": "Yes."}],
        )
    ).encode(),
    "coco": coco(),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = example_records.write_images(tmp_path / "pictures")
    (folder / "a.json").write_text(json.dumps(example_records.VCR_METADATA))
    return folder


def n_valid(store: Store) -> int:
    """Return the number of stored records that the valid rows have."""
    with store.read() as session:
        texts = [
            *session.scalars(select(Triple.question)),
            *session.scalars(select(Verbalization.text)),
            *(turns[0][0] for turns in session.scalars(select(Instruction.turns))),
        ]
    return sum(text.startswith("Valid ") for text in texts)


@pytest.mark.parametrize("format_", FILES)
def test_the_command_rejects_single_rows(
    store: Store, images: Path, tmp_path: Path, format_: str
) -> None:
    file = tmp_path / "rows"
    file.write_bytes(FILES[format_])
    url = store.engine.url.render_as_string(hide_password=False)
    words = ["import", format_, str(file), "--images", str(images), "--accept-means", "1"]
    reports = []
    for _ in range(2):
        result = CliRunner().invoke(cli, [*words, "--json", "--store", url])
        assert result.exit_code == 0, result.output
        reports.append(json.loads(result.stdout))
    assert n_valid(store) == N_VALID
    assert reports[0]["rejected_rows"] > len(example_records.VALUES)
    assert not any(reports[1]["new"].values())
    with store.read() as session:
        rejected = session.scalar(select(func.count()).select_from(RejectedRow))
        boxes = session.execute(select(ImageRegion.x1, ImageRegion.x2)).all()
        labels = session.scalars(select(ImageRegion.label)).all()
    assert rejected == reports[0]["rejected_rows"]
    assert all(0 <= x1 < x2 <= example_records.SIZE[0] for x1, x2 in boxes)
    assert {type(label) for label in labels} <= {str}


@pytest.mark.parametrize("format_", FILES)
def test_the_api_rejects_single_rows(sqlite_store: Store, images: Path, format_: str) -> None:
    with sqlite_store.write() as session:
        session.add(Source(name="pictures", root=str(images)))
    with TestClient(app.build(sqlite_store), base_url="http://127.0.0.1") as client:
        answer = client.post(
            "/api/research/imports",
            params={"source": "pictures", "format": format_, "accept_means": "1"},
            content=FILES[format_],
            headers={"x-lskd": "1"},
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["rejected_rows"] > len(example_records.VALUES)
    assert n_valid(sqlite_store) == N_VALID


@pytest.mark.parametrize("section", COCO)
def test_any_value_of_a_section_of_coco_is_read_or_refused(
    sqlite_store: Store, images: Path, tmp_path: Path, section: str
) -> None:
    file = tmp_path / "instances.json"
    for value in example_records.VALUES:
        document = {name: [entry] for name, entry in COCO.items()} | {section: value}
        file.write_text(json.dumps(document))
        with suppress(UserError):
            import_file(sqlite_store, "coco", file, images)


def test_any_value_in_the_metadata_of_vcr_costs_one_row(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    rows = [VCR]
    for n, metadata in enumerate(mutations(example_records.VCR_METADATA)):
        (images / f"{n}.json").write_text(json.dumps(metadata))
        rows.append(VCR | {"metadata_fn": f"{n}.json", "question": ["Why", str(n), "?"]})
    file = tmp_path / "val.jsonl"
    file.write_text("\n".join(map(json.dumps, [*rows, VCR | {"question": ["Who", "?"]}])))
    report = import_file(sqlite_store, "vcr", file, images)
    assert report.rows == len(rows) + 1
    assert report.new["triples"] == report.rows - report.rejected_rows
    assert report.rejected_rows > len(example_records.VALUES)


def test_any_value_in_a_vote_costs_one_row(store: Store, images: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(NATIVE))
    import_file(store, "jsonl", rows, images)
    file = tmp_path / "votes.jsonl"
    valid = [VOTE | {"annotator": f"Valid {n}"} for n in range(N_VALID)]
    file.write_text("\n".join(map(json.dumps, [*valid[:2], *mutations(VOTE), *valid[2:]])))
    for _ in range(2):
        report = import_file(store, "votes", file)
    assert report.new == {"votes": 0}
    assert report.rejected_rows > len(example_records.VALUES)
    with store.read() as session:
        query = select(Person.name).join(Vote, Vote.person_id == Person.id)
        names = session.scalars(query.where(Person.name.like("Valid %"))).all()
    assert len(names) == N_VALID


def test_one_bad_row_of_60_000_costs_one_row(
    sqlite_store: Store, images: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    row = json.dumps(NATIVE | {"regions": [], "shown": [], "scores": {}, "rationale": "So."})
    row = row.replace("[0]", "it")
    content = [row.replace("will it do?", f"will it do {n}?") for n in range(60_000)]
    content[40_000] = content[40_000].replace('"scene": [', '"scene": [7, ')
    file.write_text("\n".join(content))
    report = import_file(sqlite_store, "jsonl", file, images)
    assert (report.new["triples"], report.rejected_rows) == (59_999, 1)
    assert report.rejection_reasons == {"scene: a whole number instead of a text": 1}


def test_a_text_stands_for_a_list_of_one(sqlite_store: Store, images: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"image": "a.jpg", "regions": [], "scene": "beach"}))
    import_file(sqlite_store, "jsonl", file, images)
    with sqlite_store.read() as session:
        assert session.scalars(select(Verbalization.text)).all() == ["beach"]
        assert session.scalar(select(func.count()).select_from(Image)) == 1
