"""The same loop on other people's data: COCO photographs with human boxes and captions."""

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import func, select

from critic.releases.release import create_release
from critic.settings import TrainSettings as CriticSettings
from critic.training.train import train as train_critic
from db.demo.simulated_annotators import simulate_votes
from db.images import image_files
from db.schema import AnswerKey, Image, ImageRegion, Triple, Verbalization
from db.store import queries
from db.store.session import Store
from db.transfer.importing import import_file
from generation.verbalize.describers.annotations import Annotations
from generation.verbalize.run import verbalize
from student.asking.inference import ask
from student.settings import TrainSettings as StudentSettings
from student.training.train import train as train_student

ROOT = Path(__file__).parent.parent
COCO = Path(os.environ.get("LSKD_SHARED_DATA", ROOT.parent / "shared" / "data")) / "coco_cc"


@pytest.mark.slow
@pytest.mark.skipif(not COCO.is_dir(), reason="no COCO photographs here: set LSKD_SHARED_DATA")
def test_from_coco_to_an_answer(sqlite_store: Store, tmp_path: Path) -> None:
    store = sqlite_store
    report = import_file(store, "coco", COCO / "instances.json", COCO / "images", source="coco")
    assert (report.new["images"], report.new["regions"]) == (51, 546)
    assert report.rejected_rows == 0
    captions = import_file(store, "coco", COCO / "captions.json", COCO / "images", source="coco")
    assert captions.new["verbalizations"] == 255
    assert verbalize(store, Annotations()).results["texts"] > 546

    # Triples about each labelled region; in every second one the number points at another thing.
    rows, flawed = [], {}
    with store.read() as session:
        for image in session.scalars(select(Image)):
            regions = queries.regions_by_image(session, [image.id])[image.id]
            labels = {region.number: region.label for region in regions}
            for i, region in enumerate(regions[:6]):
                others = [n for n, label in labels.items() if label != region.label]
                wrong = i % 2 == 1 and bool(others)
                number = others[0] if wrong else region.number
                question = f"What is the {region.label} [{number}] doing here, thing {i}?"
                flawed[question] = "wrong_region" if wrong else None
                rows.append(
                    {
                        "image": image.name,
                        "regions": [{"number": r.number, "box": r.box} for r in regions],
                        "question": question,
                        "answer": f"[{number}] is a {region.label} that belongs to this place.",
                        "rationale": f"A {region.label} such as [{number}] is often seen there.",
                        "source": "written for the test",
                    }
                )
    file = tmp_path / "triples.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    written = import_file(store, "jsonl", file, COCO / "images", source="coco")
    assert written.rejected_rows == 0
    with store.write() as session:
        for triple in session.scalars(select(Triple)):
            session.add(AnswerKey(triple_id=triple.id, flaw=flawed[triple.question]))

    simulate_votes(store, accuracies=[0.9, 0.9, 0.9])
    critic = train_critic(store, CriticSettings(simulated=True, resamples=100))
    assert critic.results["average_precision"]["value"] > critic.results["acceptance_rate"] + 0.2
    assert create_release(store, "coco", 0.5, simulated=True).kept > 50

    run = train_student(
        store, StudentSettings(release="coco", steps=10, base_steps=10, batch_size=4)
    )
    assert run.results["triples"] > 0
    with store.read() as session:
        first = session.get_one(Image, 1)
        regions = queries.regions_by_image(session, [1])[1]
        assert session.scalar(select(func.count()).select_from(ImageRegion)) == 546
        assert (session.scalar(select(func.count()).select_from(Verbalization)) or 0) > 800
    assert ask(store, image_files.load(first), regions[:1]).question
