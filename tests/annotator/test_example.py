"""The script in docs/api.md runs."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from annotator.accounts import accounts, sessions
from annotator.labelling.leases import LeaseHolder
from annotator.labelling.queue import Queue
from annotator.labelling.votes import VoteInput
from annotator.web import api
from annotator.web.security import AuthMiddleware
from db.schema import Batch, Image
from db.store.session import Store
from tests.servers import serving

GUIDE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
def address(demo_store: Store) -> Iterator[str]:
    app = FastAPI()
    api.add_api(app, demo_store)
    app.add_middleware(AuthMiddleware, store=demo_store, host="127.0.0.1")
    with serving(app) as address:
        yield address


@pytest.mark.slow
def test_the_guides_script_imports_waits_and_downloads(
    demo_store: Store, address: str, tmp_path: Path
) -> None:
    code = re.search(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    with demo_store.write() as session:
        robot = sessions.add_person(session, "robot", "researcher", "long enough")
        token = accounts.create_token(session, robot.id, "nightly")
        image = session.scalars(select(Image.name)).first()
    row = '{"image": "%s", "regions": [], "question": "%d?", "answer": "a", "rationale": "b"}\n'
    (tmp_path / "triples.jsonl").write_text(
        "".join(row % (image, i) for i in range(3)) + "no row\n", "utf-8"
    )
    env = {**os.environ, "LSKD_URL": address, "LSKD_TOKEN": token, "LSKD_WAIT": "0.2"}
    script = subprocess.Popen(
        [sys.executable, "-c", code[1]], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    batch = None
    while batch is None:
        with demo_store.read() as session:
            batch = session.scalar(select(Batch).where(Batch.name == "nightly"))
        assert script.poll() is None, "the script ended before it created the batch"
        time.sleep(0.05)
    labelling, holder = Queue(demo_store), LeaseHolder(robot.id)
    for item in labelling.next_items(holder, "nightly", 10).items:
        labelling.submit_vote(
            holder, "nightly", item["triple"], VoteInput(f"vote-{item['triple']}", "accept")
        )
    output, _ = script.communicate(timeout=30)
    assert output.splitlines() == ["3 new triples, 1 rejected rows", "3 votes"]
