"""Work on a cluster by Ray Data: batches of ids, in their order, by as many workers as are told.

Each worker opens the store and the pictures by their addresses, so both have to be reachable from
everywhere: PostgreSQL, and pictures behind a shared folder or an address such as s3://.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from db.store.session import Store
from regions.errors import UserError

_MOST_BLOCKS = 10_000


def map_batches(
    store: Store,
    worker: type,
    arguments: tuple[Any, ...],
    batches: Sequence[Sequence[int]],
    *,
    workers: int,
    on_gpu: bool,
) -> Iterator[dict[str, Any]]:
    """What `worker(url, *arguments)({"ids": batch})` gives for each batch, in their order.

    On the cluster at RAY_ADDRESS, or on this machine. UserError without Ray, and for a store that
    other machines cannot reach.
    """
    ray, ours = _connect(store)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Batches are written down in their order, so that a stopped run is a run's beginning.
    context.execution_options.preserve_order = True
    rows = ray.data.from_items(
        [{"ids": list(batch)} for batch in batches],
        override_num_blocks=max(1, min(len(batches), _MOST_BLOCKS)),
    )
    url = store.engine.url.render_as_string(hide_password=False)
    done = rows.map(
        worker,
        fn_constructor_args=(url, *arguments),
        concurrency=workers,
        num_gpus=1 if on_gpu else 0,
    )
    try:
        yield from done.iter_rows()
    finally:
        if ours:
            ray.shutdown()


def _connect(store: Store) -> tuple[Any, bool]:
    """Ray, connected, and whether that was done here."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            "Ray is not installed", hint="pip install 'lskd-studio[scale]', or leave --workers out"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves unasked
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) > 1 and store.engine.dialect.name == "sqlite":
        raise UserError(
            "a cluster cannot reach a store in a file",
            hint="use a store on PostgreSQL, or one machine",
        )
    return ray, ours
