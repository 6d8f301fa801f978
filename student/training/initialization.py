"""The student that training starts from: pretrained, trained before, or on a tiny base."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from db.store.files import replace_folder
from db.store.session import Store
from regions.errors import InvalidError
from student.models import registry
from student.models.protocol import TrainableStudent
from student.settings import TINY, TrainSettings
from student.training.corpus import Corpus
from student.training.tiny_base import tiny_base

_KEPT_SETTINGS = ("model", "image_size", "style", "region_input", "lora_rank")
"""Settings of a trained student that further training cannot change."""


def initial_student(
    store: Store,
    settings: TrainSettings,
    corpus: Corpus,
    checkpoint_dir: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> TrainableStudent:
    """Return the student to train; `settings.model` is a model, a student's folder, or `tiny`.

    A tiny base is saved in `checkpoint_dir`, for a run that is resumed. UserError if a model
    cannot be loaded.
    """
    student_class = registry.student_class(settings.kind)
    student: TrainableStudent
    if settings.model != TINY:
        folder = Path(settings.model)
        if registry.is_saved_in(folder):
            return _trained_student(folder, settings)
        student = student_class.from_pretrained(settings.model, settings)
        return student
    if settings.kind == "chat":
        raise InvalidError("there is no tiny chat model", hint="name a model by --model")
    base = checkpoint_dir / "base" if checkpoint_dir else None
    if base is not None and base.is_dir():
        student = student_class.from_pretrained(str(base), settings)
        return student
    student = student_class.from_tiny_base(tiny_base(store, corpus, settings, progress), settings)
    if base is not None:
        with replace_folder(base) as new:
            student.save_merged(new)
    return student


def _trained_student(folder: Path, settings: TrainSettings) -> TrainableStudent:
    """Return a trained student, to be trained further with other settings."""
    former = registry.load_settings(folder)
    if former.kind != settings.kind:
        raise InvalidError(
            f"this student is of kind {former.kind}",
            where=str(folder),
            hint=f"use --kind {former.kind}",
        )
    kept = {name: getattr(former, name) for name in _KEPT_SETTINGS}
    return registry.load(folder, dataclasses.replace(settings, **kept))
