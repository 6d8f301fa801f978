"""Which critics there are: a new one by its kind, a saved one by what lies in its folder."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

from critic.models import baseline, ensemble
from critic.models.protocol import Critic, Example
from critic.settings import KINDS, PictureSettings, TrainSettings
from regions.errors import UserError

# What needs torch is imported by whoever asks for it: the page and the baseline need none of it.


def made(settings: TrainSettings, looks: PictureSettings, examples: Sequence[Example]) -> Critic:
    """A critic of the kind that was chosen, before it has learned.

    UserError for no such kind, and for what this kind would not heed.
    """
    reads = settings.kind in {"baseline", "text", "average"}
    if reads and looks.model:
        todo = "say --kind blip2, or another that looks"
        raise UserError(f"a critic of kind {settings.kind} takes no --model", hint=todo)
    if settings.of and not reads and settings.kind in KINDS:
        todo = "average them in a run of its own, by --kind average"
        raise UserError(f"a critic of kind {settings.kind} takes no --of", hint=todo)
    match settings.kind:
        case "baseline" | "text":
            return baseline.Baseline(settings.folds, grounding=settings.kind == "baseline")
        case "average":
            return ensemble.Average(runs_of(settings.of))
        case "embeddings":
            from critic.models.embeddings import Embeddings

            return Embeddings(looks, settings.folds)
        case "vqascore":
            from critic.models.vqascore import VQAScore

            return VQAScore(looks)
        case "blip2" | "matching":
            from critic.models.blip2 import Blip2Critic, text_of
            from critic.models.matching import Matching

            kind = Blip2Critic if settings.kind == "blip2" else Matching
            texts = [text_of(e.question, e.answer, e.rationale) for e in examples]
            return kind.new(looks, texts, settings.seed)
    raise UserError(f"no kind {settings.kind!r} of critic", hint=f"use one of {', '.join(KINDS)}")


def runs_of(names: str) -> tuple[str, ...]:
    """Whose scores an average is made of: names with commas between."""
    return tuple(name for name in (part.strip() for part in names.split(",")) if name)


def load(folder: Path) -> Critic:
    """The critic that a run saved, of whichever kind; UserError where none can be read."""
    try:
        return _load(folder)
    except (KeyError, TypeError, ValueError, OSError, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        todo = "it is damaged, or another version wrote it: train it anew"
        raise UserError(
            f"the critic cannot be read: {reason:.200}", where=str(folder), hint=todo
        ) from error


def _load(folder: Path) -> Critic:
    if (folder / baseline.FILE).is_file():
        return baseline.Baseline.load(folder)
    if (folder / ensemble.FILE).is_file():
        return ensemble.Average.load(folder)
    if any(folder.glob("*.json")) or any(folder.glob("*.npz")):
        from critic.models import blip2, embeddings, matching, vqascore

        if (folder / matching.FILE).is_file():
            return matching.Matching.load(folder)
        if (folder / embeddings.FILE).is_file():
            return embeddings.Embeddings.load(folder)
        if (folder / vqascore.FILE).is_file():
            return vqascore.VQAScore.load(folder)
        if (folder / blip2.ABOUT).is_file():
            return blip2.Blip2Critic.load(folder)
    raise UserError("no critic is saved here", where=str(folder), hint="train it anew")
