"""One prompt, one reply: a language model called outside any run."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from generation.checks.reasoning import without_reasoning
from generation.llm.client import LLMClient
from generation.llm.protocol import Reply, Request
from generation.settings import LLMSettings
from regions.errors import UserError


def complete(settings: LLMSettings, prompt: str) -> str:
    """Return the reply to a prompt, without the model's reasoning; UserError if the call fails."""
    with ThreadPoolExecutor(1) as pool:  # the caller may be inside an event loop
        return pool.submit(asyncio.run, _complete(settings, prompt)).result()


async def _complete(settings: LLMSettings, prompt: str) -> str:
    fingerprint = hashlib.sha256(f"{settings.model}\0{prompt}".encode()).hexdigest()
    request = Request(fingerprint, 0, 0, [{"role": "user", "content": prompt}], {})
    client = LLMClient(settings)
    try:
        outcome = await client.complete(request)
    finally:
        await client.close()
    if isinstance(outcome, Reply):
        return without_reasoning(outcome.text)
    reason = outcome.error if outcome else "stopped"
    raise UserError(f"no reply: {reason}", where=settings.base_url, hint="try again")
