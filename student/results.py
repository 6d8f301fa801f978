"""What is stored of a student's run: how it was trained, how well it does on benchmarks."""

from dataclasses import dataclass, field

from db.schema import Run
from db.store.results import TITLES, Estimate, from_json, title
from student.asking.confidence import Confidence

RECORDS_FOLDER = "benchmarks"
"""Of a run's answers to benchmarks, within the run's folder."""


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Figures of a student on a benchmark."""

    items: int
    skipped: dict[str, int] = field(default_factory=dict)
    """Number of items that could not be used, by reason."""
    figures: dict[str, Estimate] = field(default_factory=dict)
    """The official figures in per cent, with 95 % intervals by image."""
    seconds: float | None = None
    repeated_keys: int = 0
    """Number of items that share their id with another one; each is answered for itself."""


@dataclass(frozen=True, slots=True)
class StudentResults:
    """Results of a run of kind `student`; a field is None where it does not apply."""

    release: str | None = None
    """None for converted checkpoints and the caption baseline."""
    model: str = ""
    kind: str = "generative"
    triples: int | None = None
    instructions: int = 0
    held_out_loss: float | None = None
    """Nats per token on test images; on training images if the release has none of them."""
    mismatched_image_loss: float | None = None
    """The same loss, each text with the image of another: no higher means the image is ignored."""
    trainable_parameters: int | None = None
    frozen_parameters: int | None = None
    confidence: Confidence | None = None
    truncated_texts: int = 0
    reduced_micro_batch_size: int | None = None
    unreadable_images: int = 0
    """Images that could not be read, by the main process; their examples were left out."""
    unreadable_example: str | None = None
    """The error of one of them."""
    processes: int = 1
    checkpoint_weights: int | None = None
    """Of a converted checkpoint: weights that were taken from it."""
    base_weights: int | None = None
    """Of a converted checkpoint: weights that were taken from the base model."""
    seconds: float | None = None
    benchmarks: dict[str, BenchmarkResult] = field(default_factory=dict)


def results_of(run: Run) -> StudentResults:
    """Return the results of a run of kind `student` that is done."""
    return from_json(StudentResults, run.results)


def figure_title(figure: str) -> str:
    """Return the title of a benchmark's figure, as it stands within a line.

    >>> figure_title("yes_ratio"), figure_title("q_a")
    ('yes ratio', 'Q-A')
    """
    return title(figure) if figure in TITLES else figure.replace("_", " ")
