"""HTTP answers to errors: every error of a request is `{"error": sentence}` with its status."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from annotator.accounts.throttle import TooManyAttemptsError
from annotator.jobs.ask_service import BusyError
from annotator.web.middleware.bodies import UNSTORABLE
from regions.errors import ConflictError, InvalidError, NotFoundError, UserError


class TooLargeError(UserError):
    """A request's body is larger than `annotator.web.middleware.bodies` allows."""


_STATUS: dict[type[UserError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    InvalidError: 422,
    TooLargeError: 413,
    TooManyAttemptsError: 429,
    BusyError: 503,
}
_OTHER_USER_ERROR = 400


def status_of(error: UserError) -> int:
    """The HTTP status of a user error.

    >>> status_of(NotFoundError("no such image")), status_of(UserError("the disk is full"))
    (404, 400)
    """
    kinds = (_STATUS[kind] for kind in type(error).mro() if kind in _STATUS)
    return next(kinds, _OTHER_USER_ERROR)


def add_exception_handlers(app: FastAPI) -> None:
    """Answer user errors and malformed requests in one sentence."""
    messages: dict[type[Exception], Callable[[Any], tuple[int, str]]] = {
        UserError: lambda error: (status_of(error), str(error)),
        RequestValidationError: lambda error: (422, _first_fault(error)),
        HTTPException: lambda error: (error.status_code, str(error.detail)),
        # Whatever PostgreSQL cannot store.
        DataError: lambda _: (422, UNSTORABLE),
    }
    for kind, message in messages.items():

        def respond(_: Request, error: Exception, message: Any = message) -> JSONResponse:  # noqa: ANN401 - the lambda above
            status, sentence = message(error)
            return JSONResponse({"error": sentence}, status)

        app.add_exception_handler(kind, respond)


def _first_fault(error: RequestValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
