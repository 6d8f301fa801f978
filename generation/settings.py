"""Settings of generation tasks and of the language model; command-line options come from these."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Form = Literal["ids", "descriptions"]
FORMS: tuple[Form, ...] = get_args(Form)
"""How triples refer to regions: by number, or by description."""

OPENAI = "https://api.openai.com/v1"
MIX = "intent=2,cause=2,next=2,relation=2,emotion=1,counting=1,spatial=1"

PROMPT_HELP = "Prompt file to use instead of the included one."
LANGUAGE_HELP = "Required language of the texts as a code such as en, or any."


@dataclass(frozen=True, slots=True)
class LLMSettings:
    """Which language model is called, and how."""

    model: str = field(metadata={"help": "Name of the model on the server."})
    base_url: str = field(default=OPENAI, metadata={"help": "URL of the OpenAI-compatible server."})
    temperature: float = field(default=1.0, metadata={"help": "Sampling temperature."})
    max_tokens: int = field(default=1000, metadata={"help": "Maximum tokens of a reply."})
    concurrency: int = field(default=32, metadata={"help": "Maximum number of concurrent calls."})
    timeout: float = field(default=120.0, metadata={"help": "Seconds to wait for a reply."})
    attempts: int = field(default=6, metadata={"help": "Attempts per call."})
    budget: float = field(
        default=0.0,
        metadata={"help": "Spending limit in dollars over all runs of the store; 0: no limit."},
    )
    prices: str = field(
        default="", metadata={"help": "JSON file of prices to use instead of the included one."}
    )
    tokenizer: str = field(
        default="",
        metadata={"help": "The model's tokenizer (name on the hub or folder), to count exactly."},
    )
    json_schema: bool = field(
        default=True, metadata={"help": "Ask the server for output that follows a JSON schema."}
    )
    request_options: tuple[str, ...] = field(
        default=(),
        metadata={
            "option": "--request-option",
            "metavar": "NAME=JSON",
            "help": "Further field of each request, such as top_p=0.9; null removes a field.",
        },
    )
    header_env: tuple[str, ...] = field(
        default=(),
        metadata={
            "metavar": "HEADER=ENV_VARIABLE",
            "help": "Header of each request, with the value of an environment variable.",
        },
    )


@dataclass(frozen=True, slots=True)
class TripleSettings:
    """Which triples are generated."""

    form: str = field(
        default="ids",
        metadata={"help": "How texts refer to regions: ids (by number) or descriptions."},
    )
    samples: int = field(default=3, metadata={"help": "Calls per image."})
    per_call: int = field(default=3, metadata={"help": "Triples per call."})
    mix: str = field(default=MIX, metadata={"help": "Kinds of questions with their weights."})
    prompt: str = field(default="", metadata={"help": PROMPT_HELP})
    seed: int = field(default=0, metadata={"help": "Random seed for the kinds of questions."})
    language: str = field(default="en", metadata={"help": LANGUAGE_HELP})


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How a language model judges triples."""

    side: int = field(
        default=1024,
        metadata={"help": "Longest side of the image sent, in pixels; 0: no image."},
    )
    prompt: str = field(default="", metadata={"help": PROMPT_HELP})


@dataclass(frozen=True, slots=True)
class InstructionSettings:
    """Which instructions are generated."""

    samples: int = field(default=1, metadata={"help": "Calls per image."})
    prompt: str = field(default="", metadata={"help": PROMPT_HELP})
    language: str = field(default="en", metadata={"help": LANGUAGE_HELP})
