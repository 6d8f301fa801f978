"""What the JSON columns of a release hold: estimated quality, limits, a certified threshold."""

from dataclasses import dataclass

from db.store.results import UNDEFINED, Estimate


@dataclass(frozen=True, slots=True)
class Guarantee:
    """Result of certifying a threshold for a target precision on calibration labels."""

    target: float
    """The precision that is to be exceeded."""
    confidence: float
    threshold: float | None
    """The certified threshold; None where none qualifies."""
    measured_precision: float | None
    """On calibration triples at the threshold, or at the most promising one that was tested."""
    kept_share: float
    """Share of the labelled calibration triples at or above that threshold."""
    labelled_triples: int
    images: int
    labels_needed: int | None
    """Further labelled triples that would suffice if precision is as measured; None: none would."""


@dataclass(frozen=True, slots=True)
class ReleaseEstimate:
    """Quality of a release, estimated on labelled triples of test images (`Release.estimate`)."""

    precision: Estimate = UNDEFINED
    recall: Estimate = UNDEFINED
    f1: Estimate = UNDEFINED
    corrected_precision: Estimate | None = None
    """Precision corrected for annotator error; None where that error is not known."""


@dataclass(frozen=True, slots=True)
class ReleaseSelection:
    """Limits of a release besides its threshold (`Release.selection`); 0 is no limit."""

    top: int = 0
    share: float = 0.0
    per_image: int = 0
    per_kind: int = 0
    guarantee: Guarantee | None = None
    """What certified the threshold, if anything did."""
