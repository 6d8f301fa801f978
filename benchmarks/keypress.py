"""Latency from a key press to the next picture, in a real browser, with a network delay too."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from table import row

ROOT = Path(__file__).parent.parent
PORT, SLOW_PORT, ITEMS, PAUSE_MS, ROUND_TRIP = 17862, 17863, 100, 350, 0.05
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]

# The clock starts in the capture phase of the key event, before the page handles it, and stops in
# the second animation frame after the new triple was inserted: by then it has been painted.
MEASURE = """async () => {
  const root = document.querySelector('.lskd').parentElement;
  const seen = new Promise((done) => {
    let start = 0;
    const first = { capture: true, once: true };
    addEventListener('keydown', () => { start = performance.now(); }, first);
    document.addEventListener('shown', () => requestAnimationFrame(() => requestAnimationFrame(
      () => done([performance.now() - start,
                  document.querySelector('.canvas img').complete
                  && document.querySelector('.canvas img').naturalWidth > 0]))), { once: true });
  });
  document.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', code: 'KeyA', bubbles: true }));
  return await seen;
}"""


async def _delayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes, each chunk half a round trip later."""
    there, back = await asyncio.open_connection("127.0.0.1", PORT)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while piece := await source.read(65536):
            loop.call_later(ROUND_TRIP / 2, target.write, piece)
        loop.call_later(ROUND_TRIP / 2, target.close)

    await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)


def slow_proxy() -> None:
    """Run a proxy that adds 50 ms to the round trip."""

    async def serve() -> None:
        server = await asyncio.start_server(_delayed, "127.0.0.1", SLOW_PORT)
        await server.serve_forever()

    asyncio.run(serve())


def key_latencies(page: Page, port: int) -> list[float]:
    """Press A for each item, with a short pause in between; returns latencies."""
    page.goto(f"http://127.0.0.1:{port}/annotate/")
    page.get_by_role("button", name="Accept").wait_for()
    page.wait_for_timeout(1500)
    latencies = []
    for _ in range(ITEMS):
        latency, loaded = page.evaluate(MEASURE)
        assert loaded, "the picture was not loaded"
        latencies.append(latency)
        page.wait_for_timeout(PAUSE_MS)
    return sorted(latencies)


def measure(port: int) -> str:
    """p50 and p95 on a new demo project."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = subprocess.Popen(
            [sys.executable, "-m", "lskd", "app", "--store", f"{folder}/s.db", "--port", str(PORT)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            env={**os.environ},
        )
        try:
            while socket.socket().connect_ex(("127.0.0.1", PORT)):
                time.sleep(0.1)
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            latencies = key_latencies(page, port)
            browser.close()
        finally:
            app.terminate()
            app.wait()
    p50, p95 = latencies[len(latencies) // 2], latencies[int(0.95 * len(latencies))]
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms"


def main() -> None:
    """Print the rows."""
    threading.Thread(target=slow_proxy, daemon=True).start()
    row("key press to next picture painted, loopback", measure(PORT), "p95 40 ms")
    row("the same with 50 ms of round trip", measure(SLOW_PORT), "p95 40 ms")


if __name__ == "__main__":
    main()
