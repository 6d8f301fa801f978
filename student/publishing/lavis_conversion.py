"""Conversion of a released LAVIS checkpoint to a run whose student can be asked and evaluated."""

import dataclasses
import math
from pathlib import Path

import torch
from transformers import AutoTokenizer, Blip2ForConditionalGeneration

from blip2.model import lavis_checkpoint as lavis
from blip2.training.loading import from_pretrained, save_errors
from db.store import runs
from db.store.files import replace_folder
from db.store.results import to_json
from db.store.session import Store
from regions.errors import InvalidError
from student.models import registry
from student.models.discriminative import DiscriminativeStudent
from student.models.generative import GenerativeStudent
from student.models.protocol import TrainableStudent
from student.results import StudentResults
from student.settings import TrainSettings

_HINT = "give the BLIP-2 that the checkpoint was trained on by --base"


@dataclasses.dataclass(frozen=True, slots=True)
class ConversionResult:
    """The run that was created, and where the weights of its student come from."""

    run: str
    kind: str
    checkpoint_weights: int
    base_weights: int


def convert(
    store: Store, checkpoint: Path, base: str, name: str, image_size: int
) -> ConversionResult:
    """Create a finished run with the student of a checkpoint.

    Checkpoints of the first stage become discriminative students, those with a language model
    generative ones. UserError, and no run, for a checkpoint of another model or with an unknown
    weight.
    """
    state = lavis.load_state(checkpoint)
    is_generative = lavis.has_language_model(state)
    settings = TrainSettings(
        release="",
        name=name,
        kind="generative" if is_generative else "discriminative",
        model=base,
        image_size=image_size,
        style="lskd",
    )
    build = _generative if is_generative else _discriminative
    student, checkpoint_weights, base_weights = build(state, checkpoint, settings)
    with store.write() as session:
        run = runs.start(session, "student", settings=dataclasses.asdict(settings), name=name)
        run_id, name = run.id, run.name
    folder = runs.folder(store, name)
    with runs.mark_failed_on_error(store, run_id):
        with replace_folder(folder / "student") as new:
            with save_errors(new):
                student.save_merged(new / "base")
            registry.save(student, new)
        results = StudentResults(
            model=base,
            kind=settings.kind,
            checkpoint_weights=checkpoint_weights,
            base_weights=base_weights,
        )
        with store.write() as session:
            runs.finish(session, run_id, to_json(results))
    return ConversionResult(name, settings.kind, checkpoint_weights, base_weights)


def _discriminative(
    state: lavis.State, checkpoint: Path, settings: TrainSettings
) -> tuple[TrainableStudent, int, int]:
    """Return the student, and the number of weights from the checkpoint and from the base model."""
    student = DiscriminativeStudent.from_pretrained(
        settings.model, dataclasses.replace(settings, image_size=0)
    )
    model = student.network.encoder.model
    loaded, _, missing = lavis.apply_to(state, model, settings.image_size, str(checkpoint))
    lm_head, temperature = lavis.lm_head_state(state)
    if lm_head:
        lacking, _ = student.network.lm_head.load_state_dict(lm_head, strict=False)
        if lacking:
            raise InvalidError(
                f"the checkpoint's language-modelling head lacks {lacking[0]}",
                where=str(checkpoint),
            )
    if temperature:
        with torch.no_grad():
            student.network.logit_scale.fill_(math.log(1 / temperature))
    student.settings = settings
    student.image_size = settings.image_size, settings.image_size
    return student, len(loaded) + len(lm_head), len(missing)


def _generative(
    state: lavis.State, checkpoint: Path, settings: TrainSettings
) -> tuple[TrainableStudent, int, int]:
    """Return the student, and the number of weights from the checkpoint and from the base model."""
    model = from_pretrained(Blip2ForConditionalGeneration, settings.model, _HINT)
    loaded, _, missing = lavis.apply_to(state, model, settings.image_size, str(checkpoint))
    tokenizer = from_pretrained(AutoTokenizer, settings.model, _HINT)
    return GenerativeStudent(model, tokenizer, settings), len(loaded), len(missing)
