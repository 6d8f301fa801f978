"""Names in JSON columns: documents of older versions under today's keys, as pure functions.

Until revision 0006 the keys of results were phrases ("average precision"), with an interval under a
key of its own ("average precision interval"). Now a key is the field of a dataclass, and a figure
with its interval is an `Estimate`: {"value", "low", "high"}.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from db.migrations import generation_results

_INTERVAL = " interval"


@dataclass(frozen=True, slots=True)
class Names:
    """New names of one kind of document.

    `keys` maps an old key to its new one; a key that is not there becomes `snake_case(key)`.
    `nested` maps a new key to the names of the document, or the list of documents, below it. What
    is not in `nested` stays as it is: its keys are data, such as names of people. `convert` changes
    the document before its keys are renamed, for what is no change of names.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, "Names"] = field(default_factory=dict)
    convert: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict


def rename(document: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """The document under its new names; intervals join their figures. Idempotent.

    >>> rename({"AUROC": 0.7, "AUROC interval": [0.6, 0.8], "tested on": 40}, Names())
    {'auroc': {'value': 0.7, 'low': 0.6, 'high': 0.8}, 'tested_on': 40}
    >>> rename({"of": "a,b"}, Names({"of": "from_runs"}))
    {'from_runs': 'a,b'}
    """
    document = names.convert(document)
    renamed = {}
    for key, value in document.items():
        if key.endswith(_INTERVAL) and key.removesuffix(_INTERVAL) in document:
            continue
        new = names.keys.get(key) or snake_case(key)
        if key + _INTERVAL in document:
            renamed[new] = _estimate(value, document[key + _INTERVAL])
        elif isinstance(value, Mapping) and value.keys() == {"value", "interval"}:
            renamed[new] = _estimate(value["value"], value["interval"])
        else:
            renamed[new] = _nested(value, names.nested[new]) if new in names.nested else value
    return renamed


def snake_case(key: str) -> str:
    """The identifier of a phrase.

    >>> snake_case("Seconds per 1,000 triples"), snake_case("held-out loss")
    ('seconds_per_1000_triples', 'held_out_loss')
    """
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"[',.]", "", key.lower())).strip("_")


def _estimate(value: Any, interval: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A figure with its interval; for a list of figures with one interval each, three lists."""
    if isinstance(value, list):
        bounds = [pair or (None, None) for pair in interval]
        return {"value": value, "low": [b[0] for b in bounds], "high": [b[1] for b in bounds]}
    low, high = interval or (None, None)
    return {"value": value, "low": low, "high": high}


def _nested(value: Any, names: Names) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return rename(value, names)
    if isinstance(value, list):
        return [_nested(item, names) for item in value]
    return value


# ---- the documents of revision 0006

GUARANTEE = Names(
    {
        "measured": "measured_precision",
        "kept": "kept_share",
        "labelled": "labelled_triples",
        "further": "labels_needed",
    }
)
CRITIC_SETTINGS = Names(
    {
        "of": "from_runs",
        "size": "image_size",
        "pictures": "score_batch_size",
        "own": "p_own_regions",
        "batch": "batch_size",
        "piece": "micro_batch_size",
        "rate": "learning_rate",
        "frugal": "gradient_checkpointing",
    }
)
CRITIC_RESULTS = Names(
    {
        "F1 at 0.8": "f1_at_08",
        "acceptance": "acceptance_rate",
        "labelled": "labelled_triples",
        "learned from": "train_triples",
        "tested on": "test_triples",
        "not drawn by chance": "excluded_from_test",
        "scored": "scored_triples",
        "seconds per 1,000 triples": "seconds_per_1000",
        "dollars per 1,000 triples": "usd_per_1000",
        "epochs": "best_epoch",
        "texts longer than the model reads": "truncated_texts",
        "triples in memory, as many as fit": "reduced_micro_batch_size",
        "pictures at once, as many as fit": "reduced_score_batch_size",
        "promises": "guarantees",
    },
    {
        "curve": Names({"kept": "kept_share"}),
        "calibration": Names({"score": "mean_score", "accepted": "acceptance_rate"}),
        "composition": Names(),
        "guarantees": GUARANTEE,
    },
)

RELEASE_ESTIMATE = Names({"precision without the annotators' error": "corrected_precision"})
RELEASE_SELECTION = Names({"promised": "guarantee"}, {"guarantee": GUARANTEE})
GENERATE_SETTINGS = Names({"tell": "parts"})
GENERATE_RESULTS = Names(convert=generation_results.convert)
VERBALIZE_RESULTS = Names(
    {
        "nothing written about": "empty_texts",
        "pictures that cannot be read": "unreadable_images",
        "for instance": "unreadable_example",
    }
)
LABEL_RESULTS = Names({"people": "annotator_accuracy"})


def _caption_baseline(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings or results of a student of kind "expression", under the kind's new name."""
    is_renamed = document.get("kind") == "expression"
    return {**document, "kind": "caption-baseline"} if is_renamed else document


STUDENT_SETTINGS = Names(
    {
        "batch": "batch_size",
        "piece": "micro_batch_size",
        "rate": "learning_rate",
        "own": "p_own_regions",
        "rationale": "p_rationale",
        "together": "triples_per_image",
        "instructions": "instruction_share",
        "size": "image_size",
        "told": "region_input",
        "frugal": "gradient_checkpointing",
        "rank": "lora_rank",
        "every": "eval_every",
        "language_steps": "base_steps",
    },
    convert=_caption_baseline,
)
_BENCHMARKS = (
    "vcr",
    "sherlock",
    "visualcomet",
    "aokvqa",
    "snli-ve",
    "visual7w",
    "pope",
    "held-out",
)
BENCHMARK_RESULT = Names({"left out": "skipped"}, {"figures": Names({"Acc@50": "acc_at_50"})})
STUDENT_RESULTS = Names(
    {
        "loss with another picture": "mismatched_image_loss",
        "weights that learned": "trainable_parameters",
        "frozen weights": "frozen_parameters",
        "texts longer than the model reads": "truncated_texts",
        "pictures in memory, as many as fit": "reduced_micro_batch_size",
        "weights of the checkpoint": "checkpoint_weights",
        "weights of the base": "base_weights",
        # Of the first release.
        "loss": "training_loss",
        "loss, right picture": "held_out_loss",
        "loss, another picture": "mismatched_image_loss",
    },
    {
        "confidence": Names({"right": "n_accepted", "wrong": "n_rejected"}),
        "benchmarks": Names(
            {name: name for name in _BENCHMARKS},
            dict.fromkeys(_BENCHMARKS, BENCHMARK_RESULT),
        ),
    },
    convert=_caption_baseline,
)

RUN_SETTINGS: Mapping[str, Names] = {
    "critic": CRITIC_SETTINGS,
    "generate": GENERATE_SETTINGS,
    "student": STUDENT_SETTINGS,
}
"""Settings of runs by kind; those of other kinds stay as they are."""
RUN_RESULTS: Mapping[str, Names] = {
    "critic": CRITIC_RESULTS,
    "generate": GENERATE_RESULTS,
    "labels": LABEL_RESULTS,
    "student": STUDENT_RESULTS,
    "verbalize": VERBALIZE_RESULTS,
}
"""Results of runs by kind; those of other kinds stay as they are."""
COLUMNS: Mapping[tuple[str, str], Names] = {
    ("retrainings", "settings"): CRITIC_SETTINGS,
    ("releases", "estimate"): RELEASE_ESTIMATE,
    ("releases", "selection"): RELEASE_SELECTION,
}
"""Documents of other tables, by table and column."""
