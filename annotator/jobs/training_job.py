"""Training started from a page, in a process of its own so that votes are served meanwhile."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from db.store import recovery
from db.store.session import Store
from regions.errors import ConflictError

_ROOT = Path(__file__).parent.parent.parent
_POLL_SECONDS = 20.0
"""Time between checks whether a retraining is due."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Whether a training is running; the run of the last one, or why it failed."""

    is_running: bool
    run: str | None = None
    error: str = ""


class TrainingJob:
    """Runs `lskd critic` or `lskd student` commands, one at a time."""

    def __init__(self, store: Store, group: str = "critic") -> None:
        self._store, self._group = store, group
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stdout = TemporaryFile()  # noqa: SIM115 - open as long as the app runs
        self._stderr = TemporaryFile()  # noqa: SIM115

    def start(self, arguments: Sequence[str]) -> None:
        """Start a command of the group; ConflictError while another one is running."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                raise ConflictError("a training is running already", hint="wait until it ends")
            for file in (self._stdout, self._stderr):
                file.seek(0)
                file.truncate()
            url = self._store.engine.url.render_as_string(hide_password=False)
            path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(  # noqa: S603 - our own command with our own arguments
                [sys.executable, "-P", "-m", "lskd", self._group, *arguments, "--json"],
                env={**os.environ, "LSKD_STORE": url, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                stderr=self._stderr,
            )

    def state(self) -> TrainingState:
        """The state of the last command that was started."""
        if self._process is None:
            return TrainingState(is_running=False)
        status = self._process.poll()
        if status is None:
            return TrainingState(is_running=True)
        if status == 0:
            self._stdout.seek(0)
            result = json.loads(self._stdout.read() or b"{}")
            return TrainingState(is_running=False, run=result.get("run"))
        if status < 0:  # killed: nothing else says that its run has ended
            recovery.recover(self._store)
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        error = (
            lines[-1].removeprefix("error: ") if lines else "the process ended without a message"
        )
        return TrainingState(is_running=False, error=error)

    def retrain_when_due(self, stop: threading.Event) -> None:
        """Retrain critics whenever enough new votes have been cast, until `stop` is set."""
        from critic.training import retraining

        while not stop.wait(_POLL_SECONDS):
            with self._store.read() as session:
                due = retraining.is_due(session)
            if due and not self.state().is_running:
                self.start(["retrain"])
