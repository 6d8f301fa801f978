"""Which students there are: a new one by its kind, a saved one by what lies in its folder."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from db.store.files import replace_folder
from db.store.session import Store
from regions.errors import UserError
from student.models.protocol import Trainable
from student.settings import TINY, TrainSettings
from student.training.corpus import Corpus

ABOUT = "student.json"
"""In a saved student's folder: with which settings it learned."""

# What needs torch is imported by whoever asks for it: commands and pages start without.


def _kind(name: str) -> Any:  # noqa: ANN401 - classes that share a protocol
    if name == "generative":
        from student.models.generative import Generative

        return Generative
    if name == "discriminative":
        from student.models.discriminative import Discriminative

        return Discriminative
    if name == "chat":
        from student.models.chat import Chat

        return Chat
    raise UserError(f"{name} students cannot be trained", hint="they learn nothing")


def made(
    store: Store,
    settings: TrainSettings,
    corpus: Corpus,
    keep: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Trainable:
    """A student before it has learned: of a base by name, tiny, or one that has learned already.

    What is made of a tiny base is left in `keep`, for a run that goes on. UserError for a model
    that cannot be loaded.
    """
    kind = _kind(settings.kind)
    if settings.model != TINY:
        folder = Path(settings.model)
        student: Trainable = (
            continued(folder, settings) if is_in(folder) else kind.named(settings.model, settings)
        )
        return student
    if settings.kind == "chat":
        raise UserError("a chat model is not made here", hint="say which by --model")
    base = keep / "base" if keep else None
    if base is not None and base.is_dir():
        found: Trainable = kind.named(str(base), settings)
        return found
    from student.models.tiny_base import tiny_base

    new = kind.made(tiny_base(store, corpus, settings, progress), settings)
    if base is not None:
        with replace_folder(base) as part:
            new.whole(part)
    made_here: Trainable = new
    return made_here


def is_in(folder: Path) -> bool:
    """Whether a folder holds a student."""
    return (folder / ABOUT).is_file()


def continued(folder: Path, settings: TrainSettings) -> Trainable:
    """A student that has learned, to learn more by other settings."""
    before = settings_in(folder)
    if before.kind != settings.kind:
        raise UserError(
            f"a student of kind {before.kind}", where=str(folder), hint=f"use --kind {before.kind}"
        )
    kept = {name: getattr(before, name) for name in ("model", "size", "style", "told", "rank")}
    return load(folder, dataclasses.replace(settings, **kept))


def load(folder: Path, settings: TrainSettings | None = None) -> Trainable:
    """The student that a folder holds; UserError where there is none, or its base is gone."""
    settings = settings or settings_in(folder)
    student: Trainable = _kind(settings.kind).load(folder, settings)
    return student


def save(student: Trainable, folder: Path) -> None:
    """Write a student and its settings into an empty folder."""
    from blip2.training.loading import save_errors

    with save_errors(folder):
        student.save(folder)
        (folder / ABOUT).write_text(json.dumps(dataclasses.asdict(student.settings)), "utf-8")


def settings_in(folder: Path) -> TrainSettings:
    """With which settings a student was saved; UserError where there is none."""
    try:
        return TrainSettings(**json.loads((folder / ABOUT).read_text("utf-8")))
    except FileNotFoundError as error:
        raise UserError(
            "no student is saved here", where=str(folder), hint="train it anew"
        ) from error
    except (TypeError, ValueError) as error:
        raise UserError(
            "another version wrote this student", where=str(folder), hint="train it anew"
        ) from error
