"""Marks: colours that stay apart, numerals that can be read, and a picture that keeps its size."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regions.geometry import Region, iou
from regions.marks import PALETTE, colour, draw_regions, ink, place_badges
from tests.regions import shared_cases

# What dichromats see (Viénot, Brettel and Mollon 1999; linear RGB).
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]]),
    "deuteranopia": np.array([[0.292, 0.708, 0], [0.292, 0.708, 0], [-0.022, 0.022, 1]]),
}


def linear(hexadecimal: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    channels = np.array([int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def oklab(
    rgb: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    colours: np.ndarray[tuple[int], np.dtype[np.float64]] = lab @ np.cbrt(
        cones @ np.clip(rgb, 0, 1)
    )
    return colours


@pytest.mark.parametrize(
    ("sight", "apart"), [("normal", 0.08), ("protanopia", 0.02), ("deuteranopia", 0.02)]
)
def test_colours_can_be_told_apart(sight: str, apart: float) -> None:
    assert len(set(PALETTE)) >= 20
    colours = [oklab(SIGHT[sight] @ linear(c)) for c in PALETTE]
    nearest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(colours, 2))
    assert nearest > apart


@pytest.mark.parametrize("background", PALETTE)
def test_numbers_have_enough_contrast_on_their_colour(background: str) -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])
    luminance = float(weights @ linear(background))
    text = 1.0 if ink(background) == "#fff" else 0.0
    light, dark = max(luminance, text), min(luminance, text)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


boxes = st.tuples(
    st.integers(0, 180), st.integers(0, 130), st.integers(4, 120), st.integers(4, 90)
).map(lambda b: (b[0], b[1], min(b[0] + b[2], 200), min(b[1] + b[3], 150)))
regions = st.lists(boxes, max_size=25).map(
    lambda found: [Region(n, b) for n, b in enumerate(found) if b[0] < b[2] and b[1] < b[3]]
)


@given(regions, st.sampled_from(["numbered", "lskd"]))
def test_drawing_never_changes_the_size(given_regions: list[Region], style: str) -> None:
    image = Image.new("L", (200, 150))
    drawn = draw_regions(image, given_regions, style="lskd" if style == "lskd" else "numbered")
    assert (drawn.size, drawn.mode) == ((200, 150), "RGB")
    assert image.mode == "L"


@given(regions)
def test_badges_lie_inside_the_image(given_regions: list[Region]) -> None:
    badges = [(14, 14)] * len(given_regions)
    for x, y in place_badges(given_regions, badges, (200, 150)):
        assert 0 <= x <= 200 - 14
        assert 0 <= y <= 150 - 14


# tests/javascript/geometry.test.js runs the same cases.
@pytest.mark.parametrize("case", shared_cases.load("badge_cases"), ids=lambda case: case["name"])
def test_a_badge_is_placed(case: dict[str, Any]) -> None:
    regions = shared_cases.to_regions(case["regions"])
    badges = [(w, h) for w, h in case["badges"]]
    corners = place_badges(regions, badges, tuple(case["size"]))
    assert [list(corner) for corner in corners] == case["corners"]


def test_badges_of_equal_boxes_do_not_overlap() -> None:
    same = [Region(n, (20, 20, 120, 100)) for n in range(6)]
    corners = place_badges(same, [(14, 14)] * 6, (200, 150))
    rectangles = [(x, y, x + 14, y + 14) for x, y in corners]
    assert all(iou(a, b) == 0 for a, b in itertools.combinations(rectangles, 2))


def test_the_badge_of_a_tiny_region_does_not_cover_it() -> None:
    (corner,) = place_badges([Region(0, (100, 100, 110, 110))], [(14, 14)], (200, 150))
    assert iou((corner[0], corner[1], corner[0] + 14, corner[1] + 14), (100, 100, 110, 110)) == 0


def test_numerals_can_be_told_apart_at_224_pixels() -> None:
    blank = Image.new("RGB", (224, 224), "#808080")
    renderings = set()
    for number in range(30):
        # The same colour for all: what differs is the numeral.
        region = Region(number, (60, 60, 160, 160))
        drawn = draw_regions(blank, [region]).crop((55, 55, 85, 85)).convert("RGBA")
        badge = tuple(int(colour(number)[i : i + 2], 16) for i in (1, 3, 5))
        pixels = np.asarray(drawn)[..., :3]
        renderings.add((pixels == badge).all(axis=-1).tobytes())
    assert len(renderings) == 30


def test_the_released_drawing_is_reproduced() -> None:
    drawn = draw_regions(
        Image.new("RGB", (60, 60), "#000000"),
        [Region(7, (10, 10, 40, 40)), Region(3, (20, 20, 50, 50))],
        style="lskd",
    )
    assert drawn.getpixel((10, 10)) == (0x05, 0xFF, 0x37)  # the first place's outline, two pixels
    assert drawn.getpixel((11, 30)) == (0x05, 0xFF, 0x37)
    assert drawn.getpixel((50, 50)) == (0x99, 0xCC, 0xFF)  # the second's
    fill = drawn.getpixel((15, 15))
    assert fill == tuple(round(c * 0x20 / 255) for c in (0xFF, 0x05, 0xCD))
