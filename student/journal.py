"""What a run of learning leaves: a line a step, examples as they improve, TensorBoard's files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blip2 import team

FILE = "log.jsonl"


class Journal:
    """Writes what steps have to say; a run that goes on takes back what came after its start."""

    def __init__(self, folder: Path, first: int) -> None:
        self._writes = team.leads()
        if not self._writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in lines(folder) if line["step"] <= first]
        file = folder / FILE
        file.write_text("".join(json.dumps(line) + "\n" for line in kept), "utf-8")
        self._file = file.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first + 1)

    def log(self, told: dict[str, Any]) -> None:
        """A step's figures; texts among them are examples."""
        if not self._writes:
            return
        self._file.write(json.dumps(told, ensure_ascii=False) + "\n")
        self._file.flush()
        for name, value in told.items():
            if isinstance(value, float):
                self._board.add_scalar(name, value, told["step"])
        for n, example in enumerate(told.get("examples", [])):
            text = "\n\n".join(f"    {name}: {words}" for name, words in example.items())
            self._board.add_text(f"example {n + 1}", text, told["step"])

    def close(self) -> None:
        """Nothing more comes."""
        if self._writes:
            self._file.close()
            self._board.close()


def lines(folder: Path) -> Iterator[dict[str, Any]]:
    """What a run has said so far; a last line that a kill cut off is none."""
    try:
        text = (folder / FILE).read_text("utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
