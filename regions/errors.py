"""The one exception that a user is meant to read: what is wrong, where, and what to do about it."""


class UserError(Exception):
    """A user's mistake, told in one line; the command line prints it and exits with 2.

    >>> print(UserError("no such image", where="row 3", todo="check --images"))
    no such image (row 3): check --images
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        super().__init__(what + (f" ({where})" if where else "") + (f": {todo}" if todo else ""))
