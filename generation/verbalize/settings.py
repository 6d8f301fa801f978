"""What can be chosen when pictures are described; the command line is made from this."""

from dataclasses import dataclass, field

VIEWS = ("whole", "mark", "crop")
TOLD = ("scene", "regions", "answers")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model of transformers looks, and where."""

    model: str = field(metadata={"help": "Name on the hub, or a folder."})
    revision: str = field(default="", metadata={"help": "Which state of it; default: the newest."})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, cuda:1 or mps."})
    batch_size: int = field(
        default=0, metadata={"help": "Pictures at once; 0: as many as the device has room for."}
    )


@dataclass(frozen=True, slots=True)
class ConceptSettings:
    """Which concepts a picture is held against."""

    lists: str = field(default="", metadata={"help": "A folder of .txt files, one concept a line."})
    top: int = field(default=5, metadata={"help": "Concepts named of each list."})
    template: str = field(
        default="a photo of {}", metadata={"help": "The sentence that a concept stands in."}
    )


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """What is described."""

    views: str = field(
        default=",".join(VIEWS),
        metadata={"help": "whole: the picture; of each region, mark: marked in it, crop: cut out."},
    )
    longest: int = field(default=80, metadata={"help": "Tokens of a text."})


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How open questions are answered."""

    longest: int = field(default=40, metadata={"help": "Tokens of an answer."})


@dataclass(frozen=True, slots=True)
class QuestionSettings:
    """How many questions are asked."""

    count: int = field(default=5, metadata={"help": "Questions asked for in a call."})
    samples: int = field(default=1, metadata={"help": "Calls for each image."})
    prompt: str = field(
        default="", metadata={"help": "A prompt file instead of the one that comes along."}
    )
    language: str = field(
        default="en", metadata={"help": "What is written has to be in this one, or in any."}
    )


@dataclass(frozen=True, slots=True)
class VisionSettings:
    """What a vision model behind an API is asked to tell."""

    tell: str = field(
        default=",".join(TOLD),
        metadata={"help": "scene: the whole picture; regions: each; answers: to open questions."},
    )
    side: int = field(default=1024, metadata={"help": "Longest side of the picture sent, pixels."})
    prompt: str = field(
        default="", metadata={"help": "A prompt file instead of the one that comes along."}
    )
    language: str = field(
        default="en", metadata={"help": "What is written has to be in this one, or in any."}
    )
