"""The exceptions that reach a user as a single line."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a missing library.

    The message is one line that names what is wrong and what to do about it. The command line prints it
    without a traceback and exits with status 2.

    Attributes:
        details: lines that the command line prints above the message, such as a table; mostly empty.
    """

    details = ""


class CannotWrite(UserError):
    """A run's folder takes no more, as on a full disk: the run stops, and what is not written counts as not run.

    Args:
        what: cannot be written, such as ``"the journal"``.
        reason: the system's, such as ``"No space left on device"``.
    """

    def __init__(self, what: str, reason: str | None) -> None:
        super().__init__(f"{what} cannot be written: {reason}; free the disk and resume")
