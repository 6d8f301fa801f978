"""Authentication and authorisation of every request, before any route or page sees it.

`REQUIRED_ROLES` says which role a path needs. Requests that change something must come from this
origin.
"""

import time
from typing import Literal
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from annotator.accounts import sessions
from annotator.accounts.sessions import CurrentUser
from db.schema import Role
from db.store.session import Store

COOKIE = "lskd"
Access = Literal["worker"] | Role
"""A role, or a crowd worker, whose link is for labelling only."""
ACCESS_RANK: dict[Access, int] = {"worker": 0, "annotator": 1, "researcher": 2, "admin": 3}
REQUIRED_ROLES: dict[str, Access] = {
    "/annotate": "worker",
    "/demo": "annotator",
    "/critic": "researcher",
    "/generate": "researcher",
    "/project": "researcher",
    "/adjudicate": "researcher",
    "/people": "admin",
    "/account": "annotator",
    "/api": "annotator",
    **dict.fromkeys(
        (
            *("/api/batches", "/api/next", "/api/votes", "/api/undo", "/api/history"),
            *("/api/corrections", "/api/flags", "/api/guidelines", "/api/me", "/api/words"),
        ),
        "worker",
    ),
    "/api/research": "researcher",
    "/api/admin": "admin",
    "/images": "worker",
    "/metrics": "researcher",
}
"""What a path and everything below it requires; the longest prefix applies.

Paths without an entry are public. `tests/annotator/test_routes.py` lists every route.
"""

_LOGOUT_PATHS = ("/logout", "/api/me/sign-out-everywhere", "/account", "/reset/", "/api/admin/")
"""Prefixes of paths after which the cached users are read again."""
_CACHE_SECONDS = 2.0
_MAX_CACHED = 10_000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback interface."""
    return host in _LOOPBACK


class AuthMiddleware:
    """Sets `scope["state"]["user"]` to the `CurrentUser`, or answers with an error itself.

    Plain ASGI. On the loopback interface without accounts, every request acts as `local`.
    """

    def __init__(
        self,
        app: ASGIApp,
        store: Store,
        host: str,
        *,
        is_proxied: bool = False,
        root_path: str = "",
    ) -> None:
        self.app, self.store, self.root_path = app, store, root_path
        self.is_local = is_loopback(host) and not is_proxied
        self.local_user = sessions.local_user(store) if self.is_local else None
        self._cache: dict[str, tuple[float, CurrentUser]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with an error."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        error = self._check_origin(scope)
        role = required_role(scope["path"])
        if error is None and role is not None:
            user = await self._authenticate(scope)
            scope.setdefault("state", {})["user"] = user
            error = self._check_access(scope, user, role)
        if error is not None:
            await error(scope, receive, send)
            return
        await self.app(scope, receive, send)
        if scope["path"].startswith(_LOGOUT_PATHS):
            self._cache.clear()

    def _check_origin(self, scope: Scope) -> Response | None:
        """Refuse cross-site requests that change something, and DNS rebinding."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if self.is_local and not is_loopback(host):
            return _error(400, "open this app as 127.0.0.1 or localhost")
        # Browsers never add a bearer token by themselves.
        if scope["method"] in _SAFE_METHODS or _bearer_token(headers) is not None:
            return None
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return _error(403, "the request came from another site")
        origin = headers.get("origin")
        if origin and origin.split("://")[-1] != headers.get("host"):
            return _error(403, "the request came from another site")
        if scope["path"].startswith("/api/") and "x-lskd" not in headers:
            return _error(403, "the header X-LSKD is missing")
        return None

    async def _authenticate(self, scope: Scope) -> CurrentUser | None:
        """The user of the request's token or cookie; a valid one is cached for two seconds."""
        headers = Headers(scope=scope)
        api_token = _bearer_token(headers)
        token = api_token or Request(scope).cookies.get(COOKIE, "")
        until, cached = self._cache.get(token, (0.0, None))
        if until > time.monotonic():
            return cached
        if api_token is not None:
            user = await anyio.to_thread.run_sync(self._user_by_api_token, api_token)
        else:
            user = await anyio.to_thread.run_sync(self._user_by_cookie, token)
        if len(self._cache) > _MAX_CACHED:
            self._cache.clear()
        if user is not None and token:
            self._cache[token] = time.monotonic() + _CACHE_SECONDS, user
        return user

    def _check_access(
        self, scope: Scope, user: CurrentUser | None, role: Access
    ) -> Response | None:
        """The error if the user may not request the path."""
        if user is None:
            is_page = "text/html" in Headers(scope=scope).get("accept", "")
            if is_page and scope["method"] == "GET":
                return RedirectResponse(f"{self.root_path}/login?next={quote(scope['path'])}", 303)
            return _error(401, "sign in first")
        access = access_of(user)
        if ACCESS_RANK[access] >= ACCESS_RANK[role]:
            return None
        if access == "worker":
            return _error(403, "your link is for labelling only")
        return _error(403, f"this requires the role {role}; your role is {user.role}")

    def _user_by_cookie(self, token: str) -> CurrentUser | None:
        with self.store.read() as session:
            if token and (user := sessions.authenticate(session, token)):
                return user
            if self.local_user is not None and not sessions.has_accounts(session):
                return self.local_user
        return None

    def _user_by_api_token(self, token: str) -> CurrentUser | None:
        with self.store.read() as session:
            return sessions.authenticate(session, token, is_api_token=True)


def required_role(path: str) -> Access | None:
    """What a path requires; None: it is public.

    >>> required_role("/critic/gradio_api/info"), required_role("/healthz")
    ('researcher', None)
    >>> required_role("/api/me"), required_role("/api/ask"), required_role("/api/admin/people")
    ('worker', 'annotator', 'admin')
    """
    parts = path.split("/")
    return REQUIRED_ROLES.get("/".join(parts[:3])) or REQUIRED_ROLES.get("/".join(parts[:2]))


def access_of(user: CurrentUser) -> Access:
    """The person's role, or that they are a crowd worker."""
    return "worker" if user.study is not None else user.role


def current_user(request: Request) -> CurrentUser:
    """The user that `AuthMiddleware` has set."""
    user: CurrentUser = request.scope["state"]["user"]
    return user


def _bearer_token(headers: Headers) -> str | None:
    """The API token of an Authorization header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
