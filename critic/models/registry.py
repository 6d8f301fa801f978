"""Build a critic by its kind, and load a saved one by the files in its folder."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

from blip2.training.loading import first_line
from critic.models import baseline, ensemble
from critic.protocol import Critic, Example
from critic.settings import KINDS, ModelConfig, TrainSettings
from regions.errors import InvalidError, NotFoundError, UserError

# Modules that need torch are imported where they are used: the page and the baseline do without.

_TEXT_KINDS = {"baseline", "text", "average"}


def build(settings: TrainSettings, config: ModelConfig, examples: Sequence[Example]) -> Critic:
    """A new critic of the chosen kind, not yet fitted.

    InvalidError for an unknown kind, and for options that this kind does not use.
    """
    kind = settings.kind
    if kind in _TEXT_KINDS and config.model:
        raise InvalidError(
            f"--model cannot be combined with --kind {kind}",
            hint="use --kind blip2, matching, embeddings or vqascore",
        )
    if settings.from_runs and kind not in _TEXT_KINDS and kind in KINDS:
        raise InvalidError(
            f"--from-runs cannot be combined with --kind {kind}",
            hint="average runs in a run of its own with --kind average",
        )
    match kind:
        case "baseline" | "text":
            return baseline.Baseline(settings.folds, grounding=kind == "baseline")
        case "average":
            return ensemble.Average(parse_run_names(settings.from_runs))
        case "embeddings":
            from critic.models.embeddings import Embeddings

            return Embeddings(config, settings.folds)
        case "vqascore":
            from critic.models.vqascore import VQAScore

            return VQAScore(config)
        case "blip2" | "matching":
            from critic.models.blip2.model import Blip2Critic, format_triple
            from critic.models.matching import Matching

            texts = [format_triple(e.question, e.answer, e.rationale) for e in examples]
            critic = Blip2Critic if kind == "blip2" else Matching
            return critic.create(config, texts, settings.seed)
    raise InvalidError(f"no critic of kind {kind!r}", hint=f"use one of {', '.join(KINDS)}")


def parse_run_names(names: str) -> tuple[str, ...]:
    """Names of runs from a comma-separated list.

    >>> parse_run_names("critic-1, generate-2")
    ('critic-1', 'generate-2')
    """
    return tuple(name for name in (part.strip() for part in names.split(",")) if name)


def load(folder: Path) -> Critic:
    """The critic saved in a folder, of any kind; UserError if none can be loaded."""
    try:
        return _load(folder)
    except (KeyError, TypeError, ValueError, OSError, BadZipFile) as error:
        raise UserError(
            f"the critic cannot be read: {first_line(error):.200}",
            where=str(folder),
            hint="the files are damaged or from another version; train it again",
        ) from error


def _load(folder: Path) -> Critic:
    if (folder / baseline.FILE).is_file():
        return baseline.Baseline.load(folder)
    if (folder / ensemble.FILE).is_file():
        return ensemble.Average.load(folder)
    if any(folder.glob("*.json")) or any(folder.glob("*.npz")):
        from critic.models import embeddings, matching, vqascore
        from critic.models.blip2.model import Blip2Critic

        if (folder / matching.FILE).is_file():
            return matching.Matching.load(folder)
        if (folder / embeddings.FILE).is_file():
            return embeddings.Embeddings.load(folder)
        if (folder / vqascore.FILE).is_file():
            return vqascore.VQAScore.load(folder)
        if Blip2Critic.is_saved_in(folder):
            return Blip2Critic.load(folder)
    raise NotFoundError("no critic is saved here", where=str(folder), hint="train it again")
