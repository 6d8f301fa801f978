"""Results of generation runs of older versions, whose keys and values were partly sentences."""

import re
from collections.abc import Mapping
from typing import Any

_STOP_REASONS = {"by hand": "interrupted", "the budget is spent": "budget_spent"}
_LACKING = {
    "neither texts nor regions": "no texts or regions",
    "nothing to tell": "nothing to describe",
}
_KEYS = {
    "submitted, to be collected": "awaiting_collection",
    "replies that nobody asked for": "unknown_replies",
}
_COSTS = {"cost": "cost_usd", "cost of what is submitted, at most": "submitted_max_cost_usd"}
_SKIPPED = "images with "
_OTHER_LANGUAGE = "images whose texts are not in "
_PENDING = re.compile(r"(\w+), (\d+) of (\d+)")


def convert(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results with the fields of `generation.runs.results`, except for plain renames.

    >>> convert({"kept triples": 3, "cost": "$0.0016", "images with no regions": 1})
    {'kept': 3, 'cost_usd': 0.0016, 'skipped_images': {'no regions': 1}}
    >>> convert({"stopped": "by hand", "batch_1": "in_progress, 0 of 38"})["stopped"]
    'interrupted'
    """
    results: dict[str, Any] = {}
    skipped: dict[str, int] = {}
    pending: list[dict[str, Any]] = []
    for key, value in document.items():
        state = _PENDING.fullmatch(value) if isinstance(value, str) else None
        if key.startswith(_SKIPPED):
            lacking = key.removeprefix(_SKIPPED)
            skipped[_LACKING.get(lacking, lacking)] = value
        elif key.startswith(_OTHER_LANGUAGE):
            results["images_in_other_language"] = value
        elif key.startswith("kept "):
            results["kept"] = value
        elif key in _COSTS:
            results[_COSTS[key]] = float(value.removeprefix("$"))
        elif key == "stopped":
            results[key] = _STOP_REASONS.get(value, value)
        elif state:
            pending.append(
                {
                    "batch": key,
                    "status": state[1],
                    "answered": int(state[2]),
                    "requests": int(state[3]),
                }
            )
        else:
            results[_KEYS.get(key, key)] = value
    if skipped:
        results["skipped_images"] = skipped
    if pending:
        results["pending_batches"] = pending
    return results
