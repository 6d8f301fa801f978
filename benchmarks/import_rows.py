"""Import of released-format rows: rows a second and memory, beside parsing them alone."""

import argparse
import io
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import PIL.Image
from table import row

from db.store.session import Store
from db.transfer.importing import import_file

WORDS = (
    *("person", "dog", "table", "window", "street", "light", "holding", "looking", "standing"),
    *("near", "because", "probably", "wearing", "jacket", "likely", "waiting", "for", "someone"),
    *("behind", "counter", "train", "station", "friendly", "smile", "hand", "reaching", "toward"),
    *("small", "wooden", "chair", "bright", "afternoon", "shadow", "wet", "pavement", "suggests"),
)
SIZES = ((640, 480), (500, 375), (800, 600), (1280, 720))
ROWS_AN_IMAGE = 6


def pictures(folder: Path, count: int) -> list[tuple[str, tuple[int, int]]]:
    """`count` real JPEG files of a few sizes, a thousand in each folder."""
    encoded = {}
    for size in SIZES:
        file = io.BytesIO()
        PIL.Image.new("RGB", size, (90, 120, 150)).save(file, "JPEG", quality=30)
        encoded[size] = file.getvalue()
    names = []
    for i in range(count):
        if i % 1000 == 0:
            (folder / f"{i // 1000:04d}").mkdir(parents=True)
        size = SIZES[i % len(SIZES)]
        names.append((f"{i // 1000:04d}/{i}.jpg", size))
        (folder / names[-1][0]).write_bytes(encoded[size])
    return names


def released(images: list[tuple[str, tuple[int, int]]], file: Path, rows: int) -> None:
    """A file in the released shape: rows have boxes for the one or two regions that they use."""
    rng = np.random.default_rng(0)
    with file.open("wb") as out:
        for i, (name, (width, height)) in enumerate(images):
            references = []
            for number in range(int(rng.integers(3, 9))):
                x, y = rng.uniform(0, 0.6, 2) * (width, height)
                w, h = rng.uniform(0.1, 0.4, 2) * (width, height)
                ring = [[x, y], [x + w, y], [x + w, y + h]]
                references.append(
                    {
                        "name": str(number),
                        "boxes": [[round(float(v), 10) for v in (x, y, x + w, y + h)]],
                        "segms": [ring] if i % 10 == 0 else None,
                        "obj_guess": WORDS[number],
                    }
                )
            for j in range(min(ROWS_AN_IMAGE, rows - i * ROWS_AN_IMAGE)):
                used = sorted(rng.choice(len(references), int(rng.integers(1, 3)), replace=False))
                texts = [
                    [*rng.choice(WORDS, length).tolist(), [int(used[0])], "."]
                    for length in (9, 14, 24)
                ]
                record = {
                    "image": name,
                    "source": "generated",
                    "split": "train",
                    "index": f"generated-{i}-{j}",
                    "region": used,
                    "region_all": list(range(len(references))),
                    "references": [references[n] for n in used],
                    **dict(zip(("question", "answer", "rationale"), texts, strict=True)),
                    "prediction": float(rng.uniform(0.8, 1)),
                }
                out.write(orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def parse_seconds(file: Path) -> float:
    """Plain `json` over every line."""
    start = time.perf_counter()
    with file.open("rb") as lines:
        for line in lines:
            json.loads(line)
    return time.perf_counter() - start


class Memory:
    """The most memory that this process and its children held at one time, in MB."""

    def __init__(self) -> None:
        self.most = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Stop watching; the most that was held."""
        self._stop.set()
        self._thread.join()
        return self.most

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            mine = {os.getpid(), *children(os.getpid())}
            self.most = max(self.most, sum(map(held, mine)))


def held(pid: int) -> float:
    """Memory of a process in MB, pages that it shares with others counted in parts (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1000


def children(pid: int) -> set[int]:
    """Processes that `pid` started."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def main() -> None:
    """Print the row."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    rows = arguments.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder, "images"), -(-rows // ROWS_AN_IMAGE))
        file = Path(folder, "released.jsonl")
        released(images, file, rows)
        del images  # the benchmark's own, not the import's
        parsing = parse_seconds(file)
        store = Store.create(f"sqlite:///{folder}/store.db")
        memory, start = Memory(), time.perf_counter()
        report = import_file(store, "lskd", file, Path(folder, "images"))
        seconds, most = time.perf_counter() - start, memory.stop()
        assert report.new["triples"] == rows, report
        row(
            f"import of {rows:,} released-format rows",
            f"{rows / seconds:,.0f} rows/s, {most:.0f} MB; plain `json` alone reads "
            f"{rows / parsing:,.0f}/s, {seconds / parsing:.1f} times as many",
            f"25,000 rows/s where `json` reads 180,000, {180 / 25:.1f} times as many; 500 MB",
        )


if __name__ == "__main__":
    main()
