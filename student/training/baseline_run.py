"""Runs of the caption baseline, which need no training."""

from dataclasses import dataclass

from db.store import runs
from db.store.results import to_json
from db.store.session import Store
from student.models.caption_baseline import KIND
from student.results import StudentResults


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """A run that was created."""

    run: str


def create_baseline_run(
    store: Store, name: str, captioner: str, model: str, base_url: str
) -> CreatedRun:
    """Create a run of the baseline, which can be asked and evaluated at once."""
    settings = {"kind": KIND, "captioner": captioner, "model": model, "base_url": base_url}
    with store.write() as session:
        run = runs.start(session, "student", settings=settings, name=name)
        runs.finish(session, run.id, to_json(StudentResults(model=model, kind=KIND)))
        (runs.folder(store, run.name) / "student").mkdir(parents=True, exist_ok=True)
        return CreatedRun(run.name)
