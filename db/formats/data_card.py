"""The data card of a release in Markdown: contents, origin, estimated quality, limitations."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.labelling.labels import Label, release_labels
from db.schema import Image, Release, ReleaseTriple, Run, Triple, Vote
from db.store import queries
from db.store.releases import Guarantee, ReleaseEstimate, ReleaseSelection
from db.store.results import Estimate, from_json, title
from db.store.session import Store


def card_by_name(store: Store, name: str) -> str:
    """The card of a release by name; NotFoundError for an unknown one."""
    with store.read() as session:
        release = queries.by_name(session, Release, name)
        return "\n".join([*card_lines(session, release), ""])


def card_lines(session: Session, release: Release) -> list[str]:
    """The lines of a card. Texts of users are code spans, so that they cannot add Markdown."""
    run = session.get_one(Run, release.run_id)
    estimate = from_json(ReleaseEstimate, release.estimate)
    selection = from_json(ReleaseSelection, release.selection)
    return [
        f"# {code_span(release.name)}",
        "",
        "Triples (question, answer, rationale) that point at regions of images by number, `[3]`.",
        "",
        "## Selection",
        "",
        f"- {release.kept:,} triples with a score of at least {release.threshold:.4g}.",
        f"- Critic: {code_span(run.name)}, {code_span(str(run.settings.get('kind', 'baseline')))}.",
        *_limits(selection),
        *([f"- Note: {code_span(release.note)}"] if release.note else []),
        *(["- **The critic was trained on simulated votes.**"] if release.simulated else []),
        "",
        "## Estimated quality",
        "",
        "On labelled triples of test images, with 95 % intervals over images.",
        "",
        *_estimates(estimate),
        f"- Acceptance rate without a critic: {_share(run.results.get('acceptance_rate'))}",
        *([] if selection.guarantee is None else [_certified(selection.guarantee)]),
        "",
        "## Contents",
        "",
        *_counted(session, release, "model", Triple.model),
        *_counted(session, release, "prompt", Triple.prompt_version),
        *_counted(session, release, "source", Triple.source),
        *_counted(session, release, "kind of question", Triple.kind),
        *_votes(session, run),
        *_labels(release_labels(session, release).values()),
        *_licences(session, release),
        "",
        "## Limitations",
        "",
        "- Most of these triples were not read by a person; the precision is an estimate.",
        "- Labels are majority decisions; errors that annotators share are in every estimate.",
    ]


def _estimates(estimate: ReleaseEstimate) -> list[str]:
    values = {
        "precision": estimate.precision,
        "recall": estimate.recall,
        "f1": estimate.f1,
        "corrected_precision": estimate.corrected_precision,
    }
    return [
        f"- {title(name)}: {estimate_text(value)}"
        for name, value in values.items()
        if value is not None
    ]


def _limits(selection: ReleaseSelection) -> list[str]:
    limits = {
        "the {} highest-scoring triples": selection.top,
        "the highest-scoring share {} of all scored triples": selection.share,
        "at most {} triples per image": selection.per_image,
        "at most {} triples per kind of question": selection.per_kind,
    }
    return [f"- Limited to {text.format(limit)}." for text, limit in limits.items() if limit]


def _certified(guarantee: Guarantee) -> str:
    return (
        f"- Certified: precision above {guarantee.target} with confidence {guarantee.confidence},"
        f" on {guarantee.labelled_triples} labelled triples of {guarantee.images} calibration"
        " images"
    )


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
    columns = func.count(), func.count(Vote.person_id.distinct())
    query = queries.standing_votes(*columns, simulated=run.simulated)
    votes, people = session.execute(query.where(Vote.decision != "skip")).one()
    labels = code_span(run.settings.get("labels") or "majority")
    return [f"- The critic was trained on {votes:,} votes of {people} annotators; labels: {labels}"]


def _labels(labels: Collection[Label]) -> list[str]:
    """How sure the labels of the kept triples are, if any has one."""
    if not labels:
        return []
    mean = sum(label.probability for label in labels) / len(labels)
    undecided = sum(label.low < 0.5 < label.high for label in labels)  # noqa: PLR2004 - a probability
    line = (
        f"- {len(labels):,} of these triples have labels from votes: probability of acceptance"
        f" {mean:.2f} on average; the 95 % intervals of {undecided:,} contain 0.5"
    )
    return [line]


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
    """A text as a code span on one line, in which nothing is Markdown."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "`" + words.replace("`", "'")[:200] + "`"


def estimate_text(estimate: Estimate | None) -> str:
    """An estimate with its interval; "unknown" where it is undefined."""
    return "unknown" if estimate is None or estimate.value is None else str(estimate)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"
