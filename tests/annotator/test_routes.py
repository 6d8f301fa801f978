"""Every route, and every function of a page, with the lowest role that may use it.

A route that is missing here fails a test: decide who may use it, and add it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from annotator.accounts import sessions
from annotator.pages.shell import PAGES
from annotator.studies import joining, studies
from annotator.studies.platforms import PlatformIds
from annotator.web import app, lazy_pages
from annotator.web.security import ACCESS_RANK, COOKIE, Access, required_role
from db.schema import Batch, Role
from db.store.session import Store
from tests.annotator.conftest import PASSWORDS

ROUTES: Mapping[str, tuple[str, ...]] = {
    "public": (
        *("GET /", "GET /favicon.ico", "GET /healthz", "GET /static/{version}/{path:path}"),
        *("GET /login", "POST /login", "POST /logout", "GET /join/{link}"),
        *("GET /invite/{secret}", "POST /invite/{secret}"),
        *("GET /reset/{secret}", "POST /reset/{secret}"),
    ),
    "worker": (
        *("GET /api/batches", "GET /api/next", "POST /api/votes", "POST /api/undo"),
        *("GET /api/history", "POST /api/corrections", "POST /api/flags", "GET /api/guidelines"),
        *("GET /api/me", "PUT /api/me/preferences", "POST /api/me/sign-out-everywhere"),
        *("GET /api/words/{language}", "GET /images/{image_id}", "GET /images/{image_id}/upright"),
    ),
    "annotator": (
        *("GET /api/openapi.json", "POST /api/ask"),
        *("GET /account", "POST /account", "POST /account/sign-out-everywhere"),
    ),
    "researcher": (
        "GET /metrics",
        *("GET /api/research/project", "PUT /api/research/guidelines", "PUT /api/research/gold"),
        *("GET /api/research/adjudication", "POST /api/research/adjudication"),
        *("DELETE /api/research/adjudication/{triple}", "POST /api/research/pauses"),
        *("POST /api/research/pauses/{pause_id}/lift", "POST /api/research/batches"),
        *("GET /api/research/batches", "PATCH /api/research/batches/{name}"),
        *("POST /api/research/batches/{name}/reopen", "POST /api/research/batches/{name}/triples"),
        *("POST /api/research/batches/{name}/returns", "POST /api/research/batches/{name}/votes"),
        *("GET /api/research/project/version", "GET /api/research/project/{table}.csv"),
        "POST /api/research/imports",
        *("GET /api/research/votes", "GET /api/research/labels", "GET /api/research/tokens"),
        *("POST /api/research/tokens", "DELETE /api/research/tokens/{token_id}"),
    ),
    "admin": (
        *("GET /api/admin/people", "PATCH /api/admin/people/{person_id}"),
        "POST /api/admin/people/{person_id}/password-reset",
        "POST /api/admin/people/{person_id}/sign-out-everywhere",
        *("POST /api/admin/invitations", "POST /api/admin/studies"),
        *("PATCH /api/admin/studies/{study_id}", "POST /api/admin/studies/{study_id}/release"),
        *("GET /api/admin/studies/{study_id}/secret", "GET /api/admin/studies/{study_id}/workers"),
        "GET /api/admin/studies/{study_id}/review/{platform}/{file}",
    ),
}
Clients = Mapping[str, TestClient]

RANKS: Mapping[str, int] = {"public": -1, **{str(role): n for role, n in ACCESS_RANK.items()}}
PAGE_ROLES: Mapping[str, Access] = {
    "annotate": "worker",
    "demo": "annotator",
    **dict.fromkeys(("adjudicate", "project", "critic", "generate"), "researcher"),
    "people": "admin",
}
GRADIO_ROUTES = {
    *("GET /", "HEAD /", "GET /static/{path:path}", "GET /assets/{path:path}", "GET /theme.css"),
    *("POST /gradio_api/component_server", "POST /gradio_api/component_server/"),
}
"""Of all that Gradio mounts below a page; the rest is not found."""

FUNCTIONS: Mapping[str, Mapping[Access, tuple[str, ...]]] = {
    "demo": {
        "annotator": ("overview", "image", "upload", "progress"),
        "researcher": ("train", "learning_curves", "compare", "errors"),
    },
    "critic": {
        "researcher": (
            *("overview", "curve", "triples", "slices", "compare", "simulate", "train"),
            *("training_state", "retrain", "labeling_options", "create_batch", "certify"),
            *("release", "compare_releases", "card"),
        )
    },
    "generate": {
        "researcher": ("overview", "preview", "estimate", "try_out", "start", "pause"),
    },
}
"""Functions that the scripts of a page call on the server."""


def routes_of(served: Any) -> Iterator[str]:  # noqa: ANN401 - FastAPI's types of routers are private
    """Method and path of every route of an app or router, and of those it includes or mounts."""
    for route in served.routes:
        if hasattr(route, "original_router"):
            yield from routes_of(route.original_router)
        elif getattr(route, "methods", None):
            # Starlette adds HEAD to its own routes of GET.
            methods = {"GET"} if route.methods == {"GET", "HEAD"} else route.methods
            yield from (f"{method} {route.path}" for method in sorted(methods))
        else:
            yield from routes_of(route)


@pytest.fixture
def sign_in(demo_store: Store) -> Callable[[TestClient, str], TestClient]:
    """Gives a client a new session of a role; `public` is not signed in."""
    with demo_store.write() as session:
        people = {
            role: sessions.add_person(session, f"an {role}", role, PASSWORDS["ann"]).id
            for role in get_args(Role)
        }
        link = studies.create_study(session, "pilot", "demo", quota=2).link
    browser = ""

    def enter(client: TestClient, role: str) -> TestClient:
        nonlocal browser
        client.headers["x-lskd"] = "1"
        with demo_store.write() as session:
            if role == "worker":
                ids = PlatformIds("w1", "", "")
                joined = joining.join_study(session, link, ids, browser=browser)
                client.cookies[COOKIE], browser = joined.token, joined.browser
            elif role != "public":
                client.cookies[COOKIE] = sessions.create_login(session, people[role])
        return client

    return enter


@pytest.fixture
def clients(demo_store: Store, sign_in: Callable[[TestClient, str], TestClient]) -> Clients:
    """A client of each role on one app."""
    served = app.build(demo_store)
    new = partial(TestClient, served, base_url="http://127.0.0.1", follow_redirects=False)
    return {role: sign_in(new(), role) for role in RANKS}


def test_every_route_has_a_role(demo_store: Store) -> None:
    listed = [route for routes in ROUTES.values() for route in routes]
    assert len(listed) == len(set(listed))
    assert set(routes_of(app.build(demo_store))) == set(listed)


def test_a_role_is_admitted_to_its_routes_and_refused_at_others(
    clients: Clients, sign_in: Callable[[TestClient, str], TestClient]
) -> None:
    for role, client in clients.items():
        with client:  # one event loop for all requests
            for needed, routes in ROUTES.items():
                for route in routes:
                    method, template = route.split()
                    path = re.sub(r"{[^}]*}", "987654", template)
                    body = None if method == "GET" else dict[str, str]()
                    status = client.request(method, path, json=body).status_code
                    refusal = 401 if role == "public" else 403
                    is_refused = RANKS[role] < RANKS[needed]
                    assert (status == refusal) == is_refused, (role, route, status)
                    assert status < 500, (role, route)
                    if path.endswith(("/logout", "/sign-out-everywhere")):
                        sign_in(client, role)


@pytest.mark.slow
def test_pages_serve_a_few_of_gradios_routes_to_their_roles(clients: Clients) -> None:
    for name in PAGES:
        for role, client in clients.items():
            admitted = RANKS[role] >= RANKS[PAGE_ROLES[name]]
            status = client.get(f"/{name}/theme.css").status_code
            assert (status == 200) == admitted, (name, role)
        created = clients["public"].app.state.pages[name].create()  # type: ignore[attr-defined]
        mounted = set(routes_of(created))
        assert len(mounted) > 50
        served = {route for route in mounted if lazy_pages.is_served(route.split(" /", 1)[1])}
        assert served == GRADIO_ROUTES
        (gradio,) = (route.app for route in created.routes if route.path == f"/{name}")
        functions = {
            function
            for block in gradio.get_blocks().blocks.values()
            for function in dir(block)
            if getattr(getattr(block, function, None), "_is_server_fn", False)
        }
        listed = FUNCTIONS.get(name, {})
        assert functions == {function for names in listed.values() for function in names}
        assert PAGE_ROLES[name] in listed or not listed
    with clients["admin"] as client:
        for route in mounted - served:
            method, path = re.sub(r"{[^}]*}", "x", route).split()
            assert client.request(method, f"/demo{path}").status_code == 404, route


def test_every_page_has_a_role() -> None:
    assert {page: required_role(f"/{page}/") for page in PAGES} == PAGE_ROLES


@pytest.mark.parametrize("role", ["annotator", "researcher"])
def test_a_role_is_refused_at_functions_of_a_higher_one(clients: Clients, role: str) -> None:
    client = clients[role]
    (component,) = re.findall(
        r'"id": ?(\d+), ?"type": ?"html"', client.get("/demo/").text.replace("&quot;", '"')
    )
    for needed, names in FUNCTIONS["demo"].items():
        for name in names:
            body = {"data": {"no such": 1}, "fn_name": name, "component_id": int(component)}
            answer = client.post(
                "/demo/gradio_api/component_server/", json={**body, "session_hash": "x"}
            )
            is_refused = RANKS[role] < RANKS[needed]
            assert answer.status_code == (403 if is_refused else 200), name
            assert is_refused or set(answer.json()) == {"error"}


# ---- images


def test_people_see_the_pictures_that_they_may_label(clients: Clients, demo_store: Store) -> None:
    statuses = {role: client.get("/images/1").status_code for role, client in clients.items()}
    assert statuses == {
        "public": 401,
        "worker": 200,
        "annotator": 200,
        "researcher": 200,
        "admin": 200,
    }
    vote = {"batch": "demo", "triple": 1, "decision": "accept", "key": "a key of the annotator"}
    assert clients["annotator"].post("/api/votes", json=vote).status_code == 200
    with demo_store.write() as session:
        session.execute(update(Batch).values(open=False, name="another"))
    statuses = {role: client.get("/images/1").status_code for role, client in clients.items()}
    assert (statuses["annotator"], statuses["researcher"]) == (200, 200)  # judged; all
    for role in ("worker", "annotator"):
        answer = clients[role].get("/images/12")
        assert (answer.status_code, answer.json()["error"]) == (404, "no such image (12)")
    ask = {"image": 12, "regions": [{"number": 1, "box": [1, 1, 9, 9]}]}
    assert "no such image" in clients["annotator"].post("/api/ask", json=ask).json()["error"]
