"""Request and response types that several route modules share."""

from typing import Annotated

from pydantic import BaseModel, Field

from annotator.labelling.votes import VoteInput
from db.schema import Decision, Reason

Id = Annotated[int, Field(ge=0, lt=2**31)]
Key = Annotated[str, Field(min_length=8, max_length=64)]


class Done(BaseModel):
    """The request succeeded; there is nothing else to return."""

    done: bool = True


class Saved(BaseModel):
    """What was sent is stored."""

    saved: bool = True


class DecisionIn(BaseModel):
    """A decision; the client makes `key`, so that a repeated request is stored once."""

    key: Key
    decision: Decision
    reasons: list[Reason] = []
    duration_ms: int | None = Field(default=None, ge=0, lt=2**31)
    guideline: Id | None = None

    def vote(self) -> VoteInput:
        """The vote for the queue."""
        return VoteInput(
            self.key, self.decision, tuple(self.reasons), self.duration_ms, self.guideline
        )
