"""Results keep their types through the store, and are printed without Python's notation."""

import json
from dataclasses import dataclass

import pytest

from db.store.results import Estimate, from_json, title, to_json
from lskd_console import print_result, printable


@dataclass(frozen=True, slots=True)
class Curve:
    thresholds: list[float]


@dataclass(frozen=True, slots=True)
class Figures:
    average_precision: Estimate
    curve: Curve
    labelled: int
    note: str | None = None


FIGURES = Figures(Estimate(0.5, 0.25, 0.75), Curve([0.1, 0.2]), 3)


def test_a_result_comes_back_as_it_was_stored() -> None:
    stored = json.loads(json.dumps(to_json(FIGURES)))
    assert from_json(Figures, stored) == FIGURES
    assert from_json(Figures, stored | {"added_later": 1}) == FIGURES


def test_an_undefined_figure_is_null_in_json() -> None:
    result = Figures(Estimate(float("nan"), 0.1, float("inf")), Curve([]), 0)
    assert to_json(result)["average_precision"] == {"value": None, "low": 0.1, "high": None}


def test_a_result_is_printed_under_titles(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(FIGURES, as_json=False)
    assert "Average precision  0.500 [0.250, 0.750]\n" in capsys.readouterr().out
    print_result([FIGURES, FIGURES], as_json=False)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("Average precision")
    assert len(rows) == 2
    print_result(FIGURES, as_json=True)
    assert json.loads(capsys.readouterr().out)["labelled"] == 3
    print_result([], as_json=False)
    assert capsys.readouterr().out == "none\n"


def test_amounts_in_dollars_have_a_dollar_sign(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"max_cost_usd": 0.0016}, as_json=False)
    assert capsys.readouterr().out == "Max cost  $0.0016\n"


@pytest.mark.parametrize(
    "value", [None, True, {}, {"a": None}, [1, None], (), {"a": {"b": [True]}}, 0.5, {1, 2}]
)
def test_no_python_notation_is_printed(value: object) -> None:
    assert not set("{}()'") & set(printable(value))
    assert "None" not in printable(value)
    assert "True" not in printable(value)


def test_titles_are_words() -> None:
    assert title("labelled_triples") == "Labelled triples"
    assert title("held_out_loss") == "Held-out loss"
    assert title("f1_at_08") == "F1 at 0.8"
