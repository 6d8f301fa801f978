"""Certify thresholds of a critic's run, and record every request in the run."""

from dataclasses import asdict
from typing import Any

from critic.thresholds.certification import certify_threshold
from critic.thresholds.labelled_scores import load_labelled_scores
from db.store import runs
from db.store.releases import Guarantee
from db.store.session import Store
from regions.errors import ConflictError


def certify(store: Store, run_name: str | None, target: float, confidence: float) -> Guarantee:
    """The lowest threshold of a run (None: the newest) with precision above `target`.

    Every request is stored in the run's results, because each guarantee holds by itself, and the
    best of many does not.
    """
    with store.write() as session:
        run = runs.newest(session, "critic", run_name)
        calibration = load_labelled_scores(session, run, "calibration")
        tested = load_labelled_scores(session, run, "test").random_subset()
        guarantee = certify_threshold(calibration, tested, target, confidence)
        requested = [asdict(guarantee), *run.results.get("guarantees", [])]
        newest: dict[tuple[float, float], Any] = {}
        for request in requested:
            newest.setdefault((request["target"], request["confidence"]), request)
        run.results = run.results | {"guarantees": list(newest.values())}
    return guarantee


def certified_threshold(
    store: Store, run_name: str | None, target: float, confidence: float
) -> tuple[float, Guarantee]:
    """As `certify`; ConflictError, with what would help, where no threshold qualifies."""
    guarantee = certify(store, run_name, target, confidence)
    if guarantee.threshold is None:
        hint = (
            f"label about {guarantee.labels_needed} more triples: see `lskd critic label-next`"
            if guarantee.labels_needed
            else "no amount of votes would certify this target; lower it or improve the critic"
        )
        raise ConflictError(f"no threshold can be certified for precision {target}", hint=hint)
    return guarantee.threshold, guarantee
