"""Validation of what replies contain, and the reasons of rejections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.checks import validation
from generation.checks.validation import DuplicateFilter, ValidationFailure


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The caption says that [0] is a baker.", "leak"),
        ("As described in the picture's list, [0] waits.", "leak"),
        ("[0] stands at (0.25, 0.5) of it.", "leak"),
        ("The bounding box of [0] is large.", "leak"),
        ("word " * 200, "length"),
        ("why", "length"),
        ("Почему [0] смотрит на [1] так долго?", "language"),
        ("Warum schaut [0] so lange auf den Ball?", "language"),
    ],
)
def test_invalid_texts_are_rejected(text: str, reason: str) -> None:
    failure = validation.check_texts({"question": text}, ["question"], "en")
    assert isinstance(failure, ValidationFailure)
    assert failure.reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "Why does [0] hold a sign that lists prices?",
        "What does the label on the bottle tell [1]?",
        "Did [0] pay 3.50, or 4.20, for the coffee?",
        "Où va [0] avec son café?",
        "Which [0] has sushi, sashimi and teriyaki on it?",
        "Does the graffiti say Bonjour Monsieur Dupont?",
    ],
)
def test_texts_that_resemble_invalid_ones_are_kept(text: str) -> None:
    assert validation.check_texts({"question": text}, ["question"], "en") == [text]


@pytest.mark.parametrize(
    "item", [None, "x", 3, [], {"question": 3}, {"question": " "}, {"other": "x"}]
)
def test_missing_fields_are_rejected(item: object) -> None:
    failure = validation.check_texts(item, ["question"], "en")
    assert isinstance(failure, ValidationFailure)
    assert failure.reason == "fields"


def test_regions_by_number() -> None:
    known = {0, 1, 2}
    assert validation.check_regions(["[2] sees [0]"], [1], known, by_number=True) == [2, 0]
    for text in ("[7] waits", "nobody waits", "[0, 1] wait"):
        failure = validation.check_regions([text], [0], known, by_number=True)
        assert isinstance(failure, ValidationFailure)
        assert failure.reason == "regions"


def test_regions_by_description() -> None:
    known = {0, 1, 2}
    assert validation.check_regions(["the man waits"], [2, 0, 2], known, by_number=False) == [2, 0]
    for text, listed in (("[0] waits", [0]), ("he waits", [9]), ("he waits", None), ("x", [True])):
        assert isinstance(
            validation.check_regions([text], listed, known, by_number=False), ValidationFailure
        )


def test_near_duplicates_are_found() -> None:
    duplicates = DuplicateFilter(
        ["Why does [0] look at the clock on the wall? She is late for work."]
    )
    assert not duplicates.add(
        "Why does [0] look at the clock on the wall? She is late for her work."
    )
    assert duplicates.add("Where will [0] go next? Out of the door, to the bus.")
    assert not duplicates.add("Where will [0] go next? Out of the door, to the bus!")


@given(st.lists(st.text(max_size=60), max_size=8))
def test_no_text_is_added_twice(texts: list[str]) -> None:
    duplicates = DuplicateFilter([])
    for text in texts:
        duplicates.add(text)
        assert not duplicates.add(text)
