"""Students by kind, and students saved in folders."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from regions.errors import InvalidError, NotFoundError, UserError
from student.models.protocol import TrainableStudent
from student.settings import TrainSettings

SETTINGS_FILE = "student.json"

# Model classes are imported on use, so that pages and commands start without torch.


def student_class(kind: str) -> Any:  # noqa: ANN401 - classes that share a protocol
    """Return the class of trainable students of a kind; InvalidError for an unknown kind."""
    if kind == "generative":
        from student.models.generative import GenerativeStudent

        return GenerativeStudent
    if kind == "discriminative":
        from student.models.discriminative import DiscriminativeStudent

        return DiscriminativeStudent
    if kind == "chat":
        from student.models.chat import ChatStudent

        return ChatStudent
    raise InvalidError(
        f"a student of kind {kind!r} cannot be trained", hint="ask it, or evaluate it"
    )


def student_folder(run_folder: Path) -> Path:
    """Return the folder of a run's student.

    The first release saved students in the run's folder itself.
    """
    return run_folder if is_saved_in(run_folder) else run_folder / "student"


def is_saved_in(folder: Path) -> bool:
    """Whether a folder holds a student."""
    return (folder / SETTINGS_FILE).is_file()


def load(folder: Path, settings: TrainSettings | None = None) -> TrainableStudent:
    """Load a student from a folder; UserError if there is none or its base model is missing."""
    settings = settings or load_settings(folder)
    student: TrainableStudent = student_class(settings.kind).load(folder, settings)
    return student


def save(student: TrainableStudent, folder: Path) -> None:
    """Write a student and its settings into an empty folder."""
    from blip2.training.loading import save_errors

    with save_errors(folder):
        student.save(folder)
        settings = json.dumps(dataclasses.asdict(student.settings))
        (folder / SETTINGS_FILE).write_text(settings, "utf-8")


def load_settings(folder: Path) -> TrainSettings:
    """Return the settings that a saved student was trained with; UserError if there are none."""
    try:
        stored = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
        if stored.keys() == {"base"}:  # the first release
            return TrainSettings(release="", kind="generative", model=stored["base"])
        return TrainSettings.from_stored(stored)
    except FileNotFoundError as error:
        raise NotFoundError(
            "no student is saved in this folder", where=str(folder), hint="train it again"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            "this student was saved by an incompatible version",
            where=str(folder),
            hint="train it again",
        ) from error
