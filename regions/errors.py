"""Errors that a user can act on: what is wrong, where, and what to do about it."""


class UserError(Exception):
    """A problem that the user can solve, in one line.

    The command line prints it and exits with code 2; the web app answers with the status of its
    kind (`annotator.web.api`). Raise a subclass where one fits; the class itself is for problems of
    the environment: a full disk, a missing model, a server that does not respond.

    >>> print(UserError("no such image", where="row 3", hint="check --images"))
    no such image (row 3): check --images
    """

    def __init__(self, problem: str, *, where: str = "", hint: str = "") -> None:
        self.problem, self.where, self.hint = problem, where, hint
        super().__init__(problem + (f" ({where})" if where else "") + (f": {hint}" if hint else ""))


class NotFoundError(UserError):
    """Something that was named does not exist."""


class ConflictError(UserError):
    """The request contradicts the present state: a name in use, a run in progress."""


class InvalidError(UserError):
    """A value, file or combination of options that is not allowed."""
