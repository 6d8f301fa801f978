"""Who may ask for what, decided before any route or page sees the request; plain ASGI.

One table says which role a path needs. Requests that change something must come from this origin,
and every answer carries a policy under which a page can load nothing from elsewhere.
"""

import time
from http.cookies import SimpleCookie
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotator.accounts import sessions
from annotator.accounts.sessions import CurrentUser
from db.schema import Role
from db.store.session import Store

COOKIE = "lskd"
ROLE_RANK: dict[Role, int] = {"annotator": 0, "researcher": 1, "admin": 2}
REQUIRED_ROLES: dict[str, Role] = {
    "/annotate": "annotator",
    "/demo": "annotator",
    "/critic": "researcher",
    "/generate": "researcher",
    "/project": "researcher",
    "/adjudicate": "researcher",
    "/people": "admin",
    "/api": "annotator",
    "/api/research": "researcher",
    "/api/admin": "admin",
    "/images": "annotator",
}
"""The role that a path and all below it needs; what is not here is open to everybody.

The longest path that fits counts.
"""

_WORKER_PATHS = ("annotate", "api", "images")
"""Where a crowd's workers may go."""

_LOGOUT_PATHS = frozenset({"/logout", "/api/me/sign-out-everywhere"})
_CACHE_SECONDS = 2.0
_MAX_CACHED = 10_000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; font-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)

_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    return host in _LOOPBACK


class AuthMiddleware:
    """Lets a request through with its person in `scope["state"]["person"]`, or answers itself."""

    def __init__(self, app: ASGIApp, store: Store, host: str) -> None:
        self.app, self.store = app, store
        self.only_local_names = is_loopback(host)
        self.local = sessions.local_user(store) if self.only_local_names else None
        self._seen: dict[str, tuple[float, CurrentUser]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._foreign(scope)
        needed = required_role(scope["path"])
        if refusal is None and needed is not None:
            person = await self._visitor(scope)
            scope.setdefault("state", {})["person"] = person
            refusal = _check_access(scope, person, needed)
        if refusal is not None:
            await refusal(scope, receive, _with_security_headers(send))
            return
        await self.app(scope, receive, _with_security_headers(send))
        if scope["path"] in _LOGOUT_PATHS or scope["path"].startswith("/api/admin/"):
            self._seen.clear()

    def _foreign(self, scope: Scope) -> Response | None:
        """Refuse what another site's page sends, and names that point here by trickery."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
        if self.only_local_names and not is_loopback(host):
            return _error(400, "this app answers to 127.0.0.1 and localhost only")
        # No browser adds a token by itself.
        if scope["method"] in _SAFE or _bearer_token(headers) is not None:
            return None
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return _error(403, "the request came from another site")
        origin = headers.get("origin")
        if origin and origin.split("://")[-1] != headers.get("host"):
            return _error(403, "the request came from another site")
        if scope["path"].startswith("/api/") and "x-lskd" not in headers:
            return _error(403, "the header X-LSKD is missing")
        return None

    async def _visitor(self, scope: Scope) -> CurrentUser | None:
        """Who is asking. A cookie that was good is taken as good for two seconds more."""
        headers = Headers(scope=scope)
        script = _bearer_token(headers)
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        token = script or (cookie.value if cookie is not None else "")
        until, seen = self._seen.get(token, (0.0, None))
        if until > time.monotonic():
            return seen
        if script is not None:
            found = await anyio.to_thread.run_sync(self._look_up_script, script)
        else:
            found = await anyio.to_thread.run_sync(self._look_up, token)
        if len(self._seen) > _MAX_CACHED:
            self._seen.clear()
        if found is not None and token:
            self._seen[token] = time.monotonic() + _CACHE_SECONDS, found
        return found

    def _look_up(self, token: str) -> CurrentUser | None:
        with self.store.read() as session:
            if token and (person := sessions.authenticate(session, token)):
                return person
            if self.local is not None and not sessions.has_accounts(session):
                return self.local
        return None

    def _look_up_script(self, token: str) -> CurrentUser | None:
        with self.store.read() as session:
            return sessions.authenticate(session, token, is_api_token=True)


def required_role(path: str) -> Role | None:
    """The role that a path needs, by the table.

    >>> required_role("/critic/gradio_api/info"), required_role("/healthz")
    ('researcher', None)
    >>> required_role("/api/me"), required_role("/api/admin/people")
    ('annotator', 'admin')
    """
    parts = path.split("/")
    return REQUIRED_ROLES.get("/".join(parts[:3])) or REQUIRED_ROLES.get("/".join(parts[:2]))


def _bearer_token(headers: Headers) -> str | None:
    """What a script shows instead of a cookie."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def current_user(request: Request) -> CurrentUser:
    """Who is asking; the gate has made sure that there is somebody."""
    person: CurrentUser = request.scope["state"]["person"]
    return person


def _check_access(scope: Scope, person: CurrentUser | None, needed: Role) -> Response | None:
    if person is None:
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        if wants_page and scope["method"] == "GET":
            return RedirectResponse(f"/login?next={quote(scope['path'])}", 303)
        return _error(401, "sign in first")
    if ROLE_RANK[person.role] < ROLE_RANK[needed]:
        return _error(403, f"this needs the role {needed}; you are {person.role}")
    if person.batch is not None and scope["path"].split("/")[1] not in _WORKER_PATHS:
        return _error(403, "your link is for labelling only")
    return None


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _with_security_headers(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return send_with_policy
