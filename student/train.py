"""Training a student on a release: one run, read downwards."""

import dataclasses
import shutil
import time
from collections.abc import Callable

import numpy as np
import torch
from sqlalchemy import select

from db import keys, runs
from db.schema import Release, Run
from db.session import Store
from regions.errors import UserError
from student.blip2 import Blip2Student
from student.data import Kept, Lessons, corpus, kept
from student.settings import TINY, TrainSettings

LEAST = 8
"""Kept triples on images to learn from."""


def train(
    store: Store,
    settings: TrainSettings,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Run:
    """Learn from what a release kept on train and calibration images; test images are held out.

    What is saved appears whole or not at all. UserError for a release that is not there or has too
    few triples, a model that cannot be loaded, and a loss that is not finite.
    """
    start = time.perf_counter()
    with store.write() as session:
        by_part = kept(session, settings.release)
        learn, held = by_part["train"] + by_part["calibration"], by_part["test"]
        if len(learn) < LEAST:
            raise UserError(
                f"{settings.release} kept {len(learn)} triples to learn from; {LEAST} are needed",
                todo="release more, with a lower threshold",
            )
        release = session.scalars(select(Release).where(Release.name == settings.release)).one()
        texts = corpus(session, learn, np.random.default_rng(settings.seed))
        run = runs.start(
            session,
            "student",
            settings=dataclasses.asdict(settings),
            name=settings.name,
            seed=settings.seed,
            fingerprint=keys.fingerprint([t.image_id, *t.texts] for t in learn),
            simulated=release.simulated,
        )
        run_id, name = run.id, run.name

    with runs.failing(store, run_id):
        is_tiny = settings.model == TINY
        before = settings.language_steps if is_tiny else 0
        total = before + settings.steps
        if is_tiny:
            student = Blip2Student.tiny(
                texts,
                steps=before,
                seed=settings.seed,
                progress=lambda step: progress(step, total),
            )
        else:
            student = Blip2Student.named(settings.model)

        torch.manual_seed(settings.seed)
        lessons = Lessons(store, student.size)
        batches = lessons.batches(
            learn,
            batch=settings.batch,
            own=settings.own,
            rationale=settings.rationale,
            rng=np.random.default_rng(settings.seed),
        )
        loss = student.fit(
            batches,
            steps=settings.steps,
            rate=settings.rate,
            progress=lambda step, _: progress(before + step, total),
        )

        folder = runs.folder(store, name)
        part = folder.with_name(f"{name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        student.save(part)
        part.replace(folder)

        learning, frozen = student.parameters()
        results = {
            "release": settings.release,
            "model": settings.model,
            "triples": len(learn),
            "held out triples": len(held),
            "loss": loss,
            **_looks(student, lessons, held or learn),
            "weights that learned": learning,
            "frozen weights": frozen,
            "seconds": time.perf_counter() - start,
        }
        with store.write() as session:
            runs.finish(session, run_id, results)
    with store.read() as session:
        return session.get_one(Run, run_id)


def _looks(student: Blip2Student, lessons: Lessons, triples: list[Kept]) -> dict[str, float]:
    """Does it look at the picture? The loss with the right one, and with another image's."""
    some = triples[:32]
    images = [triple.image_id for triple in some]
    others = images[len(images) // 2 :] + images[: len(images) // 2]
    right = [lessons.plain(triple) for triple in some]
    wrong = [lessons.plain(triple, of=other) for triple, other in zip(some, others, strict=True)]
    return {
        "loss, right picture": student.loss(right),
        "loss, another picture": student.loss(wrong),
    }
