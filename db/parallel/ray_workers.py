"""Process batches of ids on a Ray cluster.

Each worker opens the store and the images by their URLs, so all machines must be able to reach
them: PostgreSQL, and images in a shared folder or at a URL such as s3://.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from db.store.session import Store
from regions.errors import InvalidError, UserError

_MAX_BLOCKS = 10_000


def map_batches(
    store: Store,
    worker: type,
    arguments: tuple[Any, ...],
    batches: Sequence[Sequence[int]],
    *,
    workers: int,
    on_gpu: bool,
) -> Iterator[dict[str, Any]]:
    """Yield `worker(url, *arguments)({"ids": batch})` for each batch, in order.

    Uses the cluster at RAY_ADDRESS, else this machine. UserError if Ray is not installed, and for a
    store that other machines cannot reach.
    """
    ray, is_started_here = _connect(store)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # In order, so that a stopped run can be resumed after the last batch.
    context.execution_options.preserve_order = True
    rows = ray.data.from_items(
        [{"ids": list(batch)} for batch in batches],
        override_num_blocks=max(1, min(len(batches), _MAX_BLOCKS)),
    )
    url = store.engine.url.render_as_string(hide_password=False)
    results = rows.map(
        worker,
        fn_constructor_args=(url, *arguments),
        concurrency=workers,
        num_gpus=1 if on_gpu else 0,
    )
    try:
        yield from results.iter_rows()
    finally:
        if is_started_here:
            ray.shutdown()


def _connect(store: Store) -> tuple[Any, bool]:
    """Connect to Ray; return the module, and whether this call has started Ray."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(
            "Ray is not installed", hint="pip install 'lskd-studio[scale]', or omit --workers"
        ) from error
    is_started_here = not ray.is_initialized()
    if is_started_here:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) > 1 and store.engine.dialect.name == "sqlite":
        raise InvalidError(
            "a cluster cannot reach a SQLite store",
            hint="use PostgreSQL, or one machine",
        )
    return ray, is_started_here
