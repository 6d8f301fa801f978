"""Scoring on a cluster: the same examples by the same critic, on many machines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from critic.features.examples import chunk
from critic.models import registry
from critic.training.score import Scored, Scoring, brought, waiting
from db.parallel.ray_workers import map_batches
from db.schema import Triple
from db.store.session import Store

_IMAGES = 64
"""Images whose triples are one worker's at a time."""


def on_ray(workers: int) -> Scoring:
    """Score with so many workers of Ray; the critic's folder is one that all reach."""

    def scored(store: Store, run_id: int, folder: Path) -> Scored:
        batches = _batches(store, waiting(store, run_id))
        with store.read() as session:
            arguments = folder.resolve(), brought(session, run_id)
        rows = map_batches(store, _Worker, arguments, batches, workers=workers, on_gpu=_on_gpu())
        for row in rows:
            yield [int(i) for i in row["triples"]], np.asarray(row["scores"], dtype=np.float64)

    return scored


class _Worker:
    """One process of a cluster: a critic with its weights, and the store."""

    def __init__(self, url: str, folder: Path, of: dict[str, int]) -> None:
        self._store, self._critic, self._of = Store.open(url), registry.load(folder), of

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with self._store.read() as session:
            ids, found = chunk(session, [int(n) for n in row["ids"]], self._of)
            return {"triples": ids, "scores": self._critic.score(found).tolist()}


def _batches(store: Store, triple_ids: Sequence[int]) -> list[list[int]]:
    """Triples of the same images stay together: a picture is seen once."""
    with store.read() as session:
        image_of = dict(session.execute(select(Triple.id, Triple.image_id)).all())
    batches: list[list[int]] = []
    images: set[int] = set()
    for triple_id in triple_ids:
        if image_of[triple_id] not in images and len(images) % _IMAGES == 0:
            batches.append([])
        images.add(image_of[triple_id])
        batches[-1].append(triple_id)
    return batches


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
