"""The one exception that reaches a user as a single line."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a missing library.

    The message is one line that names what is wrong and what to do about it. The command line prints it
    without a traceback and exits with status 2.
    """
