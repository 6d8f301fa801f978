"""What a run of learning leaves: a line a step, examples as they improve, TensorBoard's files."""

from pathlib import Path
from typing import Any

from blip2.training import distributed
from db.store import json_lines

FILE = "log.jsonl"


class Journal:
    """Writes what steps have to say; a run that goes on takes back what came after its start."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._writes = folder, False

    def begin(self, first: int) -> None:
        """Take back what was said after the step `first`, and write from there on."""
        self._writes = distributed.is_main()
        if not self._writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in lines(self._folder) if line["step"] <= first]
        file = self._folder / FILE
        file.write_text("".join(map(json_lines.to_line, kept)), "utf-8")
        self._file = file.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=first + 1)

    def log(self, told: dict[str, Any]) -> None:
        """A step's figures; texts among them are examples."""
        if not self._writes:
            return
        self._file.write(json_lines.to_line(told))
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


def lines(folder: Path) -> list[dict[str, Any]]:
    """What a run has said so far."""
    return json_lines.read_rows(folder / FILE)
