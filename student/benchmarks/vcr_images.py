"""Images of VCR and VisualCOMET: stills of films, each with a file of detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regions.geometry import Region
from student.benchmarks.protocol import (
    LoadReport,
    find_image,
    read_json,
    region_from_box,
    region_scale,
)

IMAGES = "vcr1images"


@dataclass(frozen=True, slots=True)
class Still:
    """An image, and its detections and their class names by index."""

    image: Path
    regions: dict[int, Region]
    names: Sequence[str]

    def visible_regions(self, mentioned: Sequence[int]) -> tuple[Region, ...]:
        """Return the mentioned detections; if there are none, all persons; without persons, all."""
        persons = [n for n in self.regions if n < len(self.names) and self.names[n] == "person"]
        numbers = sorted({*mentioned}) or persons or list(self.regions)
        return tuple(self.regions[n] for n in numbers)


def load_still(folder: Path, record: dict[str, Any], report: LoadReport) -> Still | None:
    """Return the still of an annotation; None if it cannot be used, which is reported."""
    image = find_image([folder / IMAGES], str(record.get("img_fn")), report)
    if image is None:
        return None
    file = folder / IMAGES / str(record.get("metadata_fn"))
    if not file.is_file():
        report.skipped["the image's metadata is missing"] += 1
        return None
    metadata = read_json(file)
    size = int(metadata["width"]), int(metadata["height"])
    scale = region_scale(image, size, report)
    if scale is None:
        return None
    regions = (region_from_box(n, box[:4], size, scale) for n, box in enumerate(metadata["boxes"]))
    return Still(image, {r.number: r for r in regions if r is not None}, metadata["names"])
