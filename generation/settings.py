"""What can be chosen when a model writes; the command line is made from this."""

from dataclasses import dataclass, field
from typing import Literal, get_args

Form = Literal["ids", "descriptions"]
FORMS: tuple[Form, ...] = get_args(Form)

OPENAI = "https://api.openai.com/v1"
MIX = "intent=2,cause=2,next=2,relation=2,emotion=1,counting=1,spatial=1"


@dataclass(frozen=True, slots=True)
class LLMSettings:
    """Which model is asked, how, and how much it may cost."""

    model: str = field(metadata={"help": "The model, as the server names it."})
    base_url: str = field(
        default=OPENAI,
        metadata={"help": "The server: any that speaks the OpenAI API."},
    )
    temperature: float = field(default=1.0, metadata={"help": "Of sampling."})
    max_tokens: int = field(default=1000, metadata={"help": "The longest reply, in tokens."})
    concurrency: int = field(default=32, metadata={"help": "Calls in flight at once."})
    timeout: float = field(default=120.0, metadata={"help": "Seconds to wait for a reply."})
    attempts: int = field(default=6, metadata={"help": "How often a call that fails is tried."})
    budget: float = field(
        default=0.0, metadata={"help": "Dollars at which to stop, over all runs; 0: no limit."}
    )
    prices: str = field(
        default="", metadata={"help": "A JSON file of prices instead of the one that comes along."}
    )
    tokenizer: str = field(
        default="",
        metadata={"help": "Name or folder of the model's tokenizer, to count tokens exactly."},
    )
    json_schema: bool = field(
        default=True, metadata={"help": "Ask the server to hold the model to the format."}
    )


@dataclass(frozen=True, slots=True)
class TripleSettings:
    """Which triples are written."""

    form: str = field(
        default="ids", metadata={"help": "ids: regions by number; descriptions: in words."}
    )
    samples: int = field(default=3, metadata={"help": "Calls for each image."})
    per_call: int = field(default=3, metadata={"help": "Triples asked for in a call."})
    mix: str = field(default=MIX, metadata={"help": "Kinds of questions and their weights."})
    prompt: str = field(
        default="", metadata={"help": "A prompt file instead of the one that comes along."}
    )
    seed: int = field(default=0, metadata={"help": "Draws the kinds of questions."})
    language: str = field(
        default="en", metadata={"help": "What is written has to be in this one, or in any."}
    )


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How a language model judges triples."""

    side: int = field(
        default=1024,
        metadata={"help": "Longest side of the picture sent, pixels; 0: words are all it gets."},
    )
    prompt: str = field(
        default="", metadata={"help": "A prompt file instead of the one that comes along."}
    )


@dataclass(frozen=True, slots=True)
class InstructionSettings:
    """Which instructions are written."""

    samples: int = field(default=1, metadata={"help": "Calls for each image."})
    prompt: str = field(
        default="", metadata={"help": "A prompt file instead of the one that comes along."}
    )
    language: str = field(
        default="en", metadata={"help": "What is written has to be in this one, or in any."}
    )
