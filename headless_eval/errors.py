"""The exceptions with a meaning for the whole program; those that reach a user do so as a single line."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a missing library.

    The message is one line that names what is wrong and what to do about it. The command line prints it
    without a traceback and exits with status 2.

    Attributes:
        details: lines that the command line prints above the message, such as a table; mostly empty.
    """

    details = ""


class StopRun(UserError):
    """The run cannot go on: it stops, the episodes that have ended are kept, and ``run --resume`` runs the others."""


class CannotWrite(StopRun):
    """A run's folder takes no more, as on a full disk: what is not written counts as not run.

    Args:
        what: cannot be written, such as ``"the journal"``.
        reason: the system's, such as ``"No space left on device"``.
    """

    def __init__(self, what: str, reason: str | None) -> None:
        super().__init__(f"{what} cannot be written: {reason}; free the disk and resume")


class LostConnection(Exception):
    """The connection to a policy's server broke in the middle of an episode, which says nothing about the policy.

    The episode is an error, and its trial is repeated up to ``retries`` times even if ``run --retries`` allows fewer.
    """

    retries = 2


def exit_status(error: BaseException) -> int:
    """Return the exit status after an exception: ``UserError`` 2, Ctrl-C 130, a closed pipe 141, any other 1."""
    for kind, status in ((UserError, 2), (KeyboardInterrupt, 130), (BrokenPipeError, 141)):
        if isinstance(error, kind):
            return status
    return 1
