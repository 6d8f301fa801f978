"""Cases that the Python and the JavaScript rules about regions must both pass."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regions.geometry import Region

_HERE = Path(__file__).parent


def load(name: str) -> list[Any]:
    """Return the cases of a file beside this one."""
    cases: list[Any] = json.loads((_HERE / f"{name}.json").read_text("utf-8"))
    return cases


def to_regions(records: Sequence[dict[str, Any]]) -> list[Region]:
    """Return the regions of a case."""
    return [
        Region(
            record["number"],
            tuple(record["box"]),
            tuple(tuple((x, y) for x, y in ring) for ring in record["polygons"]),
        )
        for record in records
    ]
