"""Publishing a student: a folder with its model card, and the model hub."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from db.store import runs
from db.store.files import MANIFEST, atomic_folder
from db.store.session import Store
from regions.errors import UserError
from student.models import registry
from student.publishing import model_card
from student.results import RECORDS_FOLDER


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What was published."""

    run: str
    folder: str
    files: int
    hub: str | None = None
    """URL of the commit on the model hub."""


def publish(
    store: Store, run_name: str | None, out: Path, *, merged: bool, hub: str | None
) -> PublishResult:
    """Write a run's student (None: the newest run) and its card into a new folder.

    `merged` writes the whole model in the format of transformers, not only what was trained.
    UserError if the folder is not empty or the hub refuses the upload.
    """
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
        card = model_card.card(session, run)
    student_folder = registry.student_folder(runs.folder(store, run.name))
    with atomic_folder(out) as new:
        if merged:
            from blip2.training.loading import save_errors

            student = registry.load(student_folder)
            with save_errors(new):
                student.save_merged(new)
        else:
            answers = shutil.ignore_patterns(RECORDS_FOLDER)
            shutil.copytree(student_folder, new, dirs_exist_ok=True, ignore=answers)
        (new / "README.md").write_text(card, "utf-8")
    files = sum(1 for _ in out.rglob("*"))
    return PublishResult(run.name, str(out), files, _push(out, hub) if hub else None)


def _push(folder: Path, name: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=[MANIFEST])
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the hub refused the upload: {reason:.160}",
            where=name,
            hint="check the name, and log in with `hf auth login`",
        ) from error
    return str(commit)
