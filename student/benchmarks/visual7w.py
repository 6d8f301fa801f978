"""Visual7W, telling questions (Zhu et al. 2016): four answers; questions refer to no region.

Files: `dataset_v7w_telling.json` and `images/`. The test split is used.
"""

from collections.abc import Iterator
from pathlib import Path

from student.benchmarks.protocol import (
    Item,
    LoadReport,
    Question,
    accuracy_figure,
    choices_from,
    count_correct,
    find_file,
    find_image,
    read_json,
)

name = "visual7w"
title = "Visual7W"
paper_columns = ("Visual7W",)
count_item, figures = count_correct, accuracy_figure

_SPLIT = "test"


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per question; its id determines the position of the right answer."""
    dataset = read_json(find_file(folder, ["dataset_v7w_telling.json"], title))
    for row in dataset["images"]:
        if row["split"] != _SPLIT:
            continue
        image = find_image([folder / "images", folder], row["filename"], report)
        if image is None:
            continue
        for pair in row["qa_pairs"]:
            distractors = choices_from(pair.get("multiple_choices"))
            if len(distractors) < 1:
                report.skipped["no distractors"] += 1
                continue
            position = int(pair["qa_id"]) % (len(distractors) + 1)
            choices = (*distractors[:position], pair["answer"], *distractors[position:])
            question = Question(pair["question"], choices, position)
            yield Item(str(pair["qa_id"]), image, (), (question,))
