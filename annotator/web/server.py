"""Serves the app until it is stopped."""

import gc
import socket
import threading
from collections.abc import Sequence

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from annotator.jobs.training_job import TrainingJob
from annotator.web.app import build
from annotator.web.monitoring import request_log
from db.store.session import Store
from regions.errors import UserError


def serve(
    store: Store,
    *,
    host: str,
    port: int,
    trusted_proxies: Sequence[str] = (),
    root_path: str = "",
    json_logs: bool = False,
) -> None:
    """Listen on `host` and `port`; UserError if the port is in use."""
    check_port(host, port)
    if json_logs:
        request_log.use_json_logs()
    app = build(
        store,
        host=host,
        trusted_proxies=trusted_proxies,
        root_path=root_path,
        observers=[request_log.log_request] if json_logs else [],
    )
    for page in app.state.pages.values():
        page.on_created = _freeze_objects
    app.state.pages["annotate"].create()  # the first page that is opened
    print(f"LSKD Studio is at http://{host}:{port} - press Ctrl+C to stop it", flush=True)  # noqa: T201 - the address
    stop = threading.Event()
    threading.Thread(target=TrainingJob(store).retrain_when_due, args=(stop,), daemon=True).start()
    try:
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            log_config=None if json_logs else LOGGING_CONFIG,
            proxy_headers=False,  # uvicorn trusts this machine; `build` trusts what it is told
        )
    finally:
        stop.set()


def _freeze_objects() -> None:
    """Exclude the app's permanent objects from garbage collection, which would delay votes."""
    gc.collect()
    gc.freeze()


def check_port(host: str, port: int) -> None:
    """UserError if the server cannot listen on an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} is in use or unavailable",
                where=host,
                hint="stop the program that uses it, or choose another port with --port",
            ) from error
