"""Describing on a cluster by Ray Data: the same batches by the same functions, on many machines.

Each worker opens the store and the pictures by their addresses, so both have to be reachable from
everywhere: PostgreSQL, and pictures behind a shared folder or an address such as s3://.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from db.session import Store
from generation.verbalize.protocol import Describer
from generation.verbalize.run import Done, Worked, described, prepare
from regions.errors import UserError

_MOST_BLOCKS = 10_000


def on_ray(workers: int) -> Worked:
    """Describe with so many workers of Ray: of the cluster at RAY_ADDRESS, or of this machine."""

    def work(
        store: Store, describer: Describer, batches: Sequence[Sequence[int]]
    ) -> Iterator[Done]:
        ray, ours = _started(store)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # Batches are written down in their order, so that a stopped run is a run's beginning.
        context.execution_options.preserve_order = True
        rows = ray.data.from_items(
            [{"ids": list(batch)} for batch in batches],
            override_num_blocks=max(1, min(len(batches), _MOST_BLOCKS)),
        )
        url = store.engine.url.render_as_string(hide_password=False)
        on_gpu = describer.sees and "cuda" in describer.stated()
        done = rows.map(
            _Worker,
            fn_constructor_args=(url, describer),
            concurrency=workers,
            num_gpus=1 if on_gpu else 0,
        )
        try:
            for row in done.iter_rows():
                yield Done(**orjson.loads(row["done"]))
        finally:
            if ours:
                ray.shutdown()

    return work


class _Worker:
    """One process of a cluster: a describer with its weights, and the store."""

    def __init__(self, url: str, describer: Describer) -> None:
        self._store, self._describer = Store.open(url), describer

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        prepared = prepare(self._store, self._describer, [int(n) for n in row["ids"]])
        return {"done": orjson.dumps(asdict(described(self._describer, prepared)))}


def _started(store: Store) -> tuple[Any, bool]:
    """Ray, connected, and whether that was done here."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            "Ray is not installed", todo="pip install 'lskd-studio[scale]', or leave --workers out"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves unasked
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) > 1 and store.engine.dialect.name == "sqlite":
        raise UserError(
            "a cluster cannot reach a store in a file",
            todo="use a store on PostgreSQL, or one machine",
        )
    return ray, ours
