"""One question, one reply: a language model asked at once, outside any run."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from generation.llm.client import LLM, Failure, Request
from generation.settings import LLMSettings
from regions.errors import UserError


def complete(settings: LLMSettings, prompt: str) -> str:
    """The reply to a prompt; UserError where none comes."""
    with ThreadPoolExecutor(1) as pool:  # whoever asks may have an event loop of their own
        return pool.submit(asyncio.run, _ask(settings, prompt)).result()


async def _ask(settings: LLMSettings, prompt: str) -> str:
    fingerprint = hashlib.sha256(f"{settings.model}\0{prompt}".encode()).hexdigest()
    llm = LLM(settings)
    try:
        found = await llm.ask(Request(fingerprint, 0, 0, [{"role": "user", "content": prompt}], {}))
    finally:
        await llm.close()
    if isinstance(found, Failure):
        raise UserError(f"no reply: {found.error}", where=settings.base_url, hint="try again")
    return found.text
