"""Scripts are modules at URLs of one version, and import one way."""

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from posixpath import dirname, join, normpath

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from annotator.pages.shell import PAGES, head
from annotator.web import static_files
from annotator.web.static_files import FILES, VERSION, version_of

SCRIPTS = [path for path in FILES if path.endswith(".js")]
IMPORT = re.compile(r'^(?:im|ex)port [^"\n]*\bfrom "([^"]+)"|\bimport ?\(?"([^"]+)"', re.MULTILINE)
CANVAS_MAY_IMPORT = {"pages/shared/dom.js", "pages/shared/language.js"}


def imports(path: str) -> set[str]:
    """The paths of the modules that a script imports."""
    targets = [static or dynamic for static, dynamic in IMPORT.findall(FILES[path].decode())]
    # An absolute URL would leave the version of the importing script.
    assert all(target.startswith(("./", "../")) for target in targets), path
    return {normpath(join(dirname(path), target)) for target in targets}


def reachable(path: str) -> set[str]:
    found, waiting = set[str](), [path]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return found


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(static_files.router)
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("name", PAGES)
def test_every_module_and_style_of_a_page_is_served(client: TestClient, name: str) -> None:
    urls = re.findall(r'(?:src|href)="\.\.(/static/[^"]+)"', head(name))
    assert len(urls) >= 4
    scripts = [f"/static/{VERSION}/{path}" for path in reachable(f"pages/{name}/{name}.js")]
    for url in [*urls, *scripts]:
        answer = client.get(url)
        assert answer.status_code == 200, url
        kind = "text/javascript" if url.endswith(".js") else "text/css"
        assert answer.headers["content-type"].startswith(kind)
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path", ["0123456789abcdef/canvas/canvas.js", f"{VERSION}/web/app.py", f"{VERSION}/../app.py"]
)
def test_another_version_and_another_file_are_not_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


@given(st.sampled_from(sorted(FILES)), st.binary(min_size=1, max_size=3))
def test_the_version_changes_with_any_file(path: str, added: bytes) -> None:
    changed = {**FILES, path: FILES[path] + added}
    assert version_of(changed) != VERSION
    del changed[path]
    assert version_of(changed) != VERSION


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_script_imports_its_own_folder_or_what_pages_share(path: str) -> None:
    folder = dirname(path)
    allowed = {
        "canvas": ("canvas", *CANVAS_MAY_IMPORT),
        "pages/shared": ("pages/shared",),
    }.get(folder, (folder, "canvas", "pages/shared"))
    assert {other for other in imports(path) if not {other, dirname(other)} & {*allowed}} == set()


def test_scripts_do_not_import_in_circles_and_every_one_is_used() -> None:
    TopologicalSorter({path: imports(path) for path in SCRIPTS}).prepare()
    used = set[str]().union(*(reachable(f"pages/{page}/{page}.js") for page in PAGES))
    assert set(SCRIPTS) - used == set()
