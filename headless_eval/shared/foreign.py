"""Code of others within this process: it may fork, as multiprocessing does, and it may try to end the program.

What is open here would stay open in a child, and a child that comes back would go on with its parent's work.
"""

import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Abandoned(Protocol):
    """What is open in a process alone, and not in those that it forks."""

    def abandon(self) -> None:
        """Let go of what is open, in a child; its parent's stays as it is."""
        ...


_owners: "weakref.WeakSet[Abandoned]" = weakref.WeakSet()


def abandon_in_children(owner: Abandoned) -> None:
    """Call ``owner.abandon()`` in every process that this one forks, as long as the owner is there."""
    _owners.add(owner)


def _abandon() -> None:
    for owner in list(_owners):
        owner.abandon()


os.register_at_fork(after_in_child=_abandon)


@contextmanager
def foreign_code() -> Iterator[None]:
    """Run code of somebody else's: it can neither end this process nor come back from it twice.

    ``sys.exit`` becomes an error. A child that the code forks and that comes out of it ends at once.

    Raises:
        RuntimeError: the code called ``sys.exit``.
    """
    process = os.getpid()
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"sys.exit({error.code!r}) was called") from error
    finally:
        if os.getpid() != process:
            print(
                "headless-eval: a forked process came back from its parent's call: it ends", file=sys.stderr
            )
            os._exit(1)
