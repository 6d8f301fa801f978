"""Training a critic: one run, read downwards."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blip2.training import distributed
from critic.features.examples import examples, sources
from critic.models import registry
from critic.models.protocol import Critic, Example, Verdict
from critic.settings import PictureSettings, TrainSettings
from critic.thresholds.evaluation import evaluation
from critic.thresholds.labelled_scores import Evidence, Labelled, drawn_since, labelled, labels_of
from critic.training.score import score_new
from db.schema import Call, Judgement, Run
from db.store import keys, runs
from db.store.locks import exclusive_lock
from db.store.session import Store
from regions.errors import UserError
from regions.progress import Progress, no_progress

LEAST_LABELLED = 40
LEAST_OF_EACH = 5
"""Accepted and rejected triples needed among those to learn from, and again to test on: 2."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far the labels go; `missing` says what is needed before a critic can learn."""

    labelled: int
    accepted: int
    images: int
    missing: str | None


def readiness(session: Session, *, labelling: str = "", simulated: bool = False) -> Readiness:
    """Whether there are votes enough. The split by image is stored as it is asked for."""
    found, _ = labels_of(session, {"labels": labelling}, simulated=simulated)
    return _readiness(labelled(session, found))


def train(
    store: Store,
    settings: TrainSettings,
    progress: Progress = no_progress,
    *,
    looks: PictureSettings | None = None,
) -> Run:
    """Learn from the labels of train images, test on those of test images, score every triple.

    Labels of calibration images are not looked at: they are kept for thresholds that promise
    something. A run that was stopped goes on where the same settings meet the same labels.
    UserError while there are too few votes.
    """
    looks = looks or PictureSettings()
    settings.check()
    prepared = _Prepared(store, settings, looks)
    if not distributed.is_main():
        # Its part is to learn; whoever leads writes down what comes of it.
        prepared.learn(progress)
        return prepared.run()
    with (
        exclusive_lock(store, f"training {prepared.name}"),
        runs.mark_failed_on_error(store, prepared.run_id),
    ):
        critic = prepared.learn(progress)
        prepared.save(critic)
        results = prepared.results(critic)
        with store.write() as session:
            session.get_one(Run, prepared.run_id).results = results
        results |= score_new(store, prepared.run_id, critic, progress)
        with store.write() as session:
            runs.finish(session, prepared.run_id, results)
        for file in prepared.keep.glob("*"):
            file.unlink()
    return prepared.run()


def foreseen(store: Store, settings: TrainSettings, looks: PictureSettings) -> dict[str, Any]:
    """What memory and time a BLIP-2 critic would take; nothing is written."""
    if settings.kind != "blip2":
        raise UserError(f"no forecast for {settings.kind!r}", hint="it takes seconds: train it")
    from critic.training.resource_estimate import forecast

    settings.check()
    with store.write() as session:  # images that came since are split now
        found, _ = labels_of(session, {"labels": settings.labels}, simulated=settings.simulated)
        known = labelled(session, found)
        if missing := _readiness(known).missing:
            raise UserError(f"too few votes: {missing}", hint="label more, or see --simulated")
        learn = {i: one for i, one in known.items() if one.part == "train"}
        data = _data(session, learn, {})
    labels = [learn[i].label for i in data]
    verdicts = [Verdict(label.accept, label.qa, label.rationale) for label in labels]
    return forecast(looks, list(data.values()), verdicts, seed=settings.seed)


class _Prepared:
    """Labels and examples of one training, and its run: new, or one that was stopped."""

    def __init__(self, store: Store, settings: TrainSettings, looks: PictureSettings) -> None:
        self._store, self._settings, self._looks = store, settings, looks
        with store.read() as session:
            of = sources(session, registry.runs_of(settings.of))
        chosen = dataclasses.asdict(settings) | dataclasses.asdict(looks)
        self.run_id, self.name = distributed.broadcast(lambda: self._begun(chosen))
        with store.read() as session:
            found, _ = labels_of(session, chosen, simulated=settings.simulated)
            known = labelled(session, found)
            self._labelled = known
            self._data = _data(session, known, of)
            self._since = drawn_since(session, self.name)
            self._dollars = _dollars(session, of)
        self.folder = runs.folder(store, self.name)
        self.keep = self.folder / "unfinished"

    def _begun(self, chosen: Mapping[str, Any]) -> tuple[int, str]:
        settings = self._settings
        with self._store.write() as session:
            found, simulated = labels_of(session, chosen, simulated=settings.simulated)
            known = labelled(session, found)
            ready = _readiness(known)
            if ready.missing:
                todo = "label more, or see --simulated"
                raise UserError(f"too few votes: {ready.missing}", hint=todo)
            fingerprint = keys.fingerprint(
                [i, one.label.accept, one.part] for i, one in known.items()
            )
            run = runs.start_or_resume(
                session,
                "critic",
                settings=chosen,
                name=settings.name,
                seed=settings.seed,
                fingerprint=fingerprint,
                simulated=simulated,
            )
            return run.id, run.name

    def learn(self, progress: Progress) -> Critic:
        """A critic that has learned from the labels of train images."""
        learn = [i for i in self._data if self._labelled[i].part == "train"]
        told = [self._labelled[i].label for i in learn]
        data = [self._data[i] for i in learn]
        critic = registry.made(self._settings, self._looks, data)
        verdicts = [Verdict(label.accept, label.qa, label.rationale) for label in told]
        rng = np.random.default_rng(self._settings.seed)
        try:
            critic.fit(data, verdicts, rng, progress, self.keep)
        except UserError as error:
            if distributed.is_main() and critic.notes.get("epochs"):
                self.save(critic)
                todo = f"{error.hint}; its best state is in {self.folder}, for --model"
                raise UserError(error.problem, where=error.where, hint=todo) from error
            raise
        return critic

    def save(self, critic: Critic) -> None:
        """Keep what was learned."""
        self.folder.mkdir(parents=True, exist_ok=True)
        critic.save(self.folder)

    def results(self, critic: Critic) -> dict[str, Any]:
        """Figures on the test images' labelled triples that chance chose."""
        test = [i for i in self._data if self._labelled[i].part == "test"]
        tested = [i for i in test if self._since.get(i, 0.0) <= 0]
        if missing := _lacking(
            [self._labelled[i] for i in tested], "drawn by chance to test on", 2
        ):
            raise UserError(f"too few votes: {missing}", hint="label a batch in random order")
        evidence = Evidence(
            np.array(tested),
            np.array([self._labelled[i].image_id for i in tested]),
            np.array([self._labelled[i].label.accept for i in tested]),
            critic.score([self._data[i] for i in tested]),
            np.zeros(len(tested)),
        )
        settings = self._settings
        found = evaluation(
            evidence, resamples=settings.resamples, rng=np.random.default_rng(settings.seed)
        )
        parts = [one.part for one in self._labelled.values()]
        return {
            **found,
            **critic.notes,
            "labelled": len(parts),
            "learned from": parts.count("train"),
            "tested on": len(tested),
            "not drawn by chance": len(test) - len(tested),
            "dollars per 1,000 triples": self._dollars,
        }

    def run(self) -> Run:
        """The run as it stands."""
        with self._store.read() as session:
            return session.get_one(Run, self.run_id)


def _data(
    session: Session, known: Mapping[int, Labelled], of: Mapping[str, int]
) -> dict[int, Example]:
    return {
        triple_id: example
        for ids, chunk in examples(session, known.keys(), of=of)
        for triple_id, example in zip(ids, chunk, strict=True)
    }


def _dollars(session: Session, of: Mapping[str, int]) -> float:
    """What the judgements that it is an average of have cost, for a thousand triples."""
    total = 0.0
    for run_id in of.values():
        cost = session.scalar(select(func.sum(Call.cost)).where(Call.run_id == run_id)) or 0
        judged = session.scalar(select(func.count()).where(Judgement.run_id == run_id)) or 0
        total += cost / 1e6 / judged * 1000 if judged else 0.0
    return round(total, 6)


def _readiness(known: Mapping[int, Labelled]) -> Readiness:
    train = [one for one in known.values() if one.part == "train"]
    test = [one for one in known.values() if one.part == "test"]
    missing: str | None
    if len(known) < LEAST_LABELLED:
        more = LEAST_LABELLED - len(known)
        missing = f"{more} more labelled triples: {len(known)} of {LEAST_LABELLED} are there"
    else:
        missing = _lacking(train, "to learn from", LEAST_OF_EACH) or _lacking(test, "to test on", 2)
    accepted = sum(one.label.accept for one in known.values())
    return Readiness(len(known), accepted, len({one.image_id for one in known.values()}), missing)


def _lacking(members: list[Labelled], purpose: str, least: int) -> str | None:
    accepted = sum(one.label.accept for one in members)
    for what, have in (("accepted", accepted), ("rejected", len(members) - accepted)):
        if have < least:
            return f"{least - have} more {what} triples {purpose}: {have} of {least} are there"
    if len({one.image_id for one in members}) < 2:  # noqa: PLR2004 - intervals are over images
        return f"labels on a second image {purpose}"
    return None
