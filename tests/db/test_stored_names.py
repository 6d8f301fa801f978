"""Documents of older versions get today's names: keys are identifiers, intervals are estimates."""

from hypothesis import given
from hypothesis import strategies as st

from db.migrations.documents import (
    CRITIC_RESULTS,
    GENERATE_RESULTS,
    STUDENT_RESULTS,
    STUDENT_SETTINGS,
    Names,
    rename,
    snake_case,
)

documents = st.dictionaries(
    st.text(st.sampled_from("aB1 ,'-_"), min_size=1).filter(snake_case), st.integers() | st.none()
)


def test_a_figure_and_its_interval_become_an_estimate() -> None:
    old = {"F1 at 0.8": 0.3, "F1 at 0.8 interval": [0.1, None], "Brier": None}
    old |= {"Brier interval": None}
    assert rename(old, CRITIC_RESULTS) == {
        "f1_at_08": {"value": 0.3, "low": 0.1, "high": None},
        "brier": {"value": None, "low": None, "high": None},
    }


def test_a_column_of_figures_becomes_three_columns() -> None:
    old = {"curve": {"threshold": [0.1], "precision": [0.5], "precision interval": [[0.4, 0.6]]}}
    assert rename(old, CRITIC_RESULTS)["curve"] == {
        "threshold": [0.1],
        "precision": {"value": [0.5], "low": [0.4], "high": [0.6]},
    }
    missing = {"precision": [None, 1], "precision interval": [None, [1, 1]]}
    assert rename(missing, Names()) == {
        "precision": {"value": [None, 1], "low": [None, 1], "high": [None, 1]}
    }


def test_a_value_with_its_interval_becomes_an_estimate() -> None:
    assert rename({"recall": {"value": 1, "interval": [0, 1]}}, Names()) == {
        "recall": {"value": 1, "low": 0, "high": 1}
    }


def test_lists_of_documents_are_renamed_one_by_one() -> None:
    old = {"promises": [{"target": 0.8, "further": 3}]}
    assert rename(old, CRITIC_RESULTS) == {"guarantees": [{"target": 0.8, "labels_needed": 3}]}


def test_keys_that_are_data_stay() -> None:
    assert rename({"composition": {"box size": {"large, over 25%": [3]}}}, CRITIC_RESULTS) == {
        "composition": {"box_size": {"large, over 25%": [3]}}
    }
    assert rename({"people": {"simulated 1": 0.9}}, Names()) == {"people": {"simulated 1": 0.9}}


def test_results_of_a_generation_run_become_typed_fields() -> None:
    old = {
        "replies": 30,
        "failed calls": 1,
        "submitted": 8,
        "failures": {"400: too much": 1},
        "kept triples": 80,
        "rejected": {"no_json": 2},
        "prompt tokens": 100,
        "cost": "$0.0016",
        "cost of what is submitted, at most": "$0.0200",
        "calls made": 31,
        "answered before": 0,
        "images with no regions": 1,
        "images with neither texts nor regions": 2,
        "images whose texts are not in en": 4,
        "submitted, to be collected": 8,
        "batch_12": "in_progress, 2 of 8",
        "replies that nobody asked for": 1,
        "no longer found": 0,
        "stopped": "the budget is spent",
    }
    new = rename(old, GENERATE_RESULTS)
    assert new == {
        "replies": 30,
        "failed_calls": 1,
        "submitted": 8,
        "failures": {"400: too much": 1},
        "kept": 80,
        "rejected": {"no_json": 2},
        "prompt_tokens": 100,
        "cost_usd": 0.0016,
        "submitted_max_cost_usd": 0.02,
        "calls_made": 31,
        "answered_before": 0,
        "skipped_images": {"no regions": 1, "no texts or regions": 2},
        "images_in_other_language": 4,
        "awaiting_collection": 8,
        "pending_batches": [
            {"batch": "batch_12", "status": "in_progress", "answered": 2, "requests": 8}
        ],
        "unknown_replies": 1,
        "no_longer_found": 0,
        "stopped": "budget_spent",
    }
    assert rename(new, GENERATE_RESULTS) == new
    assert rename({"error": "the disk is full"}, GENERATE_RESULTS) == {"error": "the disk is full"}


def test_results_of_a_student_become_typed_fields() -> None:
    old = {
        "kind": "expression",
        "held-out loss": 2.5,
        "loss with another picture": 2.75,
        "confidence": {"slope": 1.0, "right": 13, "wrong": 12},
        "benchmarks": {
            "snli-ve": {
                "items": 2,
                "left out": {"the image is missing": 1},
                "figures": {"Acc@50": {"value": 26.0, "interval": [12.5, None]}},
            }
        },
    }
    new = rename(old, STUDENT_RESULTS)
    assert new == {
        "kind": "caption-baseline",
        "held_out_loss": 2.5,
        "mismatched_image_loss": 2.75,
        "confidence": {"slope": 1.0, "n_accepted": 13, "n_rejected": 12},
        "benchmarks": {
            "snli-ve": {
                "items": 2,
                "skipped": {"the image is missing": 1},
                "figures": {"acc_at_50": {"value": 26.0, "low": 12.5, "high": None}},
            }
        },
    }
    assert rename(new, STUDENT_RESULTS) == new
    assert rename({"error": "the disk is full"}, STUDENT_RESULTS) == {"error": "the disk is full"}


def test_settings_of_a_student_become_those_of_its_dataclass() -> None:
    old = {"kind": "expression", "batch": 8, "told": "marks", "language_steps": 500}
    new = {"kind": "caption-baseline", "batch_size": 8, "region_input": "marks", "base_steps": 500}
    assert rename(old, STUDENT_SETTINGS) == new
    assert rename(new, STUDENT_SETTINGS) == new


@given(documents)
def test_every_key_becomes_an_identifier_and_stays_one(document: dict[str, int | None]) -> None:
    renamed = rename(document, Names())
    assert all(f"_{key}".isidentifier() for key in renamed)
    assert rename(renamed, Names()) == renamed
