"""What VCR and VisualCOMET share: stills of films, with a file of detections beside each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regions.geometry import Region
from student.benchmarks.protocol import Reading, document, picture, region

IMAGES = "vcr1images"


class Still:
    """A still and its detections, by their index."""

    def __init__(self, image: Path, regions: dict[int, Region], names: Sequence[str]) -> None:
        self.image, self.regions, self.names = image, regions, names

    def people(self) -> list[int]:
        """The detections that are persons."""
        return [n for n in self.regions if n < len(self.names) and self.names[n] == "person"]

    def shown(self, mentioned: Sequence[int]) -> tuple[Region, ...]:
        """The detections that are mentioned; where none is, all persons; else all there are."""
        chosen = sorted({*mentioned}) or self.people() or list(self.regions)
        return tuple(self.regions[n] for n in chosen)


def still(folder: Path, record: dict[str, Any], reading: Reading) -> Still | None:
    """The still of an annotation; None where a file is missing or has another form."""
    image = picture([folder / IMAGES], str(record.get("img_fn")), reading)
    if image is None:
        return None
    metadata = folder / IMAGES / str(record.get("metadata_fn"))
    if not metadata.is_file():
        reading.left_out["the image's metadata is missing"] += 1
        return None
    told = document(metadata)
    size = int(told["width"]), int(told["height"])
    found = (region(n, box[:4], size) for n, box in enumerate(told["boxes"]))
    return Still(image, {one.number: one for one in found if one is not None}, told["names"])
