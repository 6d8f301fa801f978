"""Held-out triples of a project as multiple choice; `held_out_export` writes the files.

Files: `choices.jsonl` and `images/`. Questions refer to regions by number.
"""

from collections.abc import Iterator
from pathlib import Path

from regions.geometry import Region, box_error
from student.benchmarks.protocol import (
    Item,
    LoadReport,
    Question,
    accuracy_figure,
    choice_index,
    choices_from,
    count_correct,
    find_file,
    find_image,
    image_size,
    read_json_lines,
    refer_to,
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
        size = image_size(image, report)
        if size is None:
            continue
        if any(box_error(region.box, *size) for region in regions):
            report.skipped["a region lies outside its image"] += 1
            continue
        text, choices = row["question"], choices_from(row["choices"])
        if not refer_to((text, *choices), [region.number for region in regions], report):
            continue
        target = choice_index(row["right"], choices, report)
        if target is not None:
            yield Item(str(row["key"]), image, regions, (Question(text, choices, target),))
