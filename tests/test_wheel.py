"""The wheel, installed outside the checkout, serves the app's first page."""

import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from tests.servers import free_port

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lskd` of an environment that holds the wheel; its dependencies are the tests' own.

    They are found by a path in a .pth file, which does not load this checkout's editable install.
    """
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, ROOT),
        ],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python3*/site-packages")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--quiet", "--python", environment / "bin" / "python"),
            *("install", "--no-deps", "--no-index", wheel),
        ],
        check=True,
        env=without_checkout(),
    )
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "lskd"


def without_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture
def served(installed: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    app = subprocess.Popen(
        [installed, "app", "--port", str(port)], cwd=tmp_path, env=without_checkout()
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        assert app.poll() is None, "the app ended"
        try:
            httpx.get(address + "/healthz")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield address
    app.terminate()
    app.wait()


def test_every_module_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import annotator, db.schema, lskd_cli; print(lskd_cli.__file__)"
    ran = subprocess.run(
        [installed.with_name("python"), "-P", "-c", code],
        cwd=tmp_path,
        env=without_checkout(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(installed.parent.parent) in ran.stdout


def test_the_app_shows_its_first_page(served: str) -> None:
    page = httpx.get(served, follow_redirects=True)
    assert page.status_code == 200
    assert page.url.path == "/annotate/"
    script = re.findall(r"/static/\w+/pages/annotate/annotate\.js", page.text)[0]
    modules = (script, "../shared/dom.js", "../../canvas/canvas.js", "../../canvas/theme.css")
    for file in modules:
        assert httpx.get(urljoin(served + script, file)).status_code == 200, file
    batch = httpx.get(f"{served}/api/batches", headers={"x-lskd": "1"}).json()[0]
    assert batch["name"] == "demo"
