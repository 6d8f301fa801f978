"""Observe every request: which route answered with which status, in which time."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.accounts.sessions import CurrentUser


class RequestRecord(NamedTuple):
    """A request that was answered.

    `route` is the path's pattern, such as `/join/{link}`: paths themselves contain secrets.
    """

    method: str
    route: str
    status: int
    seconds: float
    client: str
    person: int | None
    """Id of the account; None if nobody is signed in."""


class RequestObserver:
    """Calls each observer with every answered request. Plain ASGI."""

    def __init__(
        self,
        app: ASGIApp,
        pages: Collection[str],
        observers: Sequence[Callable[[RequestRecord], None]],
    ) -> None:
        self.app, self.observers = app, observers
        self._pages = frozenset(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and report it once it is answered or has failed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500  # of a request that ends in an exception
        start = time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            user: CurrentUser | None = scope.get("state", {}).get("user")
            client = scope.get("client")
            record = RequestRecord(
                method=scope["method"],
                route=self._route(scope),
                status=status,
                seconds=time.perf_counter() - start,
                client=client[0] if client else "",
                person=user.id if user else None,
            )
            for observer in self.observers:
                observer(record)

    def _route(self, scope: Scope) -> str:
        """The pattern of the route that answered; one for each page, and one for unknown paths."""
        page = scope["path"].split("/", 2)[1]
        if page in self._pages:
            return f"/{page}/*"
        pattern = getattr(scope.get("route"), "path", None)
        return str(pattern) if pattern else "other"
