"""The web app over one store: security, sign-in, API, static files, and the Gradio pages."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from annotator.accounts import sessions
from annotator.web import api, static_files
from annotator.web.auth import account_pages, auth_pages
from annotator.web.client_address import check_proxies
from annotator.web.lazy_pages import LazyPage, PagesMiddleware
from annotator.web.middleware.bodies import BodyMiddleware
from annotator.web.middleware.headers import HeadersMiddleware
from annotator.web.monitoring import metrics
from annotator.web.monitoring.requests import RequestObserver, RequestRecord
from annotator.web.security import AuthMiddleware, is_loopback
from db.store.session import Store
from regions.errors import InvalidError, UserError

# Read when Gradio is imported: it must not contact other hosts.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

_ICON = Path(__file__).parent.parent / "canvas" / "icon.svg"


def build(
    store: Store,
    *,
    host: str = "127.0.0.1",
    trusted_proxies: Sequence[str] = (),
    root_path: str = "",
    observers: Sequence[Callable[[RequestRecord], None]] = (),
) -> FastAPI:
    """The app; UserError if it would listen on the network without any account.

    Of requests by a trusted proxy, X-Forwarded-For and X-Forwarded-Proto say whose they are. A
    proxy may serve the app below `root_path`, such as /lskd, which it removes from what it passes
    on. Each observer is called with every answered request.
    """
    proxies = check_proxies(trusted_proxies)
    _check_root_path(root_path)
    with store.read() as session:
        if not (is_loopback(host) and not proxies) and not sessions.has_accounts(session):
            raise UserError(
                "the app has no accounts and would be open to the network",
                where=host,
                hint="add an account with `lskd users add`, or omit --host and --trusted-proxy",
            )
    app = FastAPI(
        title="LSKD Studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json"
    )
    api.add_api(app, store)
    app.include_router(auth_pages.router)
    app.include_router(account_pages.router)
    app.include_router(static_files.router)
    app.include_router(metrics.router)
    app.state.metrics = metrics.Metrics(store)
    app.state.root_path = root_path
    _add_home(app)
    from annotator.pages.shell import PAGES

    app.state.pages = {name: LazyPage(name, store, root_path) for name in PAGES}
    app.add_middleware(PagesMiddleware, pages=app.state.pages)
    app.add_middleware(BodyMiddleware)
    app.add_middleware(
        AuthMiddleware, store=store, host=host, is_proxied=bool(proxies), root_path=root_path
    )
    app.add_middleware(HeadersMiddleware, pages=PAGES)
    app.add_middleware(
        RequestObserver, pages=PAGES, observers=[app.state.metrics.observe, *observers]
    )
    if proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


def _check_root_path(root_path: str) -> None:
    if not re.fullmatch(r"(/[\w.~-]+)*", root_path, re.ASCII):
        raise InvalidError(
            f"not a path below which to serve the app: {root_path[:100]!r}",
            hint="use one such as /lskd, without a slash at its end",
        )


def _add_home(app: FastAPI) -> None:
    @app.get("/")
    def home() -> RedirectResponse:
        return RedirectResponse(f"{app.state.root_path}/annotate/")

    @app.get("/favicon.ico")
    def icon() -> FileResponse:
        return FileResponse(_ICON, media_type="image/svg+xml")
