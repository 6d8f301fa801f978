"""Regions of an image: what a click means, and the promises that hold for any box."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regions.geometry import Box, Region, box_error, clip, iou, region_at
from tests.regions import shared_cases

coordinates = st.floats(0, 1000)
sizes = st.floats(0.5, 1000)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(coordinates), draw(coordinates)
    return x, y, x + draw(sizes), y + draw(sizes)


@st.composite
def several_regions(draw: st.DrawFn) -> list[Region]:
    return [Region(n, box) for n, box in enumerate(draw(st.lists(boxes(), max_size=6)))]


TRIANGLE = Region(0, (0, 0, 10, 10), (((0, 0), (10, 0), (0, 10)),))
TWO_PARTS = Region(
    1, (0, 0, 10, 4), (((0, 0), (4, 0), (4, 4), (0, 4)), ((6, 0), (10, 0), (10, 4), (6, 4)))
)


@given(boxes(), boxes())
def test_iou_is_symmetric_and_between_0_and_1(a: Box, b: Box) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1
    assert iou(a, a) == 1


def test_boxes_that_only_touch_have_an_iou_of_0() -> None:
    assert iou((0, 0, 5, 5), (5, 0, 9, 5)) == 0


@given(several_regions(), coordinates, coordinates)
def test_a_click_selects_the_smallest_region_under_it(
    regions: list[Region], x: float, y: float
) -> None:
    region = region_at(regions, x, y)
    under = [other for other in regions if other.contains(x, y)]
    assert (region is None) == (not under)
    assert all(region.area <= other.area for other in under if region)


def test_a_click_on_equal_regions_selects_the_lowest_number() -> None:
    same = (0.0, 0.0, 4.0, 4.0)
    region = region_at([Region(7, same), Region(2, same), Region(5, same)], 1, 1)
    assert region is not None
    assert region.number == 2


def test_a_click_beside_an_outline_selects_the_region_behind() -> None:
    behind = Region(3, (-50, -50, 50, 50))
    assert region_at([TRIANGLE, behind], 9, 9) == behind
    assert region_at([TRIANGLE, behind], 2, 2) == TRIANGLE


@given(boxes(), st.floats(0, 1), st.floats(0, 1))
def test_a_polygon_around_its_box_contains_what_the_box_contains(
    box: Box, right: float, down: float
) -> None:
    x1, y1, x2, y2 = box
    ring = ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
    x, y = min(x1 + right * (x2 - x1), x2), min(y1 + down * (y2 - y1), y2)
    assert Region(0, box).contains(x, y)
    assert Region(0, box, (ring,)).contains(x, y)
    assert not Region(0, box, (ring,)).contains(x2 + 1, y)
    assert Region(0, box, (ring,)).area == pytest.approx(Region(0, box).area, rel=1e-6)


# tests/javascript/geometry.test.js runs the same cases.
@pytest.mark.parametrize("case", shared_cases.load("click_cases"), ids=lambda case: case["name"])
def test_a_click(case: dict[str, Any]) -> None:
    regions = shared_cases.to_regions(case["regions"])
    for x, y, number in case["points"]:
        region = region_at(regions, x, y)
        assert (region.number if region else None) == number, (x, y)


def test_an_outline_of_two_polygons_excludes_the_gap_between_them() -> None:
    assert TWO_PARTS.area == 32
    assert TWO_PARTS.contains(1, 1)
    assert TWO_PARTS.contains(7, 1)
    assert not TWO_PARTS.contains(5, 1)


@given(boxes(), st.floats(0.01, 100), st.floats(0.01, 100))
def test_scaling_is_undone_by_the_inverse_scale(box: Box, sx: float, sy: float) -> None:
    region = Region(4, box, (((box[0], box[1]), (box[2], box[1]), (box[2], box[3])),), "dog")
    assume(sx * (box[2] - box[0]) > 0 and sy * (box[3] - box[1]) > 0)
    there = region.scaled(sx, sy)
    back = there.scaled(1 / sx, 1 / sy)
    assert back.box == pytest.approx(box)
    assert back.polygons[0][1] == pytest.approx((box[2], box[1]))
    assert (back.number, back.label) == (4, "dog")
    assert there.area == pytest.approx(region.area * sx * sy, rel=1e-3)


def test_with_number_changes_only_the_number() -> None:
    assert TRIANGLE.with_number(9) == Region(9, TRIANGLE.box, TRIANGLE.polygons)


@pytest.mark.parametrize(
    ("number", "box"),
    [(-1, (0, 0, 1, 1)), (0, (1, 0, 1, 1)), (0, (0, 2, 1, 1)), (0, (0, 0, float("nan"), 1))],
)
def test_a_negative_number_or_an_empty_box_is_an_error(number: int, box: Box) -> None:
    with pytest.raises(ValueError, match="region"):
        Region(number, box)


def test_a_polygon_of_two_corners_is_an_error() -> None:
    with pytest.raises(ValueError, match="three corners"):
        Region(0, (0, 0, 1, 1), (((0, 0), (1, 1)),))


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ([0, 0, 10], "3 values instead of 4"),
        ([0, 0, "10", 10], "not a number"),
        ([0, 0, True, 10], "not a number"),
        ([0, 0, None, 10], "not a number"),
        ([0, 0, float("nan"), 10], "not a number"),
        ([0, 0, float("inf"), 10], "not a number"),
        ([10, 0, 5, 10], "x2 <= x1: inverted or empty"),
        ([0, 10, 5, 10], "y2 <= y1: inverted or empty"),
        ([0, 0, 642, 10], "outside the image of 640x480"),
        ([-2, 0, 10, 10], "outside the image of 640x480"),
        ([640, 0, 640.5, 10], "outside the image of 640x480"),
    ],
)
def test_box_error_says_what_is_wrong(box: list[object], fault: str) -> None:
    assert (box_error(box, 640, 480) or "").startswith(fault)


@given(boxes())
def test_a_valid_box_is_inside_the_image_once_clipped(box: Box) -> None:
    moved = (box[0] - 1, box[1] - 1, box[2], box[3])
    if box_error(moved, 700, 500) is None:
        region = Region(0, clip(moved, 700, 500))
        assert all(low >= 0 for low in region.box[:2])
        assert region.box[2] <= 700
        assert region.box[3] <= 500
        assert all(abs(a - b) <= 1 for a, b in zip(region.box, moved, strict=True))


def test_a_rounding_error_at_the_border_is_accepted() -> None:
    assert box_error([-1.0, 0, 641.0, 480], 640, 480) is None
    assert box_error([0, 0, 641.01, 480], 640, 480) is not None
