"""What the demo page shows: pictures to ask about, students and what they learned from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import select

from db.images import image_files
from db.images.records import image_record
from db.schema import Image, Release, Run, Split
from db.store import queries, runs
from db.store.session import Store
from regions.errors import UserError
from regions.geometry import Region, fit_within
from regions.marks import draw_regions
from student.benchmarks import evaluate
from student.training.training_log import lines

_MOST_PICTURES, _MOST_RUNS, _MOST_POINTS, _MOST_ERRORS = 60, 8, 300, 10
_SIDE = 280
"""The longer side in pixels of the picture of what was got wrong."""


def overview(store: Store) -> dict[str, Any]:
    """Pictures (those held out of training last), students and releases, the newest first."""
    with store.read() as session:
        held_out = set(session.scalars(select(Split.image_id).where(Split.part == "test")))
        images = session.scalars(select(Image).order_by(Image.id).limit(_MOST_PICTURES)).all()
        order = sorted(images, key=lambda image: (image.id in held_out, image.id))
        students = session.scalars(
            select(Run).where(Run.kind == "student", Run.status == "done").order_by(Run.id.desc())
        )
        return {
            "pictures": [
                {**image_record(image), "held_out": image.id in held_out} for image in order
            ],
            "students": [
                {
                    "name": run.name,
                    "about": describe(run),
                    "benchmarks": sorted(run.results.get("benchmarks", {})),
                }
                for run in students
            ],
            "releases": list(session.scalars(select(Release.name).order_by(Release.id.desc()))),
        }


def picture(store: Store, image_id: int) -> dict[str, Any]:
    """An image with its regions; UserError where there is none."""
    with store.read() as session:
        image = queries.by_id(session, Image, image_id)
        regions = queries.regions_by_image(session, [image_id])[image_id]
        part = session.scalar(select(Split.part).where(Split.image_id == image_id))
        return {
            "image": {**image_record(image), "held_out": part == "test"},
            "regions": [asdict(region) for region in regions],
        }


def describe(run: Run) -> str:
    """What a student is, in one honest line."""
    results = run.results
    if run.settings.get("kind") == "expression":
        return f"regions in words by {run.settings['captioner']}, read by {results['model']}"
    if results["release"] is None:
        return f"a released checkpoint on {results['model']}"
    votes = " and simulated votes" if run.simulated else ""
    trained = f"trained here on {results['triples']} triples of {results['release']}{votes}"
    if results["model"] == "tiny":
        return f"tiny, {results['kind']} · {trained}, from scratch: expect little"
    return f"{results['model']}, {results['kind']} · {trained}"


def learning(store: Store) -> list[dict[str, Any]]:
    """How the newest students learned: losses by step, and their last examples."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student").order_by(Run.id.desc())
        found = [(run.name, run.status) for run in session.scalars(query.limit(_MOST_RUNS))]
    told = []
    for name, status in found:
        log = lines(runs.folder(store, name))
        if not log:
            continue
        every = max(1, len(log) // _MOST_POINTS)
        looks = [line for line in log if "held-out loss" in line]
        told.append(
            {
                "name": name,
                "status": status,
                "loss": [[one["step"], one["loss"]] for one in log[::every]],
                "held-out loss": [[one["step"], one["held-out loss"]] for one in looks],
                "examples": [{"step": one["step"], "of": one["examples"]} for one in looks],
            }
        )
    return told


def latest(store: Store) -> dict[str, Any] | None:
    """How far the student is that learns now."""
    with store.read() as session:
        query = select(Run).where(Run.kind == "student", Run.status == "running")
        run = session.scalars(query.order_by(Run.id.desc())).first()
    if run is None:
        return None
    log = lines(runs.folder(store, run.name))
    last = log[-1] if log else {"step": 0, "loss": None}
    steps = int(run.settings["steps"])
    return {"name": run.name, "step": last["step"], "steps": steps, "loss": last["loss"]}


def errors(store: Store, student: str, benchmark: str, first: int) -> dict[str, Any]:
    """Items that a student got wrong, with what it chose and what is right."""
    found = evaluate.errors(store, student, benchmark, first=first, most=_MOST_ERRORS)
    rows = [
        {
            "key": row["key"],
            "picture": _seen(row),
            "asked": [
                {"question": question, "said": said, "right": _right(truth, choices)}
                for (question, said), (_, choices, truth) in zip(
                    evaluate.chosen(row), row["questions"], strict=True
                )
            ],
        }
        for row in found["rows"]
    ]
    return found | {"rows": rows}


def _seen(row: dict[str, Any]) -> str:
    """An item's picture with its regions, small; empty where its file has gone."""
    try:
        picture = image_files.decode(Path(row["image"]), row["key"])
    except (UserError, OSError):
        return ""
    regions = [Region(int(number), (x1, y1, x2, y2)) for number, x1, y1, x2, y2 in row["regions"]]
    return image_files.to_data_url(
        draw_regions(picture, regions, size=fit_within(*picture.size, _SIDE))
    )


def _right(truth: Any, choices: list[str]) -> str:  # noqa: ANN401 - of a benchmark
    """What is right, where it is one of the choices."""
    return choices[truth] if isinstance(truth, int) and truth < len(choices) else ""
