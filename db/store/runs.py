"""Runs of commands, and the split by image, which is stored and shared by critic and student."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from db.schema import Image, Part, Run, RunKind, Split
from db.store import queries
from db.store.clock import now
from db.store.locks import shared_lock
from db.store.session import Store
from regions.errors import InvalidError, NotFoundError

PART_SHARES: Mapping[Part, float] = {"train": 0.6, "calibration": 0.15, "test": 0.25}
"""Share of the images in each part. Calibration labels are not used for tuning."""


def start(
    session: Session,
    kind: RunKind,
    *,
    settings: Mapping[str, Any],
    name: str = "",
    seed: int = 0,
    fingerprint: str = "",
    simulated: bool = False,
) -> Run:
    """Add a run in state `running`; without a name it is called KIND-N. ConflictError if in use."""
    if not name:
        count = session.scalar(select(func.count()).select_from(Run).where(Run.kind == kind)) or 0
        name = f"{kind}-{count + 1}"
    queries.check_unused(session, Run, name)
    run = Run(
        kind=kind,
        name=name,
        status="running",
        settings=dict(settings),
        seed=seed,
        fingerprint=fingerprint,
        simulated=simulated,
        results={},
        started=now(),
    )
    session.add(run)
    session.flush()
    return run


def start_or_resume(
    session: Session,
    kind: RunKind,
    *,
    settings: Mapping[str, Any],
    name: str,
    seed: int,
    fingerprint: str,
    simulated: bool,
) -> Run:
    """Return the unfinished run with equal settings and data in state `running`, or a new one."""
    unfinished = session.scalars(
        select(Run)
        .where(Run.kind == kind, Run.status != "done", Run.fingerprint == fingerprint)
        .order_by(Run.id.desc())
    )
    for run in unfinished:
        if run.settings == settings:
            run.status, run.finished = "running", None
            return run
    return start(
        session,
        kind,
        settings=settings,
        name=name,
        seed=seed,
        fingerprint=fingerprint,
        simulated=simulated,
    )


def finish(session: Session, run_id: int, results: Mapping[str, Any]) -> None:
    """Mark a run done and store its results."""
    run = session.get_one(Run, run_id)
    run.status, run.results, run.finished = "done", dict(results), now()


@contextmanager
def mark_failed_on_error(store: Store, run_id: int) -> Iterator[None]:
    """Work on a run: hold its lock, and mark it failed, with the error's text, if the block raises.

    The lock tells `recovery.recover` that the run has a living process.
    """
    with shared_lock(store, lock_name(run_id)):
        _mark_running(store, run_id)
        try:
            yield
        except BaseException as error:
            with store.write() as session:
                mark_failed(session, run_id, str(error))
            raise


def lock_name(run_id: int) -> str:
    """The name of the lock that a process holds while it works on a run."""
    return f"run {run_id}"


def mark_failed(session: Session, run_id: int, error: str) -> None:
    """Mark a run failed."""
    run = session.get_one(Run, run_id)
    run.status, run.results, run.finished = "failed", {"error": error}, now()


def _mark_running(store: Store, run_id: int) -> None:
    """Mark a run running that was taken for abandoned before its lock was held."""
    with store.read() as session:
        is_failed = session.get_one(Run, run_id).status == "failed"
    if is_failed:
        with store.write() as session:
            run = session.get_one(Run, run_id)
            run.status, run.results, run.finished = "running", {}, None


def folder(store: Store, name: str) -> Path:
    """Return the folder of a run's files; InvalidError for a name that is a path elsewhere."""
    if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise InvalidError(f"{name!r} is not a valid run name", hint="use a name without slashes")
    return store.folder / "runs" / name


def newest(session: Session, kind: RunKind, name: str | None = None) -> Run:
    """Return the finished run of that name, or the newest one; NotFoundError if there is none."""
    query = select(Run).where(Run.kind == kind, Run.status == "done")
    if name is not None:
        query = query.where(Run.name == name)
    run = session.scalar(query.order_by(Run.id.desc()).limit(1))
    if run is None:
        raise NotFoundError(
            f"no {kind} run named {name!r}" if name else f"no {kind} has been trained yet",
            hint=f"see `lskd status`, or run `lskd {kind} train`",
        )
    return run


def split(session: Session, *, seed: int = 0) -> dict[int, Part]:
    """Return the part of every image by id, after assigning images that have none yet.

    They are assigned in random order, each to the part of its duplicates, or else to the one that
    is most below its share.
    """
    parts: dict[int, Part] = dict(session.execute(select(Split.image_id, Split.part)).all())
    unassigned = session.scalars(
        select(Image.id).where(Image.id.not_in(select(Split.image_id))).order_by(Image.id)
    ).all()
    order = np.random.default_rng(seed).permutation(len(unassigned))
    counts = {part: sum(p == part for p in parts.values()) for part in PART_SHARES}
    groups = _duplicate_groups(session) if unassigned else {}
    by_group = {groups[image_id]: part for image_id, part in parts.items() if image_id in groups}
    for image_id in (unassigned[i] for i in order):
        total = sum(counts.values()) + 1
        part = max(PART_SHARES, key=lambda p: PART_SHARES[p] * total - counts[p])
        if image_id in groups:
            part = by_group.setdefault(groups[image_id], part)
        counts[part] += 1
        parts[image_id] = part
        session.add(Split(image_id=image_id, part=part))
    return parts


def _duplicate_groups(session: Session) -> dict[int, str]:
    """Return the group of each image that has duplicates: those listed, or of the same bytes."""
    repeated = select(Image.digest).group_by(Image.digest).having(func.count() > 1)
    query = select(Image.id, Image.duplicate_group, Image.digest).where(
        or_(Image.duplicate_group.is_not(None), Image.digest.in_(repeated))
    )
    return {
        image_id: str(digest if group is None else group)
        for image_id, group, digest in session.execute(query)
    }
