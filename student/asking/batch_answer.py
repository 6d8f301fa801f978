"""Many questions out of a file: each line answered, or kept out with its reason."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from db.images.image_files import decode
from db.store import json_lines
from db.store.session import Store
from regions.errors import UserError
from regions.geometry import Region, box_error, clip
from regions.progress import Progress, no_progress
from student.asking.inference import Loader, ask, ready


def answer_all(
    store: Store,
    file: Path,
    out: Path,
    images: Path,
    *,
    run_name: str | None = None,
    progress: Progress = no_progress,
    loader: Loader = ready,
) -> dict[str, Any]:
    """Write the answer to each line of a file, in its order; how many, and what could not be.

    A line is `{"image": FILE, "regions": [[x1, y1, x2, y2], ...], "question": TEXT}`; without a
    question the student asks itself one. A line that cannot be answered gets its reason instead.
    Lines that `out` has already, because a run was stopped, are not asked again. UserError for a
    file that is not there, and for answers to another file.
    """
    try:
        asked = [line for line in file.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"it cannot be read: {error}", where=str(file)) from error
    done = _done(out, asked)
    reasons: Counter[str] = Counter(row["reason"] for row in done if "reason" in row)
    with out.open("a", encoding="utf-8") as written:
        for number, line in enumerate(asked[len(done) :], start=len(done) + 1):
            row: dict[str, Any] = {"line": number, "asked": line}
            try:
                row |= _answered(store, line, images, run_name, loader)
            except UserError as error:
                row |= {"reason": error.problem, "error": str(error)}
                reasons[error.problem] += 1
            written.write(json_lines.to_line(row))
            written.flush()
            progress(number, len(asked))
    left_out = sum(reasons.values())
    return {"file": str(out), "answered": len(asked) - left_out, "left out": dict(reasons)}


def region(number: int, box: Sequence[object], size: tuple[int, int], *, where: str) -> Region:
    """A region of a picture of `size` out of a box; UserError where it is none."""
    if fault := box_error(box, *size):
        raise UserError(f"no region: {fault}", where=where, hint="give x1,y1,x2,y2 in pixels")
    x1, y1, x2, y2 = (float(value) for value in box)  # type: ignore[arg-type]  # they are numbers
    return Region(number, clip((x1, y1, x2, y2), *size))


def _done(out: Path, asked: Sequence[str]) -> list[dict[str, Any]]:
    """What was written before, of the same questions."""
    try:
        found = json_lines.read_rows(out)
        same = [row["asked"] for row in found] == list(asked[: len(found)])
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise UserError(
            "these are answers to something else", where=str(out), hint="choose another --out"
        )
    json_lines.truncate_partial_line(out)
    return found


def _answered(
    store: Store, line: str, images: Path, run_name: str | None, loader: Loader
) -> dict[str, Any]:
    try:
        row = json.loads(line)
        name, boxes = row["image"], list(row["regions"])
        question = str(row["question"]) if row.get("question") else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a question: {type(error).__name__} {error}") from error
    picture = decode(images / str(name), str(name))
    regions = [region(n, box, picture.size, where=str(box)) for n, box in enumerate(boxes)]
    found = ask(store, picture, regions, question, run_name=run_name, loader=loader)
    return {
        "question": found.question,
        "answer": found.answer,
        "rationale": found.rationale,
        "confidence": found.confidence,
        "seconds": round(found.seconds, 3),
    }
