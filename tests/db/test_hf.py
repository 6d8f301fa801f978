"""A release as a Hugging Face dataset: read back by its own library, and a card."""

import json
from pathlib import Path

import pytest
from datasets import Image, load_dataset
from sqlalchemy import delete, func, select, update

from critic.releases.release import create_release
from critic.settings import TrainSettings
from critic.training.train import train
from db.demo.simulated_annotators import simulate_votes
from db.formats.data_card import card_by_name
from db.formats.hf import export_hf
from db.labelling.labels import release_labels
from db.schema import Release, ReleaseTriple, Source, Split, Triple, Vote
from db.store.session import Store
from regions.errors import UserError


@pytest.fixture
def released(demo_store: Store) -> Store:
    simulate_votes(demo_store, accuracies=(0.9, 0.9, 0.9))
    train(demo_store, TrainSettings(simulated=True, resamples=50))
    create_release(
        demo_store, "pilot", 0.4, simulated=True, note="a `first` | try\n# not a heading"
    )
    return demo_store


def nothing(_done: int, _total: int) -> None: ...


def test_the_datasets_library_reads_an_exported_release(released: Store, tmp_path: Path) -> None:
    out = tmp_path / "pilot"
    written = export_hf(released, "pilot", out, progress=nothing).triples
    with released.read() as session:
        assert written == session.scalar(select(func.count()).select_from(ReleaseTriple))
    dataset = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(dataset) <= {"train", "calibration", "test"}
    assert isinstance(dataset["train"].features["image"], Image)
    rows = [row for part in dataset.values() for row in part]
    assert sum(len(row["triples"]) for row in rows) == written
    for row in rows:
        width, height = row["image"].size
        for region in row["regions"]:
            x1, y1, x2, y2 = region["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
        numbers = {region["number"] for region in row["regions"]}
        for triple in row["triples"]:
            assert set(triple["shown"]) <= numbers
            assert triple["score"] >= 0.4 - 1e-6
    triples = [triple for row in rows for triple in row["triples"]]
    assert {triple["votes"] for triple in triples} == {3}
    shares = {round(triple["accept"], 3) for triple in triples}
    assert shares <= {0.0, 0.333, 0.667, 1.0}
    assert all(t["accept_low"] <= t["accept"] <= t["accept_high"] for t in triples)
    assert len({t["accept_high"] - t["accept_low"] for t in triples}) > 1


def test_a_triple_without_votes_has_no_label(released: Store, tmp_path: Path) -> None:
    with released.write() as session:
        kept = session.scalar(select(ReleaseTriple.triple_id))
        session.execute(delete(Vote).where(Vote.triple_id == kept))
    out = tmp_path / "pilot"
    export_hf(released, "pilot", out, progress=nothing)
    dataset = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    triples = [t for part in dataset.values() for row in part for t in row["triples"]]
    assert [t["accept"] for t in triples].count(None) == 1
    assert [t["votes"] for t in triples].count(None) == 1


def test_the_card_states_the_certainty_of_labels(released: Store) -> None:
    with released.read() as session:
        labels = release_labels(session, session.scalars(select(Release)).one()).values()
    undecided = sum(label.low < 0.5 < label.high for label in labels)
    line = f"{len(labels)} of these triples have labels from votes"
    assert line in card_by_name(released, "pilot")
    assert f"the 95 % intervals of {undecided} contain 0.5" in card_by_name(released, "pilot")


def test_an_image_added_after_the_split_is_exported(released: Store, tmp_path: Path) -> None:
    with released.write() as session:
        session.execute(delete(Split))
    with released.read() as session:
        kept = session.scalar(select(func.count()).select_from(ReleaseTriple))
    written = export_hf(released, "pilot", tmp_path / "pilot", progress=nothing)
    assert (written.triples, written.skipped_triples) == (kept, {})


def test_the_card_describes_the_release_and_escapes_markdown(
    released: Store, tmp_path: Path
) -> None:
    with released.write() as session:
        session.execute(update(Triple).values(model="<script>x</script>` | [x](y)"))
    export_hf(released, "pilot", tmp_path / "pilot", progress=nothing)
    card = (tmp_path / "pilot" / "README.md").read_text("utf-8")
    assert "**The critic was trained on simulated votes.**" in card
    assert "- Precision: 0." in card
    assert "\n# not a heading" not in card
    assert "`<script>x</script>' | [x](y)`" in card
    head = card.split("---\n")[1]
    configs = json.loads(head.split("configs: ")[1])
    assert {file["split"] for file in configs[0]["data_files"]} == {
        file.stem for file in (tmp_path / "pilot" / "data").iterdir()
    }


def test_the_export_is_atomic(released: Store, tmp_path: Path) -> None:
    out = tmp_path / "pilot"
    export_hf(released, "pilot", out, progress=nothing)
    with pytest.raises(UserError, match="use --force"):
        export_hf(released, "pilot", out, progress=nothing)
    with released.write() as session:
        session.execute(update(Source).values(root=str(tmp_path / "gone")))
    with pytest.raises(
        UserError,
        match=r"the images of the source demo are not at their place .*lskd sources move demo",
    ):
        export_hf(released, "pilot", out, force=True, progress=nothing)
    assert (out / "README.md").exists()
    assert [path.name for path in tmp_path.iterdir() if "pilot" in path.name] == ["pilot"]


def test_force_replaces_only_a_folder_that_an_export_wrote(released: Store, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("years of work")
    with pytest.raises(UserError, match="did not write this folder"):
        export_hf(released, "pilot", thesis, force=True, progress=nothing)
    assert (thesis / "chapter1.tex").read_text() == "years of work"

    out = tmp_path / "pilot"
    export_hf(released, "pilot", out, progress=nothing)
    export_hf(released, "pilot", out, force=True, progress=nothing)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"files that lskd did not write: notes\.txt"):
        export_hf(released, "pilot", out, force=True, progress=nothing)
    assert (out / "notes.txt").read_text() == "mine"


def test_an_unknown_release_is_an_error(released: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no release named 'none'"):
        export_hf(released, "none", tmp_path / "x", progress=nothing)
    assert not (tmp_path / "x").exists()
