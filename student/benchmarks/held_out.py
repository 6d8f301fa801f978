"""Held-out triples of a project as multiple choice; `held_out_export` writes the files.

Files: `choices.jsonl` and `images/`. Questions refer to regions by number.
"""

from collections.abc import Iterator
from pathlib import Path

from regions.geometry import Region
from student.benchmarks.protocol import (
    Item,
    LoadReport,
    Question,
    accuracy_figure,
    count_correct,
    find_file,
    find_image,
    read_json_lines,
)

name = "held-out"
title = "held-out triples"
paper_columns: tuple[str, ...] = ()
count_item, figures = count_correct, accuracy_figure
FILE, IMAGES = "choices.jsonl", "images"


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per triple."""
    for row in read_json_lines(find_file(folder, [FILE], title)):
        image = find_image([folder / IMAGES], row["image"], report)
        if image is None:
            continue
        regions = tuple(
            Region(
                int(region["number"]),
                tuple(region["box"]),
                tuple(tuple(map(tuple, outline)) for outline in region["polygons"]),
            )
            for region in row["regions"]
        )
        question = Question(row["question"], tuple(row["choices"]), int(row["right"]))
        yield Item(str(row["key"]), image, regions, (question,))
