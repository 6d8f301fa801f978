"""Training and evaluating a critic: one run, read downwards."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from critic.baseline import Baseline
from critic.examples import examples
from critic.protocol import Critic, Example, Verdict
from critic.score import score_new
from critic.settings import BASELINE, Blip2Settings, TrainSettings
from critic.thresholds import (
    Curve,
    average_precision,
    bands,
    bootstrap,
    curve,
    precision_in_top,
)
from db import keys, runs
from db.labels import Label, labels, stored
from db.schema import Part, Run
from db.session import Store
from regions.errors import UserError

LEAST_LABELLED = 40
LEAST_OF_EACH = 5
"""Accepted and rejected triples needed among those to learn from, and again to test on: 2."""

_MOST_POINTS = 400


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far the labels go; `missing` says what is needed before a critic can learn."""

    labelled: int
    accepted: int
    images: int
    missing: str | None


def readiness(
    session: Session, *, labelling: str = "", simulated: bool = False, seed: int = 0
) -> Readiness:
    """Whether there are votes enough. The split by image is stored as it is asked for."""
    found, _ = _labels(session, labelling, simulated=simulated)
    parts = runs.split(session, seed=seed)
    by_part = _by_part(session, found, parts)
    train, test = by_part["train"], by_part["test"]
    accepted = sum(label.accept for label in found.values())
    missing: str | None
    if len(found) < LEAST_LABELLED:
        more = LEAST_LABELLED - len(found)
        missing = f"{more} more labelled triples: {len(found)} of {LEAST_LABELLED} are there"
    else:
        missing = _lacking(train, "to learn from", LEAST_OF_EACH) or _lacking(test, "to test on", 2)
    images = {image for members in by_part.values() for image, _ in members}
    return Readiness(len(found), accepted, len(images), missing)


def train(
    store: Store,
    settings: TrainSettings,
    progress: Callable[[int, int], None] = lambda *_: None,
    *,
    blip2: Blip2Settings | None = None,
) -> Run:
    """Learn from the labels of train images, test on those of test images, score every triple.

    Labels of calibration images are not looked at: they are kept for thresholds that promise
    something. UserError while there are too few votes.
    """
    looks = blip2 or Blip2Settings()
    with store.write() as session:
        ready = readiness(
            session, labelling=settings.labels, simulated=settings.simulated, seed=settings.seed
        )
    if ready.missing:
        raise UserError(f"too few votes: {ready.missing}", todo="label more, or see --simulated")

    with store.write() as session:
        found, simulated = _labels(session, settings.labels, simulated=settings.simulated)
        parts = runs.split(session)
        data = _data(session, found)
        run = runs.start(
            session,
            "critic",
            settings=dataclasses.asdict(settings) | dataclasses.asdict(looks),
            name=settings.name,
            seed=settings.seed,
            fingerprint=keys.fingerprint(
                [i, found[i].accept, parts[data[i].image_id]] for i in sorted(data)
            ),
            simulated=simulated,
        )
        run_id, name = run.id, run.name
    with runs.failing(store, run_id):
        learn = [i for i, example in data.items() if parts[example.image_id] == "train"]
        critic = _made(settings, looks, [data[i] for i in learn])
        critic.fit(
            [data[i] for i in learn],
            [Verdict(found[i].accept, found[i].qa, found[i].rationale) for i in learn],
            np.random.default_rng(settings.seed),
            progress,
        )
        folder = runs.folder(store, name)
        folder.mkdir(parents=True, exist_ok=True)
        critic.save(folder)

        held = [i for i, example in data.items() if parts[example.image_id] == "test"]
        results = evaluation(
            [data[i] for i in held],
            np.array([found[i].accept for i in held]),
            critic.score([data[i] for i in held]),
            resamples=settings.resamples,
            rng=np.random.default_rng(settings.seed),
        )
        results |= {"labelled": len(found), "learned from": len(learn), "tested on": len(held)}
        results["scored"] = score_new(store, run_id, critic, progress)
        with store.write() as session:
            runs.finish(session, run_id, results)
    with store.read() as session:
        return session.get_one(Run, run_id)


def _made(settings: TrainSettings, looks: Blip2Settings, examples: Sequence[Example]) -> Critic:
    """A critic of the kind that was chosen, before it has learned."""
    if looks.model == BASELINE:
        return Baseline(settings.folds)
    from critic.blip2 import Blip2Critic, text_of

    texts = [text_of(e.question, e.answer, e.rationale) for e in examples]
    return Blip2Critic.new(looks, texts, settings.seed)


def at_thresholds(
    store: Store, run_name: str | None, threshold: float | None
) -> list[dict[str, Any]]:
    """The curve of a run (None: the newest) as rows, at each tenth or at one threshold."""
    with store.read() as session:
        table = runs.newest(session, "critic", run_name).results["curve"]
    rows = []
    for at in [threshold] if threshold is not None else [step / 10 for step in range(11)]:
        i = next((i for i, t in enumerate(table["threshold"]) if t >= at), None)
        row: dict[str, Any] = {"threshold": at}
        for name in ("precision", "recall", "f1"):
            row[name] = None if i is None else table[name][i]
            row[f"{name} interval"] = None if i is None else table[f"{name} interval"][i]
        rows.append(row | {"kept": 0.0 if i is None else table["kept"][i]})
    return rows


def evaluation(
    tested: Collection[Example],
    accepted: NDArray[np.bool_],
    scores: NDArray[np.float64],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Figures of a critic on labelled test triples, as JSON: nan is null."""
    images = np.array([example.image_id for example in tested])
    found = curve(accepted, scores)
    points = np.unique(np.linspace(0, len(found.thresholds) - 1, _MOST_POINTS).astype(int))
    thresholds = found.thresholds[points]
    intervals = bands(accepted, scores, images, thresholds, resamples=resamples, rng=rng)
    return {
        "average precision": average_precision(accepted, scores),
        "average precision interval": bootstrap(
            accepted, scores, images, average_precision, resamples=resamples, rng=rng
        ),
        "acceptance": float(accepted.mean()),
        "precision in top fifth": precision_in_top(accepted, scores),
        "precision in top fifth interval": bootstrap(
            accepted, scores, images, precision_in_top, resamples=resamples, rng=rng
        ),
        "test images": len(set(images.tolist())),
        "curve": _table(found, points, intervals),
    }


def _table(
    found: Curve, points: NDArray[np.int64], intervals: dict[str, NDArray[np.float64]]
) -> dict[str, Any]:
    arrays = {
        "threshold": found.thresholds,
        "precision": found.precision,
        "recall": found.recall,
        "f1": found.f1,
        "kept": found.kept,
    }
    return {name: _json(array[points]) for name, array in arrays.items()} | {
        f"{name} interval": _json(interval) for name, interval in intervals.items()
    }


def _json(array: NDArray[np.float64]) -> list[Any]:
    """An array as JSON takes it: undefined values are None."""
    if array.ndim > 1:
        return [_json(row) for row in array]
    return [None if np.isnan(value) else round(float(value), 6) for value in array]


def _labels(session: Session, labelling: str, *, simulated: bool) -> tuple[dict[int, Label], bool]:
    """Labels of a labelling, or the majority; and whether simulated votes had a part in them."""
    if labelling:
        return stored(session, labelling)
    return labels(session, simulated=simulated), simulated


def _data(session: Session, found: dict[int, Label]) -> dict[int, Example]:
    return {
        triple_id: example
        for ids, chunk in examples(session, found.keys())
        for triple_id, example in zip(ids, chunk, strict=True)
    }


def _by_part(
    session: Session, found: dict[int, Label], parts: dict[int, Part]
) -> dict[Part, list[tuple[int, bool]]]:
    """Image and label of each labelled triple, by part."""
    by_part: dict[Part, list[tuple[int, bool]]] = {"train": [], "calibration": [], "test": []}
    for triple_id, example in _data(session, found).items():
        by_part[parts[example.image_id]].append((example.image_id, found[triple_id].accept))
    return by_part


def _lacking(members: list[tuple[int, bool]], purpose: str, least: int) -> str | None:
    accepted = sum(accept for _, accept in members)
    for what, have in (("accepted", accepted), ("rejected", len(members) - accepted)):
        if have < least:
            return f"{least - have} more {what} triples {purpose}: {have} of {least} are there"
    if len({image for image, _ in members}) < 2:  # noqa: PLR2004 - intervals are over images
        return f"labels on a second image {purpose}"
    return None
