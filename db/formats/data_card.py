"""A release's data card, in Markdown: what it holds, how it was made, and what is not known."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.schema import Image, Person, Release, ReleaseTriple, Run, Triple, Vote
from db.store import queries
from db.store.session import Store


def card_by_name(store: Store, name: str) -> str:
    """The card of a release by its name; UserError where there is none."""
    with store.read() as session:
        release = queries.by_name(session, Release, name)
        return "\n".join([*card_lines(session, release), ""])


def card_lines(session: Session, release: Release) -> list[str]:
    """The lines of a card. Whatever a text says, it is code on one line here, not Markdown."""
    run = session.get_one(Run, release.run_id)
    return [
        f"# {code_span(release.name)}",
        "",
        "Triples (question, answer, rationale) that point at regions of images by number, `[3]`.",
        "",
        "## How it was chosen",
        "",
        f"- {release.kept:,} triples that score {release.threshold:.4g} or more.",
        f"- Critic: {code_span(run.name)}, {code_span(str(run.settings.get('kind', 'baseline')))}.",
        *_limits(release.selection),
        *([f"- Why: {code_span(release.note)}"] if release.note else []),
        *(["- **The critic learned from simulated votes.**"] if release.simulated else []),
        "",
        "## How good it is",
        "",
        "Estimated on labelled triples of test images, 95 % intervals by image.",
        "",
        *(f"- {name}: {estimate_text(value)}" for name, value in release.estimate.items()),
        f"- acceptable without a critic: {_share(run.results.get('acceptance'))}",
        *_certified_lines(release.selection.get("promised")),
        "",
        "## What it is made of",
        "",
        *_counted(session, release, "written by", Triple.model),
        *_counted(session, release, "prompt", Triple.prompt_version),
        *_counted(session, release, "source", Triple.source),
        *_counted(session, release, "kind of question", Triple.kind),
        *_votes(session, run),
        *_licences(session, release),
        "",
        "## What is not known",
        "",
        "- Which of them people would reject: nobody looked at most, the share is an estimate.",
        "- Labels are what most annotators said; where they err alike, so does every figure.",
    ]


def _limits(selection: dict[str, Any]) -> list[str]:
    words = {
        "top": "the best {} of them",
        "share": "the best share {} of all scored triples",
        "per_image": "at most {} of one image",
        "per_kind": "at most {} of one kind of question",
    }
    return [f"- Limited to {words[k].format(v)}." for k, v in selection.items() if k in words]


def _certified_lines(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    on = f"{found['labelled']} labelled triples of {found['images']} sealed calibration images"
    return [
        f"- certified: precision above {found['target']}, confidence {found['confidence']}, {on}"
    ]


def _kept(release: Release) -> Select[Any]:
    return select(ReleaseTriple.triple_id).where(ReleaseTriple.release_id == release.id)


def _counted(session: Session, release: Release, what: str, column: Any) -> list[str]:  # noqa: ANN401 - a column
    counts = session.execute(
        select(column, func.count())
        .where(Triple.id.in_(_kept(release)))
        .group_by(column)
        .order_by(func.count().desc(), column)
    )
    return [f"- {n:,} triples: {what} {code_span(value or 'not stated')}" for value, n in counts]


def _votes(session: Session, run: Run) -> list[str]:
    query = (
        select(func.count(), func.count(Vote.person_id.distinct()))
        .join(Person, Person.id == Vote.person_id)
        .where(Vote.withdrawn.is_(None), Vote.decision != "skip")
    )
    votes, people = session.execute(
        query if run.simulated else query.where(~Person.simulated)
    ).one()
    labels = code_span(run.settings.get("labels") or "the majority")
    return [f"- The critic learned from {votes:,} votes of {people} annotators; labels: {labels}"]


def _licences(session: Session, release: Release) -> list[str]:
    images = select(Triple.image_id).where(Triple.id.in_(_kept(release)))
    counts = session.execute(
        select(Image.licence, func.count())
        .where(Image.id.in_(images))
        .group_by(Image.licence)
        .order_by(func.count().desc(), Image.licence)
    )
    return [f"- {n:,} images: licence {code_span(name or 'not stated')}" for name, n in counts]


def code_span(text: str) -> str:
    """A text on one line, as code: nothing in it is Markdown."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "`" + words.replace("`", "'")[:200] + "`"


def estimate_text(estimate: dict[str, Any] | None) -> str:
    """An estimate with its interval, in words where there is none."""
    if estimate is None or estimate["value"] is None:
        return "unknown"
    low, high = (
        f"{bound:.3f}" if bound is not None else "?"
        for bound in estimate["interval"] or (None, None)
    )
    return f"{estimate['value']:.3f} [{low}, {high}]"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"
