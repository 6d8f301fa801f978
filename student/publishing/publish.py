"""A trained student as a folder with its card, and on the model hub."""

import shutil
from pathlib import Path
from typing import Any

from db.store import runs
from db.store.files import MANIFEST, atomic_folder
from db.store.session import Store
from regions.errors import UserError
from student.models import registry
from student.publishing import model_card


def publish(
    store: Store, run_name: str | None, out: Path, *, whole: bool, hub: str | None
) -> dict[str, Any]:
    """Write what a run learned (None: the newest), or all of its model, into a new folder.

    UserError for a folder that is not empty, or a hub that refuses.
    """
    with store.read() as session:
        run = runs.newest(session, "student", run_name)
        text = model_card.card(session, run)
    home = runs.folder(store, run.name) / "student"
    with atomic_folder(out) as folder:
        if whole:
            from blip2.training.loading import save_errors

            student = registry.load(home)
            with save_errors(folder):
                student.whole(folder)
        else:
            shutil.copytree(home, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text(text, "utf-8")
    told = {"run": run.name, "folder": str(out), "files": sum(1 for _ in out.rglob("*"))}
    return told | ({"hub": _pushed(out, hub)} if hub else {})


def _pushed(folder: Path, name: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    hub = HfApi()
    try:
        hub.create_repo(name, exist_ok=True)
        found = hub.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=[MANIFEST])
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the hub refuses: {reason:.160}", where=name, hint="see `hf auth login`, or the name"
        ) from error
    return str(found)
