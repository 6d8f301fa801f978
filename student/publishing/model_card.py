"""A student's model card, in Markdown: data, training and results."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from db.formats.data_card import card_lines, code_span
from db.schema import Release, Run
from db.store import queries
from db.store.results import title
from lskd_console import printable
from student.asking.confidence import Confidence
from student.results import BenchmarkResult, StudentResults, figure_title, results_of

_FIGURES = (
    "held_out_loss",
    "mismatched_image_loss",
    "trainable_parameters",
    "frozen_parameters",
)


def card(session: Session, run: Run) -> str:
    """Return the card of a run that is done. Text from the data is shown as code on one line."""
    results, settings = results_of(run), run.settings
    figures = {name: value for name, value in asdict(results).items() if name in _FIGURES}
    lines = [
        "---",
        "library_name: lskd-studio",
        "pipeline_tag: image-text-to-text",
        "---",
        "",
        f"# {code_span(run.name)}",
        "",
        "Answers questions about regions of an image, which are numbered in the image and in the",
        "text, `[0]`. After Localized Symbolic Knowledge Distillation (NeurIPS 2023).",
        "",
        "## Training",
        "",
        f"- Base model: {code_span(results.model)}, kind: {code_span(results.kind)}.",
        _training(run, results),
        f"- Instructions: {results.instructions:,}.",
        *(["- **The release's critic was trained on simulated votes.**"] if run.simulated else []),
        *(
            f"- {title(name)}: {_number(value)}"
            for name, value in figures.items()
            if value is not None
        ),
        "",
        "## Confidence",
        "",
        _confidence(results.confidence),
        "",
        "## Benchmarks",
        "",
        *(_benchmarks(results.benchmarks) or ["Not evaluated on any benchmark."]),
        "",
        "## Settings",
        "",
        *_settings(settings),
        "",
        *_release(session, results.release),
        "",
    ]
    return "\n".join(lines)


def _release(session: Session, name: str | None) -> list[str]:
    """Return the release's own card, two heading levels down."""
    if name is None:
        return ["Converted from a checkpoint: its training data is not in this store."]
    lines = card_lines(session, queries.by_name(session, Release, name))
    return [
        "## Training data",
        "",
        *(f"##{line}" if line.startswith("#") else line for line in lines),
    ]


def _training(run: Run, results: StudentResults) -> str:
    if results.release is None:
        return "- A released checkpoint, converted onto its base model."
    steps, batch_size = run.settings["steps"], run.settings["batch_size"]
    return (
        f"- Trained on {results.triples:,} triples of {code_span(results.release)}"
        f" for {steps:,} steps of {batch_size}."
    )


def _settings(settings: Mapping[str, Any]) -> list[str]:
    return [
        f"- {name}: {code_span(printable(value))}"
        for name, value in settings.items()
        if value != ""
    ]


def _confidence(confidence: Confidence | None) -> str:
    if confidence is None:
        return "Not calibrated, for lack of labelled triples: the student never abstains."
    never = (
        ""
        if confidence.is_informative
        else " The scores are not informative: the student never abstains."
    )
    return (
        f"Calibrated on {confidence.n_accepted} accepted and {confidence.n_rejected} rejected"
        f" triples, AUROC {confidence.auroc:.2f}.{never}"
    )


def _benchmarks(results: dict[str, BenchmarkResult]) -> list[str]:
    return [
        f"- {code_span(name)}, {figure_title(figure)}: {estimate:.1f} %"
        for name, result in results.items()
        for figure, estimate in result.figures.items()
    ]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
