"""What is shown: texts and marks are always in the same numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regions import references
from regions.geometry import Region
from regions.marks import draw_regions
from regions.view import choose_visible, make_view

REGIONS = [Region(n, (10 * n, 5, 10 * n + 30, 60), label=f"thing {n}") for n in range(6)]
IMAGE = Image.new("RGB", (100, 80), "#456")


def test_numbers_in_the_text_are_those_on_the_image() -> None:
    view = make_view(IMAGE, REGIONS, ["[4] hugs [1]"], visible=[4, 1])
    assert view.texts == ("[0] hugs [1]",)
    assert [(r.number, r.label) for r in view.regions] == [(0, "thing 4"), (1, "thing 1")]
    assert view.image.tobytes() == draw_regions(IMAGE, view.regions).tobytes()


def test_marks_are_drawn_after_resizing() -> None:
    view = make_view(IMAGE, REGIONS, [], visible=[2], size=(50, 160))
    assert view.image.size == (50, 160)
    assert view.regions[0].box == (10, 10, 25, 120)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_renumbering_can_be_undone(order: list[int], count: int) -> None:
    shown = order[:count]
    text = " and ".join(f"[{n}]" for n in shown)
    (renumbered,) = make_view(IMAGE, REGIONS, [text], visible=shown).texts
    assert references.mentioned(renumbered) == tuple(range(count))
    assert references.renumber(renumbered, dict(enumerate(shown))) == text


def test_a_text_about_a_region_that_is_not_visible_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\[4\]"):
        make_view(IMAGE, REGIONS, ["[4] hugs [1]"], visible=[1])
    with pytest.raises(ValueError, match=r"no region \[9\]"):
        make_view(IMAGE, REGIONS, [], visible=[9])


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_mentioned_regions_or_all_are_chosen(seed: int, own: float) -> None:
    chosen = choose_visible([4, 1], range(6), p_mentioned=own, rng=np.random.default_rng(seed))
    assert sorted(chosen) in ([1, 4], [0, 1, 2, 3, 4, 5])


def test_mentioned_regions_are_chosen_with_the_stated_probability() -> None:
    rng = np.random.default_rng(0)
    draws = [
        len(choose_visible([4, 1], range(6), p_mentioned=0.6, rng=rng)) == 2 for _ in range(2000)
    ]
    assert np.mean(draws) == pytest.approx(0.6, abs=0.03)
