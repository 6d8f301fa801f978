"""A released student of LAVIS, as one of ours: its weights in a base, asked as any other."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Blip2ForConditionalGeneration

from blip2.model import lavis_checkpoint as lavis
from blip2.training.loading import from_pretrained, save_errors
from db.store import runs
from db.store.session import Store
from regions.errors import UserError
from student.models import registry
from student.models.discriminative import Discriminative
from student.models.generative import Generative
from student.models.protocol import Trainable
from student.settings import TrainSettings

_GIVE = "give the BLIP-2 that the checkpoint was trained on by --base"


def convert(store: Store, file: Path, base: str, name: str, size: int) -> dict[str, Any]:
    """A run that is done, whose student is the checkpoint's; how many weights came from where.

    Checkpoints of the first stage match, those with a language model write. UserError for one of
    another model, or an unknown weight: then there is no run.
    """
    state = lavis.load_state(file)
    writes = lavis.has_language_model(state)
    settings = TrainSettings(
        release="",
        name=name,
        kind="generative" if writes else "discriminative",
        model=base,
        size=size,
        style="lskd",
    )
    student, ours, lacking = (_writer if writes else _matcher)(state, file, settings)
    with store.write() as session:
        run = runs.start(session, "student", settings=dataclasses.asdict(settings), name=name)
        run_id, name = run.id, run.name
    folder = runs.folder(store, name) / "student"
    with runs.mark_failed_on_error(store, run_id):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with save_errors(folder):
            student.whole(folder / "base")
        registry.save(student, folder)
        told = {"weights of the checkpoint": ours, "weights of the base": lacking}
        results = {"release": None, "model": base, "kind": settings.kind, "triples": None, **told}
        with store.write() as session:
            runs.finish(session, run_id, results)
    return {"run": name, "kind": settings.kind, **told}


def _matcher(state: lavis.State, file: Path, settings: TrainSettings) -> tuple[Trainable, int, int]:
    student = Discriminative.named(settings.model, dataclasses.replace(settings, size=0))
    model = student.network.encoder.model
    ours, _, lacking = lavis.apply_to(state, model, settings.size, str(file))
    layers, temperature = lavis.lm_head_state(state)
    if layers:
        missing, _ = student.network.captioner.load_state_dict(layers, strict=False)
        if missing:
            raise UserError(f"what captions lacks {missing[0]}", where=str(file))
    if temperature:
        with torch.no_grad():
            student.network.coldness.fill_(math.log(1 / temperature))
    student.settings, student.size = settings, (settings.size, settings.size)
    return student, len(ours) + len(layers), len(lacking)


def _writer(state: lavis.State, file: Path, settings: TrainSettings) -> tuple[Trainable, int, int]:
    model = from_pretrained(Blip2ForConditionalGeneration, settings.model, _GIVE)
    ours, _, lacking = lavis.apply_to(state, model, settings.size, str(file))
    tokenizer = from_pretrained(AutoTokenizer, settings.model, _GIVE)
    return Generative(model, tokenizer, settings), len(ours), len(lacking)
