"""Results of conformance tests: one ``Check`` each, and what an exception in a test becomes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from headless_eval.errors import UserError
from headless_eval.policies.checks import FAILED, OK, Check
from headless_eval.shared.places import line_of


def tested(name: str, test: Callable[[], str | Check]) -> Check:
    """Run a test and return its result.

    Args:
        name: the test's name.
        test: returns the finding of a test that holds, or its result; raises ``UserError`` with the finding of a test
            that does not hold. Other exceptions are errors of the tested code.
    """
    try:
        found = test()
    except UserError as error:
        return Check(name, FAILED, str(error))
    except Exception as error:
        return Check(name, FAILED, f"{type(error).__name__}: {error}{line_of(error)}")
    return found if isinstance(found, Check) else Check(name, OK, found)


def expect(holds: bool, otherwise: str) -> None:
    """Raise an error with a finding unless something holds.

    Raises:
        UserError: it does not hold.
    """
    if not holds:
        raise UserError(otherwise)


def same(one: Any, other: Any) -> bool:
    """Return whether two observations are equal in every entry, to the bit."""
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[key]) and np.asarray(value).dtype == np.asarray(other[key]).dtype
        for key, value in one.items()
    )


def copied(observation: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an observation, arrays included."""
    return {
        key: value.copy() if isinstance(value, np.ndarray) else value for key, value in observation.items()
    }
