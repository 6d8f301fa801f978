"""A-OKVQA, multiple choice (Schwenk et al. 2022): four answers that need world knowledge.

Files: `aokvqa_v1p0_val.json` and COCO's `val2017/`. Questions refer to no region.
"""

from collections.abc import Iterator
from pathlib import Path

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
    read_json,
)

name = "aokvqa"
title = "A-OKVQA"
paper_columns = ("A-OKVQA",)
count_item, figures = count_correct, accuracy_figure


def load_items(folder: Path, report: LoadReport) -> Iterator[Item]:
    """Yield one item per question, including those marked as difficult to answer directly."""
    folders = [folder / "val2017", folder / "images", folder]
    for row in read_json(find_file(folder, ["aokvqa_v1p0_val.json"], title)):
        image = find_image(folders, f"{int(row['image_id']):012}.jpg", report)
        if image is None:
            continue
        if row.get("correct_choice_idx") is None:
            report.skipped["no correct choice is given"] += 1
            continue
        choices = choices_from(row["choices"])
        target = choice_index(row["correct_choice_idx"], choices, report)
        if target is not None:
            question = Question(row["question"], choices, target)
            yield Item(str(row["question_id"]), image, (), (question,))
