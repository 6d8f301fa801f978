"""Training behind the page: in a process of its own, so that votes are taken meanwhile."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from db.store.session import Store
from regions.errors import ConflictError

_HERE = Path(__file__).parent.parent.parent
_LOOK = 20.0
"""Seconds between one look at the votes and the next."""


class Trainer:
    """One training at a time, by the same command that anybody may type."""

    def __init__(self, store: Store, of: str = "critic") -> None:
        self._store, self._of = store, of
        self._started = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said = TemporaryFile()  # noqa: SIM115 - it lives as long as the app
        self._complained = TemporaryFile()  # noqa: SIM115

    def start(self, words: Sequence[str]) -> None:
        """Begin `lskd critic WORDS`, or of a student; ConflictError while another one goes on."""
        with self._started:
            if self._process is not None and self._process.poll() is None:
                raise ConflictError("a training goes on already", hint="wait for it")
            for file in (self._said, self._complained):
                file.seek(0)
                file.truncate()
            url = self._store.engine.url.render_as_string(hide_password=False)
            path = os.pathsep.join(filter(None, [str(_HERE), os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(  # noqa: S603 - our own command, by our own words
                [sys.executable, "-P", "-m", "lskd", self._of, *words, "--json"],
                env={**os.environ, "LSKD_STORE": url, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._complained,
            )

    def state(self) -> dict[str, Any]:
        """Whether a training goes on, the run that it made, and why it made none."""
        status = self._process.poll() if self._process is not None else 0
        told: dict[str, Any] = {"goes on": status is None, "name": None, "error": ""}
        if status == 0 and self._process is not None:
            self._said.seek(0)
            told["name"] = json.loads(self._said.read() or b"{}").get("run")
        elif status:
            self._complained.seek(0)
            lines = self._complained.read().decode(errors="replace").strip().splitlines()
            told["error"] = (lines or ["it ended without a word"])[-1].removeprefix("error: ")
        return told

    def watch(self, stop: threading.Event) -> None:
        """Train anew whenever as many votes have come as was asked for, until `stop` is set."""
        from critic.training import retraining

        while not stop.wait(_LOOK):
            with self._store.read() as session:
                due = retraining.is_due(session)
            if due and not self.state()["goes on"]:
                self.start(["retrain"])
