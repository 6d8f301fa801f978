"""A record of each format in which every field has a value, and their mutations."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

Record = dict[str, Any]

SIZE = (100, 80)
IMAGES = ("VG_100K/1.jpg", "VG_100K_2/2.jpg", "a.jpg", "b.jpg")

NATIVE: Record = {
    "image": "a.jpg",
    "regions": [
        {
            "number": 0,
            "box": [1, 2, 30, 40],
            "polygons": [[[1, 2], [30, 2], [30, 40]]],
            "label": "cat",
            "caption": "a black cat",
        },
    ],
    "scene": ["A cat looks at a box."],
    "question": "What will [0] do?",
    "answer": "[0] will sit in it.",
    "rationale": "Cats like boxes.",
    "shown": [0],
    "kind": "next",
    "source": "me",
    "model": "pen",
    "prompt_version": "1",
    "scores": {"other critic": 0.5},
    "id": "mine-1",
    "width": 100,
    "height": 80,
}
LSKD: Record = {
    "image": "a.jpg",
    "source": "teacher",
    "split": "train",
    "index": "teacher-7",
    "region": [0],
    "region_all": [0],
    "references": [
        {
            "name": "0",
            "boxes": [[1, 2, 30, 40, 0.9]],
            "segms": [[[1, 2], [30, 2], [30, 40]]],
            "obj_guess": "dog",
        }
    ],
    "question": ["Why", "does", [0], "wait", "?"],
    "answer": ["It", "is", "early", "."],
    "rationale": [[0], "'s", "eyes", "are", "closed", "."],
    "prediction": 0.9,
    "qa_score": 0.8,
    "r_score": 0.7,
    "label": ["accept", {"annotator": "ann", "decision": "reject"}],
    "annotators": ["bob", "ann"],
    "reject_label": 0,
}
VCR: Record = {
    "movie": "film",
    "objects": ["person", "cup"],
    "img_fn": "a.jpg",
    "metadata_fn": "a.json",
    "question": ["Why", "does", [0], "look", "?"],
    "answer_choices": [["No", "reason", "."], [[0], "is", "thirsty", "."]],
    "answer_label": 1,
    "rationale_choices": [[[1], "is", "full", "."], ["It", "rains", "."]],
    "rationale_label": 0,
    "annot_id": "val-0",
}
VCR_METADATA: Record = {
    "boxes": [[1, 2, 30, 40, 0.9], [50, 50, 60, 60, 0.5]],
    "segms": [[[[1, 2], [30, 2], [30, 40]]], []],
    "names": ["person", "cup"],
    "width": 100,
    "height": 80,
}
LLAVA: Record = {
    "id": "000123",
    "image": ["a.jpg", "b.jpg"],
    "kind": "description",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A dog."},
    ],
    "captions": ["A dog runs."],
    "instances": [{"category": "dog", "bbox": [0.1, 0.2, 0.5, 0.75]}],
    "width": 100,
    "height": 80,
}
VISUAL_GENOME: Record = {
    "image_id": 2,
    "url": "https://example.org/VG_100K_2/2.jpg",
    "width": 100,
    "height": 80,
    "objects": [
        {
            "object_id": 5,
            "names": ["dog"],
            "x": 2,
            "y": 5,
            "w": 40,
            "h": 40,
            "synsets": ["dog.n.01"],
        }
    ],
    "attributes": [
        {"object_id": 5, "names": ["dog"], "attributes": ["wet"], "x": 2, "y": 5, "w": 40, "h": 40}
    ],
    "regions": [{"region_id": 1, "phrase": "a wet dog", "x": 1, "y": 5, "width": 40, "height": 40}],
    "qas": [
        {
            "qa_id": 1,
            "question": "Who waits?",
            "answer": "The dog.",
            "q_objects": [{"object_id": 5}],
            "a_objects": [],
        }
    ],
    "relationships": [{"predicate": "on", "subject": {"object_id": 5}, "object": {"object_id": 5}}],
}
VOTE: Record = {
    "triple": "mine-1",
    "annotator": "ann",
    "decision": "reject",
    "reasons": ["trivial"],
    "time": "2026-03-01T10:00:00Z",
    "created": 1772359200000,
    "withdrawn": None,
    "duration_ms": 3000,
    "simulated": False,
    "anonymous": False,
}
COCO: dict[str, Record] = {
    "images": {
        "id": 2,
        "file_name": "b.jpg",
        "width": 100,
        "height": 80,
        "license": 4,
    },
    "annotations": {
        "id": 2,
        "image_id": 2,
        "bbox": [50, 10, 40, 60],
        "category_id": 1,
        "segmentation": [[50, 10, 90, 10, 90, 70]],
        "iscrowd": 0,
        "area": 2400.0,
    },
    "categories": {"id": 1, "name": "person", "supercategory": "person"},
    "licenses": {"id": 4, "name": "Attribution License", "url": "https://example.org"},
}
"""An entry of each section."""

VALUES: tuple[object, ...] = (
    None,
    True,
    7,
    -1.5,
    10**30,
    10**400,
    math.nan,
    "beach",
    "",
    "\ud800",
    "a\0b",
    "w" * 1_000,
    [],
    ["beach"],
    [None],
    {},
    {"beach": 1},
)
"""What a field may hold that nobody expects."""


def mutations(record: Record) -> Iterator[object]:
    """Yield copies of a record, in each of which one value, at any depth, is another one."""
    for path in _paths(record):
        for value in VALUES:
            yield _replaced(record, path, value)


def write_images(folder: Path) -> Path:
    """Write the images that the records are about."""
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), dtype=np.uint8)
    for name in IMAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(noise).save(folder / name)
    return folder


def _paths(value: object) -> Iterator[tuple[str | int, ...]]:
    yield ()
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        for path in _paths(item):
            yield key, *path


def _replaced(record: object, path: tuple[str | int, ...], value: object) -> object:
    if not path:
        return value
    changed: Any = copy.deepcopy(record)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed
