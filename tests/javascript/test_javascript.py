"""The scripts of the pages: their own tests, their types, and that they agree with Python."""

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from annotator.web.static_files import FILES
from regions import marks
from regions.geometry import region_at
from tests.javascript import payload_types
from tests.regions import shared_cases

HERE = Path(__file__).parent
SIZE = (40, 30)


@pytest.fixture(scope="module")
def node() -> str:
    program = shutil.which("node")
    if program is None and os.environ.get("LSKD_TEST_ALL"):
        pytest.fail("Node.js is missing, and LSKD_TEST_ALL says that nothing may be skipped")
    if program is None:
        pytest.skip("no Node.js: install version 20 or newer, for example apt-get install nodejs")
    return program


def test_the_scripts_pass_their_own_tests(node: str) -> None:
    files = sorted(HERE.glob("*.test.js"))
    assert files
    ran = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def random_scene(rng: random.Random) -> dict[str, Any]:
    """A few regions on a small grid, so that points often lie on edges and corners."""

    def ring() -> list[list[int]]:
        return [
            [rng.randint(0, SIZE[0]), rng.randint(0, SIZE[1])] for _ in range(rng.randint(3, 6))
        ]

    regions = []
    for number in rng.sample(range(20), rng.randint(1, 5)):
        polygons = [ring() for _ in range(rng.choice((0, 0, 1, 2)))]
        x, y = rng.randint(0, SIZE[0] - 1), rng.randint(0, SIZE[1] - 1)
        box = [x, y, rng.randint(x + 1, SIZE[0]), rng.randint(y + 1, SIZE[1])]
        regions.append({"number": number, "box": box, "polygons": polygons})
    return {
        "regions": regions,
        "points": [[rng.randint(0, 80) / 2, rng.randint(0, 60) / 2] for _ in range(20)],
        "badges": [[rng.randint(3, 9), rng.randint(3, 8)] for _ in regions],
        "size": SIZE,
    }


def test_the_canvas_selects_and_places_as_python_does(node: str) -> None:
    rng = random.Random(0)
    scenes = [random_scene(rng) for _ in range(500)]
    ran = subprocess.run(
        [node, HERE / "place.js"],
        input=json.dumps(scenes),
        capture_output=True,
        text=True,
        check=True,
    )
    for scene, result in zip(scenes, json.loads(ran.stdout), strict=True):
        regions = shared_cases.to_regions(scene["regions"])
        selected = [region_at(regions, x, y) for x, y in scene["points"]]
        badges = [(w, h) for w, h in scene["badges"]]
        assert result == {
            "numbers": [region.number if region else None for region in selected],
            "corners": [list(corner) for corner in marks.place_badges(regions, badges, SIZE)],
        }, scene


def test_the_canvas_has_the_casing_of_drawn_regions() -> None:
    styles = FILES["canvas/canvas.css"].decode()
    assert re.findall(r"\.casing \{[^}]*stroke: (#\w+)", styles) == [marks.CASING]


@pytest.mark.parametrize("folder", payload_types.ROOTS)
def test_the_types_of_payloads_are_those_of_python(folder: str) -> None:
    stored = (payload_types.PAGES / folder / "payloads.d.ts").read_text("utf-8")
    hint = "run: python -m tests.javascript.payload_types"
    assert stored == payload_types.declarations(folder), hint
