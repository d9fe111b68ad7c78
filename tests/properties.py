"""What property-based tests have in common: few examples, always the same, and values that anybody may write."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from headless_eval.errors import UserError
from headless_eval.results import EpisodeRecord
from headless_eval.shared.text import printable

few = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Settings of a property that is checked in well under a second."""

texts = st.text(max_size=12).filter(lambda text: printable(text) == text)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**31 - 1)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Any value of JSON, and some that JSON has not."""


@st.composite
def records(draw: st.DrawFn) -> EpisodeRecord:
    """Draw a record with any content that a run could write."""
    status = draw(st.sampled_from(("success", "failure", "error")))
    error = st.fixed_dictionaries({"type": texts, "message": texts, "traceback": texts})
    settings_of = st.dictionaries(texts, counts | numbers | texts, min_size=1, max_size=3)
    names = ("configuration", "dtype", "mode", "scope", "task_key", "task_name", "instruction", "started_at")
    return EpisodeRecord(
        **{name: draw(texts) for name in names},
        **{name: draw(counts) for name in ("task_id", "episode", "steps", "max_steps", "replans")},
        **{name: draw(numbers) for name in ("sim_s", "render_s", "infer_s", "total_s")},
        status=status,
        success=status == "success",
        seed=draw(st.integers(0, 2**63 - 1)),
        actions_sha256=draw(hashes),
        video=draw(st.none() | texts),
        error=draw(error) if status == "error" else None,
        actions=draw(st.none() | st.fixed_dictionaries({"offset": counts, "dims": counts})),
        metrics=draw(st.none() | st.dictionaries(texts, numbers, min_size=1, max_size=3)),
        variant=draw(st.none() | settings_of),
        initial_state_sha256=draw(st.none() | hashes),
    )


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for bytes that differ from these by one stretch that is replaced by another."""

    def change(at: int, length: int, new: bytes) -> bytes:
        return data[:at] + new + data[at + length :]

    return st.builds(change, st.integers(0, len(data)), st.integers(0, 40), st.binary(max_size=20))


def outcome(call: Callable[[], Any], kind: type[Exception] = UserError) -> Any:
    """Return what a call returns, or its error, which has to be one line."""
    try:
        found = call()
    except kind as error:
        found = error
    said = str(found) if isinstance(found, kind) else "well"
    assert said.splitlines() == [said]
    return found
