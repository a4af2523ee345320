"""What can be wrong with a wish about an account."""

from __future__ import annotations

from vivavoce.core import ExitCode, VivavoceError


class AccountsError(VivavoceError):
    """A wish that cannot be fulfilled: one line, a machine-readable `code`, a `status` of HTTP, perhaps a hint."""

    def __init__(self, code: str, message: str, status: int = 400, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.status, self.hint = code, status, hint
        self.exit_code = ExitCode.USAGE if status == 400 else ExitCode.FAILURE


class DatabaseError(VivavoceError):
    """The database does not answer, or is not what this version needs."""
