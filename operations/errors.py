"""The one error a user sees."""

from __future__ import annotations


class UserError(Exception):
    """Something the person at the keyboard can put right.

    `str()` is the whole message: what is wrong (key, file or command, and the value), what is allowed, what to do.
    The command line prints it without a traceback and exits with `exit_code`.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
