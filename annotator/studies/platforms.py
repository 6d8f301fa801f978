"""Crowd platforms: the ids in their links, and signatures that prove a link's origin."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from regions.errors import InvalidError


class PlatformParameters(NamedTuple):
    """The names of a platform's URL parameters for its worker, study and session ids."""

    worker: str
    study: str
    session: str


PLATFORMS: dict[str, PlatformParameters] = {
    "Prolific": PlatformParameters("PROLIFIC_PID", "STUDY_ID", "SESSION_ID"),
    "Mechanical Turk": PlatformParameters("workerId", "hitId", "assignmentId"),
    "Other": PlatformParameters("worker", "study", "session"),
}
SIGNATURE = "signature"
"""The URL parameter of a link's signature."""

_ID = re.compile(r"[A-Za-z0-9_.@:-]{1,100}")
_MTURK_PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"


@dataclass(frozen=True, slots=True)
class PlatformIds:
    """The platform's ids of a worker, their study and their session."""

    worker: str
    study: str = ""
    session: str = ""


def parse_platform_ids(parameters: Mapping[str, str]) -> PlatformIds:
    """The ids in a link's URL parameters; InvalidError if the worker's is missing or malformed."""
    for names in PLATFORMS.values():
        if names.worker not in parameters:
            continue
        ids = PlatformIds(
            parameters[names.worker],
            parameters.get(names.study, ""),
            parameters.get(names.session, ""),
        )
        if ids.session == _MTURK_PREVIEW:
            raise InvalidError("this is a preview", hint="accept the task first")
        check_ids(ids)
        return ids
    raise InvalidError(
        "this link has no worker id",
        hint="add ?PROLIFIC_PID={{%PROLIFIC_PID%}} or your platform's parameters",
    )


def check_ids(ids: PlatformIds) -> None:
    """InvalidError unless the ids are such as platforms make."""
    given = (ids.worker, *filter(None, (ids.study, ids.session)))
    if not all(_ID.fullmatch(value) for value in given):
        raise InvalidError("the ids in this link are not valid", hint="use the platform's link")


def sign(secret: str, ids: PlatformIds) -> str:
    r"""The signature of a link: HMAC-SHA256 of its ids, one per line, in hexadecimal digits.

    >>> sign("the study's secret", PlatformIds("w1", "st", "se"))[:16]
    '6ff42edb355f12df'
    """
    message = f"{ids.worker}\n{ids.study}\n{ids.session}"
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def is_signed(secret: str, ids: PlatformIds, signature: str) -> bool:
    """Whether a signature is the one of these ids; takes the same time for every wrong one."""
    return hmac.compare_digest(sign(secret, ids).encode(), signature.encode())


def signed_path(link: str, secret: str, ids: PlatformIds) -> str:
    """The path of a signed link for one worker."""
    names = PLATFORMS["Other"]
    parameters = {
        names.worker: ids.worker,
        **({names.study: ids.study} if ids.study else {}),
        **({names.session: ids.session} if ids.session else {}),
        SIGNATURE: sign(secret, ids),
    }
    return f"/join/{link}?{urlencode(parameters)}"
