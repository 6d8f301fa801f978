"""Settings of describers; command-line options come from these."""

from dataclasses import dataclass, field

from generation.settings import LANGUAGE_HELP, PROMPT_HELP

VIEWS = ("whole", "mark", "crop")
PARTS = ("scene", "regions", "answers")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model of transformers describes images, and on which device."""

    model: str = field(metadata={"help": "Name of the model on the hub, or a folder."})
    revision: str = field(
        default="", metadata={"help": "Revision of the model on the hub; default: the newest."}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, cuda:1 or mps."})
    batch_size: int = field(
        default=0, metadata={"help": "Images per batch; 0: as many as fit into memory."}
    )


@dataclass(frozen=True, slots=True)
class ConceptSettings:
    """Which concepts an image is matched to."""

    lists: str = field(
        default="", metadata={"help": "Folder of .txt files with one concept per line."}
    )
    top: int = field(default=5, metadata={"help": "Concepts to name of each list."})
    template: str = field(
        default="a photo of {}", metadata={"help": "Sentence with {} in place of the concept."}
    )


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """What is captioned."""

    views: str = field(
        default=",".join(VIEWS),
        metadata={"help": "whole: the image; mark, crop: each region, marked in it or cropped."},
    )
    max_new_tokens: int = field(
        default=80, metadata={"help": "Maximum tokens of a caption.", "aliases": ["--longest"]}
    )


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How open questions are answered."""

    max_new_tokens: int = field(
        default=40, metadata={"help": "Maximum tokens of an answer.", "aliases": ["--longest"]}
    )


@dataclass(frozen=True, slots=True)
class QuestionSettings:
    """Which questions are asked."""

    count: int = field(default=5, metadata={"help": "Questions per call."})
    samples: int = field(default=1, metadata={"help": "Calls per image."})
    prompt: str = field(default="", metadata={"help": PROMPT_HELP})
    language: str = field(default="en", metadata={"help": LANGUAGE_HELP})


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """What a vision model behind an API writes."""

    parts: str = field(
        default=",".join(PARTS),
        metadata={
            "help": "scene: the whole image; regions: each region; answers: to open questions.",
            "aliases": ["--tell"],
        },
    )
    side: int = field(default=1024, metadata={"help": "Longest side of the image sent, in pixels."})
    prompt: str = field(default="", metadata={"help": PROMPT_HELP})
    language: str = field(default="en", metadata={"help": LANGUAGE_HELP})
