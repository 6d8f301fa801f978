"""Gradio pages, each created on its first request: Gradio takes a third of a second for one."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import import_module

import anyio
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from annotator.web.security import current_user
from db.store.session import Store

GRADIO_PATHS = ("assets/", "static/", "theme.css", "gradio_api/component_server")
"""What pages request of Gradio below their path: its files, and their server functions.

Everything else that Gradio mounts is not found: uploads, files, queues, its API, monitoring.
"""


class LazyPage:
    """The page at `/NAME/`, an ASGI app of its own; see `annotator.pages`."""

    def __init__(self, name: str, store: Store, root_path: str = "") -> None:
        self.name, self.store, self.root_path = name, store, root_path
        self.on_created: Callable[[], None] = lambda: None
        self._app: FastAPI | None = None
        self._is_started = False
        self._start_lock = anyio.Lock()
        self._exit_stack = AsyncExitStack()

    def create(self) -> FastAPI:
        """The app, created if necessary."""
        if self._app is not None:
            return self._app
        import gradio as gr

        from annotator.pages.shell import PAGES, head

        page = import_module(f"annotator.pages.{self.name}.page").build(self.store)
        page.title = f"{PAGES[self.name]} · LSKD Studio"
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        # Without a CORS middleware on the parent app, Gradio adds one that allows every origin
        # to send credentials.
        app.add_middleware(CORSMiddleware, allow_origins=[])
        gr.mount_gradio_app(
            app,
            page,
            path=f"/{self.name}",
            root_path=f"{self.root_path}/{self.name}",
            auth_dependency=lambda request: current_user(request).name,
            head=head(self.name),
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            footer_links=[],
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        )
        self._app = app
        self.on_created()
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the first one starts Gradio's background tasks."""
        if not self._is_started:
            async with self._start_lock:
                await self._start()
        if self.root_path:
            # As if the proxy had not removed it: Gradio takes it off again.
            path = self.root_path + scope["path"]
            scope = {**scope, "root_path": self.root_path, "path": path, "raw_path": path.encode()}
        await self.create()(scope, receive, send)

    async def _start(self) -> None:
        if self._is_started:
            return
        app = await anyio.to_thread.run_sync(self.create)
        await self._exit_stack.enter_async_context(app.router.lifespan_context(app))
        self._is_started = True

    async def close(self) -> None:
        """Stop Gradio's background tasks."""
        await self._exit_stack.aclose()


class PagesMiddleware:
    """Routes requests below a page's path to that page. Plain ASGI."""

    def __init__(self, app: ASGIApp, pages: dict[str, LazyPage]) -> None:
        self.app, self.pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to its page, or on to the app."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            for page in self.pages.values():
                await page.close()
            return
        _, name, *rest = scope["path"].split("/", 2)
        if name not in self.pages:
            await self.app(scope, receive, send)
        elif is_served("".join(rest)):
            await self.pages[name](scope, receive, send)
        else:
            await JSONResponse({"error": "no such page"}, 404)(scope, receive, send)


def is_served(path: str) -> bool:
    """Whether the pages need a path of Gradio's.

    >>> is_served(""), is_served("gradio_api/component_server/"), is_served("gradio_api/upload")
    (True, True, False)
    """
    return not path or path.removesuffix("/").startswith(GRADIO_PATHS)
