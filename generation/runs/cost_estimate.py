"""What a run would cost, without a call and without an API key."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Call, Image, Run
from db.store.session import Store
from generation.llm.pricing import CostModel, load_price, to_dollars
from generation.llm.request_format import max_completion_tokens
from generation.llm.token_counting import LengthCounter, TokenizerCounter
from generation.runs.open_requests import ImageCounts, chunks, load_requests
from generation.settings import LLMSettings
from generation.tasks.protocol import Task
from regions.errors import InvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """Calls, tokens and cost of a run; None where something is unknown."""

    calls: int
    answered_before: int
    awaiting_collection: int
    """Requests that were in a batch already."""
    skipped_images: dict[str, int]
    """By what they lack."""
    images_in_other_language: int
    prompt_tokens: int
    exact_token_count: bool
    """Whether tokens were counted by the model's tokenizer."""
    image_tokens_included: bool | None
    """Whether the tokens of attached images are known; None if no image is attached."""
    max_completion_tokens: int
    expected_completion_tokens: int | None
    """By the mean length of the model's earlier replies."""
    max_cost_usd: float | None
    expected_cost_usd: float | None


def estimate_cost(
    store: Store, task: Task, settings: LLMSettings, *, batch: bool = False
) -> CostEstimate:
    """Estimate the cost of the calls that a run would make; `batch`: by the Batch API's price."""
    costs = cost_model(settings, batch=batch)
    calls = answered = submitted = prompt_tokens = 0
    counts = ImageCounts()
    with store.read() as session:
        image_ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        for image_chunk in chunks(image_ids):
            chunk = load_requests(session, task, settings, image_chunk)
            costs.calibrate(chunk.requests, chunk.answered)
            calls += len(chunk.unanswered)
            answered += len(chunk.requests) - len(chunk.unanswered)
            submitted += chunk.submitted
            prompt_tokens += sum(map(costs.prompt_tokens, chunk.unanswered))
            counts.add(chunk.image_counts)
        mean_completion = _mean_completion_tokens(session, settings.model)
    max_completion = calls * costs.max_tokens
    expected_completion = round(calls * mean_completion) if mean_completion is not None else None
    price = costs.price
    return CostEstimate(
        calls=calls,
        answered_before=answered,
        awaiting_collection=submitted,
        skipped_images=dict(counts.skipped),
        images_in_other_language=counts.in_other_language,
        prompt_tokens=prompt_tokens,
        exact_token_count=costs.counter.is_exact,
        image_tokens_included=(price is not None and price.image is not None)
        if task.side
        else None,
        max_completion_tokens=max_completion,
        expected_completion_tokens=expected_completion,
        max_cost_usd=to_dollars(price.cost(prompt_tokens, max_completion)) if price else None,
        expected_cost_usd=to_dollars(price.cost(prompt_tokens, expected_completion))
        if price and expected_completion is not None
        else None,
    )


def _mean_completion_tokens(session: Session, model: str) -> float | None:
    """Return the mean over all replies of a model in the store; None if there are none."""
    mean = session.scalar(
        select(func.avg(Call.completion_tokens))
        .join(Run, Run.id == Call.run_id)
        .where(Call.status == "answered", Run.settings["model"].as_string() == model)
    )
    return None if mean is None else float(mean)


def cost_model(settings: LLMSettings, *, batch: bool = False) -> CostModel:
    """Return a model's price and token counter; InvalidError for a budget without a price."""
    price = load_price(settings.model, settings.prices)
    if price and batch:
        price = price.for_batches()
    if settings.budget < 0:
        raise InvalidError(
            f"--budget must be 0 or more (got {settings.budget})", hint="use dollars, such as 5.00"
        )
    if settings.budget and price is None:
        raise InvalidError(
            f"no price is known for {settings.model}, so --budget cannot be enforced",
            hint="add one to a price file and pass --prices FILE",
        )
    max_tokens = max_completion_tokens(settings)
    if settings.budget and max_tokens is None:
        raise InvalidError(
            "replies have no maximum length, so --budget cannot be enforced",
            hint="set one by --request-option max_completion_tokens=NUMBER",
        )
    tokenizer = settings.tokenizer
    counter = TokenizerCounter(tokenizer) if tokenizer else LengthCounter()
    return CostModel(price, counter, max_tokens or settings.max_tokens)
