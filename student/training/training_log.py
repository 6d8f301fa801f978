"""Log of a training run: one JSON line per step, and TensorBoard's event files."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blip2.training import distributed
from db.store import json_lines
from db.store.results import from_json

LOG_FILE = "log.jsonl"
_FORMER_NAMES = {"rate": "learning_rate", "held-out loss": "held_out_loss", "examples": "samples"}
_FORMER_SAMPLE_NAMES = {"image": "image_id", "people": "reference", "student": "prediction"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A student's answer to a held-out question during training."""

    image_id: int
    question: str
    reference: str
    prediction: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation of a student during training; empty without held-out triples."""

    held_out_loss: float | None = None
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of training, with an evaluation where there was one."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    held_out_loss: float | None = None
    samples: tuple[Sample, ...] = ()


class TrainingLog:
    """Writes step records; only the main process of a distributed run writes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._is_writing = folder, False

    def open_at(self, step: int) -> None:
        """Drop records after `step`, which a resumed run repeats, and append from there."""
        self._is_writing = distributed.is_main()
        if not self._is_writing:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_log(self._folder) if record.step <= step]
        file = self._folder / LOG_FILE
        file.write_text("".join(json_lines.to_line(_as_row(r)) for r in kept), "utf-8")
        self._file = file.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step + 1)

    def write(self, record: StepRecord) -> None:
        """Append a record."""
        if not self._is_writing:
            return
        self._file.write(json_lines.to_line(_as_row(record)))
        self._file.flush()
        for name in ("loss", "learning_rate", "held_out_loss"):
            value = getattr(record, name)
            if value is not None:
                self._board.add_scalar(name, value, record.step)
        for n, sample in enumerate(record.samples, start=1):
            text = "\n\n".join(f"    {name}: {value}" for name, value in asdict(sample).items())
            self._board.add_text(f"sample {n}", text, record.step)

    def close(self) -> None:
        """Close the files."""
        if self._is_writing:
            self._file.close()
            self._board.close()


def read_log(folder: Path) -> list[StepRecord]:
    """Return the records of a run so far; a partial last line is ignored."""
    return [
        from_json(StepRecord, _current_names(row))
        for row in json_lines.read_rows(folder / LOG_FILE)
    ]


def _as_row(record: StepRecord) -> dict[str, Any]:
    row = asdict(record)
    return {name: value for name, value in row.items() if value is not None and value != ()}


def _current_names(row: dict[str, Any]) -> dict[str, Any]:
    renamed = {_FORMER_NAMES.get(name, name): value for name, value in row.items()}
    samples = [
        {_FORMER_SAMPLE_NAMES.get(name, name): value for name, value in sample.items()}
        for sample in renamed.get("samples", ())
    ]
    return renamed | {"samples": samples}
