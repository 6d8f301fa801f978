"""Describing on a cluster: the same batches by the same functions, on many machines."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from db.parallel.ray_workers import map_batches
from db.store.session import Store
from generation.verbalize.protocol import Describer
from generation.verbalize.run import Done, Worked, described, prepare


def on_ray(workers: int) -> Worked:
    """Describe with so many workers of Ray."""

    def work(
        store: Store, describer: Describer, batches: Sequence[Sequence[int]]
    ) -> Iterator[Done]:
        on_gpu = describer.sees and "cuda" in describer.stated()
        for row in map_batches(
            store, _Worker, (describer,), batches, workers=workers, on_gpu=on_gpu
        ):
            yield Done(**orjson.loads(row["done"]))

    return work


class _Worker:
    """One process of a cluster: a describer with its weights, and the store."""

    def __init__(self, url: str, describer: Describer) -> None:
        self._store, self._describer = Store.open(url), describer

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        prepared = prepare(self._store, self._describer, [int(n) for n in row["ids"]])
        return {"done": orjson.dumps(asdict(described(self._describer, prepared)))}
