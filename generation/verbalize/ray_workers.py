"""Describers on a Ray cluster: the same batches through the same functions."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from db.parallel.ray_workers import map_batches
from db.store.session import Store
from generation.verbalize.protocol import Describer
from generation.verbalize.run import BatchResult, BatchRunner, describe_batch, prepare_batch


def ray_runner(workers: int) -> BatchRunner:
    """Return a batch runner with this many Ray workers."""

    def run_batches(
        store: Store, describer: Describer, batches: Sequence[Sequence[int]]
    ) -> Iterator[BatchResult]:
        on_gpu = describer.needs_image and "cuda" in describer.device_summary()
        for row in map_batches(
            store, _Worker, (describer,), batches, workers=workers, on_gpu=on_gpu
        ):
            yield BatchResult(**orjson.loads(row["result"]))

    return run_batches


class _Worker:
    """One process of the cluster, with the store and the describer's model."""

    def __init__(self, url: str, describer: Describer) -> None:
        self._store, self._describer = Store.open(url), describer

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        batch = prepare_batch(self._store, self._describer, [int(n) for n in row["ids"]])
        return {"result": orjson.dumps(asdict(describe_batch(self._describer, batch)))}
