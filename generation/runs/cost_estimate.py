"""What is to be asked: requests that have no reply yet, what they would cost, and why none can."""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.schema import Call, Image, Run
from db.store.session import Store
from generation.checks import languages
from generation.llm import pricing
from generation.llm.client import Request
from generation.llm.pricing import ByLength, ByTokenizer, Counter, Price, dollars
from generation.runs import journal
from generation.settings import LLMSettings
from generation.tasks.context import briefs
from generation.tasks.protocol import Task, request
from regions.errors import UserError

_CHUNK = 100


def plan(store: Store, task: Task, settings: LLMSettings, *, later: bool = False) -> dict[str, Any]:
    """What a run would ask and cost, without a call and without a key; `later`: if submitted."""
    price, counter = price_for(settings, later=later), counter_for(settings)
    totals: Tally[str] = Tally()
    with store.read() as session:
        image_ids = session.scalars(select(Image.id).order_by(Image.id)).all()
        for chunk in chunks(image_ids):
            found, known, lacking = requests(session, task, settings, chunk)
            learn(counter, price, found, known)
            todo = [r for r in found if r.fingerprint not in known]
            totals += Tally(
                {
                    "calls": len(todo),
                    "tokens": sum(tokens_of(counter, price, r) for r in todo),
                    "answered before": len(found) - len(todo),
                    **lacking,
                }
            )
        seen = session.execute(
            select(func.avg(Call.completion_tokens), func.count())
            .join(Run, Run.id == Call.run_id)
            .where(Call.status == "answered", Run.settings["model"].as_string() == settings.model)
        ).one()
    longest = totals["calls"] * settings.max_tokens
    usual = round(totals["calls"] * float(seen[0])) if seen[1] else None
    told: dict[str, Any] = {
        "calls": totals.pop("calls", 0),
        "prompt tokens": totals.pop("tokens", 0),
        "counted": "by the tokenizer" if counter.exact else "by length: give --tokenizer",
        "completion tokens, at most": longest,
        **({"completion tokens, as before": usual} if usual is not None else {}),
    }
    if task.side and (price is None or price.picture is None):
        told["pictures"] = f"not counted: nothing says how many tokens {settings.model} takes"
    if price is None:
        told["cost"] = f"unknown: no price for {settings.model}"
    else:
        told["cost, at most"] = dollars(price.of(told["prompt tokens"], longest))
        if usual is not None:
            told["cost, as before"] = dollars(price.of(told["prompt tokens"], usual))
    return told | dict(totals)


def price_for(settings: LLMSettings, *, later: bool = False) -> Price | None:
    """The model's price; UserError where a budget cannot be kept for want of one."""
    price = pricing.price_of(settings.model, settings.prices)
    price = price.later() if price and later else price
    if settings.budget < 0:
        raise UserError(f"a budget of {settings.budget}", hint="use dollars, such as 5.00")
    if settings.budget and price is None:
        raise UserError(
            f"no price for {settings.model}, so a budget cannot be kept",
            hint="state one in a file and give --prices FILE",
        )
    return price


def counter_for(settings: LLMSettings) -> Counter:
    """What counts tokens: the tokenizer that is named, or the length of texts."""
    return ByTokenizer(settings.tokenizer) if settings.tokenizer else ByLength()


def chunks(image_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """The images in pieces that fit into memory."""
    for start in range(0, len(image_ids), _CHUNK):
        yield image_ids[start : start + _CHUNK]


def requests(
    session: Session, task: Task, settings: LLMSettings, image_ids: Sequence[int]
) -> tuple[list[Request], dict[str, int], Tally[str]]:
    """Every request about these images, the tokens of those that have a reply, and what lacks."""
    found: list[Request] = []
    lacking: Tally[str] = Tally()
    for brief in briefs(session, image_ids):
        if reason := task.lacks(brief):
            lacking[f"images with {reason}"] += 1
            continue
        if languages.other(brief.words, task.language):
            lacking[f"images whose texts are not in {task.language}"] += 1
        found += [request(task, settings, brief, sample) for sample in range(task.samples)]
    fingerprints = [r.fingerprint for r in found]
    if waiting := journal.submitted(session, fingerprints):
        lacking["submitted, to be collected"] += len(waiting)
        found = [r for r in found if r.fingerprint not in waiting]
    return found, journal.answered(session, fingerprints), lacking


def tokens_of(counter: Counter, price: Price | None, one: Request) -> int:
    """Tokens of a request, with those of its picture where that is known."""
    return counter.count(one.messages) + (price.seen(one.picture) if price else 0)


def learn(
    counter: Counter, price: Price | None, found: Sequence[Request], known: Mapping[str, int]
) -> None:
    """How long tokens are, by requests that the server has counted."""
    if isinstance(counter, ByLength):
        for one in found:
            if tokens := known.get(one.fingerprint):
                counter.learn(one.messages, tokens - (price.seen(one.picture) if price else 0))
