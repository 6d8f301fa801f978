"""The critic page with 20,000 votes and a million scores, in a real browser."""

import tempfile
from dataclasses import asdict, fields

import numpy as np
from labelling import served
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import text
from table import row

from critic.results import CriticResults
from critic.settings import ModelConfig, TrainSettings
from critic.thresholds.evaluation import evaluate
from critic.thresholds.labelled_scores import load_labelled_scores
from critic.thresholds.slices import composition
from db.schema import Person, Run, Vote
from db.store import runs
from db.store.results import to_json
from db.store.session import Store

IMAGES, TRIPLES, VOTES, PEOPLE = 20_000, 1_000_000, 20_000, 3
DRAGS, SLICES = 60, 20
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]

_NUMBERS = (
    "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :n) "
)
_ROWS = {
    "INSERT INTO sources (id, name, root) VALUES (1, 's', '/nowhere')": 0,
    _NUMBERS + "INSERT INTO images (source_id, name, width, height, title, author, licence, origin)"
    " SELECT 1, CAST(i AS TEXT), 640, 480, '', '', '', '' FROM numbers": IMAGES,
    _NUMBERS + "INSERT INTO regions (image_id, number, x1, y1, x2, y2, polygons, label)"
    " SELECT 1 + i / 3, i % 3, 100 * (i % 3), 5, 100 * (i % 3) + 200, 300, '[]', 'thing'"
    " FROM (SELECT i - 1 AS i FROM numbers)": 3 * IMAGES,
    _NUMBERS
    + "INSERT INTO triples (key, image_id, question, answer, rationale, visible_regions, kind,"
    " source, model, prompt_version) SELECT CAST(i AS TEXT), 1 + i % 20000,"
    " 'Why does [0] stand so close to [1] here?', '[0] waits for [1] to open the door.',"
    " '[1] holds a key in the right hand.', '[0, 1, 2]',"
    " CASE i % 4 WHEN 0 THEN 'cause' WHEN 1 THEN 'intent' ELSE 'next' END,"
    " 's', 'gpt', 'v1' FROM numbers": TRIPLES,
}

# From a pointer event to the second frame after it, when the first one has been painted.
DRAG = """async (share) => {
  const plot = document.querySelector('.plot'), box = plot.getBoundingClientRect();
  const at = { clientX: box.left + share * box.width, clientY: box.top + 40, buttons: 1,
               bubbles: true, pointerId: 1 };
  const before = plot.getAttribute('aria-valuenow');
  const start = performance.now();
  plot.dispatchEvent(new PointerEvent('pointermove', at));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [performance.now() - start, before !== plot.getAttribute('aria-valuenow')];
}"""

# From the choice of a dimension to the new rows of the table.
SLICE = """async (name) => {
  const table = document.querySelector('.slices');
  const updated = new Promise((done) => {
    const watch = new MutationObserver(() => { watch.disconnect(); done(performance.now()); });
    watch.observe(table, { childList: true });
  });
  const choice = document.querySelector('.dimension');
  const start = performance.now();
  choice.value = name;
  choice.dispatchEvent(new Event('change', { bubbles: true }));
  return await updated - start;
}"""


def fill(store: Store) -> None:
    """Store triples with random scores, votes that follow the scores, and results of a run."""
    rng = np.random.default_rng(0)
    with store.write() as session:
        for statement, n in _ROWS.items():
            session.execute(text(statement), {"n": n} if n else {})
        session.add_all(Person(id=n, name=f"p{n}", role="annotator", created=0) for n in (1, 2, 3))
        settings = asdict(TrainSettings()) | asdict(ModelConfig())
        run = runs.start(session, "critic", settings=settings)
        session.execute(
            text(
                f"INSERT INTO scores (run_id, triple_id, value) SELECT {run.id}, id,"
                " (abs(random()) % 1000000) / 1000000.0 FROM triples"
            )
        )
        session.flush()
        scores: dict[int, float] = dict(
            session.execute(
                text("SELECT triple_id, value FROM scores WHERE triple_id <= :n"), {"n": VOTES}
            ).all()
        )
        for triple_id in range(1, VOTES // PEOPLE + 2):
            acceptable = rng.random() < scores[triple_id]
            session.add_all(
                Vote(
                    key=f"{triple_id}-{person}",
                    triple_id=triple_id,
                    person_id=person,
                    decision="accept" if acceptable == (rng.random() < 0.9) else "reject",
                    created=0,
                )
                for person in range(1, PEOPLE + 1)
            )
        session.flush()
        runs.split(session)
        session.flush()
        tested = load_labelled_scores(session, run, "test")
        evaluation = evaluate(tested, resamples=1000, rng=rng)
        results = CriticResults(
            **{f.name: getattr(evaluation, f.name) for f in fields(evaluation)},
            composition=composition(session, run.id),
            labelled_triples=VOTES // PEOPLE,
            test_triples=len(tested),
        )
        runs.finish(session, run.id, to_json(results))
        assert session.get_one(Run, run.id).status == "done"


def open_page(page: Page, address: str) -> float:
    """Milliseconds from navigation until curve and metrics are shown."""
    page.goto(address)
    page.locator(".figures b").first.wait_for()
    return float(page.evaluate("performance.now()"))


def main() -> None:
    """Print the rows."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        url = f"sqlite:///{folder}/store.db"
        fill(Store.create(url))
        with served(url, folder) as (port, _):
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            address = f"http://127.0.0.1:{port}/critic/"
            open_page(page, address)
            page.wait_for_timeout(1500)
            times = sorted(open_page(page, address) for _ in range(5))
            page.wait_for_timeout(1500)
            drags = []
            for n in range(DRAGS):
                spent, moved = page.evaluate(DRAG, 0.1 + 0.8 * (n * 7 % DRAGS) / DRAGS)
                assert moved, "the threshold stayed where it was"
                drags.append(spent)
                page.wait_for_timeout(40)
            page.wait_for_timeout(2000)
            names = ["kind", "regions", "box_size", "source"] * (SLICES // 4)
            slices = sorted(page.evaluate(SLICE, name) for name in names)
            browser.close()
    what = f"{VOTES:,} votes and {TRIPLES:,} scores"
    row(f"critic page opens with {what}", f"{times[2] / 1000:.2f} s", "1 s")
    drags.sort()
    row(
        f"a drag of the threshold repaints, {what}",
        f"p95 {drags[int(0.95 * DRAGS)]:.0f} ms",
        "50 ms",
    )
    row(f"a slice, {what}", f"p50 {slices[SLICES // 2]:.0f} ms, most {slices[-1]:.0f} ms", "300 ms")


if __name__ == "__main__":
    main()
