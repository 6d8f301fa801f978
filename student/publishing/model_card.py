"""A student's model card, in Markdown: what it learned from, how, and how well."""

from typing import Any

from sqlalchemy.orm import Session

from db.formats.data_card import card_lines as release_card
from db.formats.data_card import code_span, estimate_text
from db.schema import Release, Run
from db.store import queries
from student.asking.confidence import Confidence

_FIGURES = ("held-out loss", "loss with another picture", "weights that learned", "frozen weights")


def card(session: Session, run: Run) -> str:
    """The card of a run that is done. Whatever a text says, it is code on one line here."""
    results, settings = run.results, run.settings
    kind = settings["kind"]
    lines = [
        "---",
        "library_name: lskd-studio",
        "pipeline_tag: image-text-to-text",
        "---",
        "",
        f"# {code_span(run.name)}",
        "",
        "Answers questions about regions of an image, which are numbered in the picture and in the",
        "text, `[0]`. After Localized Symbolic Knowledge Distillation (NeurIPS 2023).",
        "",
        "## How it was made",
        "",
        f"- Base: {code_span(settings['model'])}, kind: {code_span(kind)}.",
        _learned(run),
        f"- Instructions beside them: {results.get('instructions', 0):,}.",
        *(["- **The release's critic learned from simulated votes.**"] if run.simulated else []),
        *(f"- {name}: {_number(results[name])}" for name in _FIGURES if name in results),
        "",
        "## How sure it is",
        "",
        _confidence(results.get("confidence")),
        "",
        "## How good it is",
        "",
        *(_benchmarks(results.get("benchmarks", {})) or ["No benchmark was run."]),
        "",
        "## Settings",
        "",
        *(f"- {name}: {code_span(str(value))}" for name, value in settings.items()),
        "",
        *_release(session, results["release"]),
        "",
    ]
    return "\n".join(lines)


def _release(session: Session, name: str | None) -> list[str]:
    """The release's own card, one level down."""
    if name is None:
        return ["It was converted: what it learned from is not in this store."]
    told = release_card(session, queries.by_name(session, Release, name))
    return [
        "## What it learned from",
        "",
        *(f"#{line}" if line.startswith("#") else line for line in told),
    ]


def _learned(run: Run) -> str:
    if run.results["release"] is None:
        return "- A released checkpoint, converted onto its base."
    triples, release = run.results["triples"], code_span(run.results["release"])
    steps, batch = run.settings["steps"], run.settings["batch"]
    return f"- Learned from {triples:,} triples of {release} in {steps:,} steps of {batch}."


def _confidence(found: dict[str, Any] | None) -> str:
    if not found:
        return "Nothing was there to calibrate it on: it never says that it cannot tell."
    never = (
        ""
        if Confidence(**found).tells
        else " That tells nothing: it never says that it cannot tell."
    )
    return (
        f"Calibrated on {found['right']} triples that people or the critic accept and"
        f" {found['wrong']} that they reject, AUROC {found['auroc']:.2f}.{never}"
    )


def _benchmarks(found: dict[str, Any]) -> list[str]:
    return [f"- {code_span(name)}: {estimate_text(one)}" for name, one in found.items()]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
