"""How a server is reached: address, query, key and headers; secrets are never stored or printed.

The key and the values of further headers are read from the environment.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from openai import Omit

from db.store.texts import clean_text
from generation.llm.failures import API_KEY
from generation.settings import LLMSettings
from regions.errors import InvalidError, UserError

CHAT_PATH = "/chat/completions"
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_KEY_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})
"""Headers that take the place of the key: a second, wrong one would be rejected."""
_MAX_MESSAGE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Connection:
    """A server's address, and what every request to it carries."""

    base_url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key: str = field(default="", repr=False)

    @property
    def has_secrets(self) -> bool:
        """Whether requests carry a key or other headers, which no other server may see."""
        return bool(self.key or self.headers)

    def client_options(self, timeout: float) -> dict[str, Any]:
        """Return keyword arguments for the openai clients."""
        return {
            "api_key": self.key or "none",
            "base_url": self.base_url,
            "default_query": dict(self.query),
            "timeout": timeout,
            "max_retries": 0,
        }

    @property
    def request_headers(self) -> dict[str, Any]:
        """The headers of every request; one of them may take the place of the key."""
        names = {name.lower() for name in self.headers}
        replaces_key = "authorization" not in names and names & _KEY_HEADERS
        return {**self.headers, **({"Authorization": Omit()} if replaces_key else {})}

    def printable(self, text: str) -> str:
        """Return a server's message on one line, shortened, and without secrets."""
        for secret in (self.key, *self.headers.values()):
            if secret:
                text = text.replace(secret, "***")
        text = clean_text(text[:_MAX_MESSAGE_LENGTH])
        return "".join(c if c.isprintable() else " " for c in text)


def connect(settings: LLMSettings) -> Connection:
    """Return the connection of settings and environment; UserError if a needed key is missing."""
    url = urlsplit(settings.base_url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise InvalidError(
            f"--base-url is not an address: {settings.base_url}",
            hint="write it like http://127.0.0.1:8000/v1",
        )
    base_url = urlunsplit((url.scheme, url.netloc, url.path, "", ""))
    headers = _headers(settings.header_env)
    has_key_header = any(name.lower() in _KEY_HEADERS for name in headers)
    key = "" if has_key_header else os.environ.get(API_KEY, "")
    if not key and not has_key_header and url.hostname not in _LOCAL_HOSTS:
        raise UserError(
            f"no API key for {settings.base_url}", hint=f"set {API_KEY}, or use --header-env"
        )
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Connection(base_url.rstrip("/").removesuffix(CHAT_PATH), query, headers, key)


def _headers(pairs: Sequence[str]) -> dict[str, str]:
    headers = {}
    for pair in pairs:
        name, separator, variable = pair.partition("=")
        if not (name and separator and variable) or not name.replace("-", "").isalnum():
            raise InvalidError(
                f"invalid --header-env {pair!r}",
                hint="write HEADER=ENV_VARIABLE, such as api-key=AZURE_OPENAI_API_KEY",
            )
        value = os.environ.get(variable, "").strip()
        if not value:
            raise UserError(
                f"the environment variable {variable} is not set",
                where=f"--header-env {name}",
                hint=f"set {variable} to the header's value",
            )
        if not value.isascii() or not value.isprintable():
            raise InvalidError(f"the value of {variable} cannot be sent as a header")
        headers[name] = value
    return headers
