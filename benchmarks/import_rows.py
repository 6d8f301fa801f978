"""Import rows of the released format: rows per second and memory, compared to parsing alone.

The pictures are not decoded (`--trust-pictures`): that takes longer than all else, and depends on
their size.
"""

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
ROWS_PER_IMAGE = 6


def write_images(folder: Path, count: int) -> list[tuple[str, tuple[int, int]]]:
    """Write `count` JPEG files of several sizes, a thousand per folder; return names and sizes."""
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


def write_released_rows(images: list[tuple[str, tuple[int, int]]], file: Path, rows: int) -> None:
    """Write rows of the released format, each with boxes for the one or two regions it mentions."""
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
            for j in range(min(ROWS_PER_IMAGE, rows - i * ROWS_PER_IMAGE)):
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
    """Return the seconds that the `json` module takes to parse every line."""
    start = time.perf_counter()
    with file.open("rb") as lines:
        for line in lines:
            json.loads(line)
    return time.perf_counter() - start


class PeakMemory:
    """Measures the peak memory of this process and its children, in MB."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Stop measuring and return the peak."""
        self._stop.set()
        self._thread.join()
        return self.peak_mb

    def _measure(self) -> None:
        while not self._stop.wait(0.5):
            processes = {os.getpid(), *child_processes(os.getpid())}
            self.peak_mb = max(self.peak_mb, sum(map(process_memory_mb, processes)))


def process_memory_mb(pid: int) -> float:
    """Return a process's proportional set size (PSS) in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1000


def child_processes(pid: int) -> set[int]:
    """Return the ids of the child processes of `pid`."""
    pids = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        pids |= {int(child) for child in (task / "children").read_text().split()}
    return pids


def main() -> None:
    """Run the benchmark and print its row."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    rows = arguments.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder, "images"), -(-rows // ROWS_PER_IMAGE))
        file = Path(folder, "released.jsonl")
        write_released_rows(images, file, rows)
        del images  # not part of the import's memory
        parsing = parse_seconds(file)
        store = Store.create(f"sqlite:///{folder}/store.db")
        memory, start = PeakMemory(), time.perf_counter()
        report = import_file(store, "lskd", file, Path(folder, "images"), trust_pictures=True)
        seconds, peak_mb = time.perf_counter() - start, memory.stop()
        assert report.new["triples"] == rows, report
        row(
            f"import of {rows:,} released-format rows, pictures not decoded",
            f"{rows / seconds:,.0f} rows/s, {peak_mb:.0f} MB; plain `json` alone reads "
            f"{rows / parsing:,.0f}/s, {seconds / parsing:.1f} times as many",
            f"40,000 rows/s where `json` reads 141,000, {141 / 40:.1f} times as many; 300 MB",
        )


if __name__ == "__main__":
    main()
