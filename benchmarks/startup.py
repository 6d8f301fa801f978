"""Start-up time: `lskd --help`, and from the app's start to the first painted triple."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from table import row

LSKD = [sys.executable, "-m", "lskd"]
ROOT = Path(__file__).parent.parent
PORT = 17860
CHROMIUM = "/usr/bin/chromium"


def help_seconds() -> float:
    """The fastest of five runs, which other load has disturbed the least."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*LSKD, "--help"], check=True, capture_output=True, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return min(times)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def first_page(store: str) -> tuple[float, float]:
    """Seconds from process start to the first painted triple, and the memory in MB at that time."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        start = time.perf_counter()
        app = subprocess.Popen(
            [*LSKD, "app", "--store", store, "--port", str(PORT)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            wait_until_served()
            page.goto(f"http://127.0.0.1:{PORT}/annotate")
            page.get_by_role("button", name="Accept").wait_for()
            page.wait_for_function("[...document.images].some(i => i.complete && i.naturalWidth)")
            return time.perf_counter() - start, resident_mb(app.pid)
        finally:
            app.terminate()
            app.wait()
            browser.close()


def wait_until_served() -> None:
    """Poll until the app responds, for at most a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=1).close()
        except (URLError, OSError):
            time.sleep(0.02)
        else:
            return
    raise TimeoutError("the app did not start within a minute")


def main() -> None:
    """Print the rows."""
    row("`lskd --help`", f"{help_seconds():.2f} s", "0.5 s")
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{folder}/store.db"
        first_page(store)  # creates the demo project and warms the disk cache
        seconds, memory = first_page(store)
    row("process start to first triple painted", f"{seconds:.1f} s", "5 s")
    row("memory of the app before a model is loaded", f"{memory:.0f} MB", "350 MB")


if __name__ == "__main__":
    main()
