"""Memory that the shell limits: what then fails says so in many ways, few of which name memory."""

import resource

from headless_eval.errors import UserError
from headless_eval.shared.text import bytes_text

_SAID = ("failed to map segment", "allocate memory", "bad_alloc", "out of memory")


def limited() -> str:
    """Return that the process's memory is limited, in a sentence without its full stop; empty if it is not."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"memory is limited to {bytes_text(limit)} here (ulimit -v): raise the limit"


def out_of_memory(error: BaseException) -> UserError | None:
    """Return the line to show for an error that means too little memory on the host; None for other errors."""
    if not isinstance(error, MemoryError) and not any(said in str(error).lower() for said in _SAID):
        return None
    if isinstance(error, RuntimeError) and "cuda" in str(error).lower():
        return None
    return UserError(f"there is not enough memory; {limited() or 'free some, or run less at once'}")
