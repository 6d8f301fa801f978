"""Scoring on a Ray cluster: the same examples and critic, in many processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from critic.features.examples import load_examples
from critic.models import registry
from critic.training.score import (
    ScoredChunks,
    ScoreExecutor,
    score_sources,
    unscored_triples,
)
from db.parallel.ray_workers import map_batches
from db.schema import Triple
from db.store.session import Store

_IMAGES_PER_BATCH = 64


def ray_executor(workers: int) -> ScoreExecutor:
    """Score with so many Ray workers, which must all reach the store and the critic's folder."""

    def scored_chunks(store: Store, run_id: int, folder: Path) -> ScoredChunks:
        batches = _batches(store, unscored_triples(store, run_id))
        with store.read() as session:
            arguments = folder.resolve(), score_sources(session, run_id)
        rows = map_batches(store, _Worker, arguments, batches, workers=workers, on_gpu=_has_gpu())
        for row in rows:
            yield [int(i) for i in row["triples"]], np.asarray(row["scores"], dtype=np.float64)

    return scored_chunks


class _Worker:
    """One process of a cluster: a loaded critic and the store."""

    def __init__(self, url: str, folder: Path, sources: dict[str, int]) -> None:
        self._store, self._critic, self._sources = Store.open(url), registry.load(folder), sources

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with self._store.read() as session:
            ids, examples = load_examples(session, [int(n) for n in row["ids"]], self._sources)
            return {"triples": ids, "scores": self._critic.score(examples).tolist()}


def _batches(store: Store, triple_ids: Sequence[int]) -> list[list[int]]:
    """Batches of triples; those of an image stay together, so that it is encoded once."""
    with store.read() as session:
        image_of = dict(session.execute(select(Triple.id, Triple.image_id)).all())
    batches: list[list[int]] = []
    image_ids: set[int] = set()
    for triple_id in triple_ids:
        if image_of[triple_id] not in image_ids and len(image_ids) % _IMAGES_PER_BATCH == 0:
            batches.append([])
        image_ids.add(image_of[triple_id])
        batches[-1].append(triple_id)
    return batches


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
