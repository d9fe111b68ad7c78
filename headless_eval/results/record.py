"""The record of an episode: a line of the journal."""

import dataclasses
import json
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from headless_eval.contracts.variant import UNQUANTIZED
from headless_eval.errors import UserError
from headless_eval.shared.untrusted import convert

SUCCESS, FAILURE, ERROR = "success", "failure", "error"
STATUSES = (SUCCESS, FAILURE, ERROR)

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Seed = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """One episode of one task of one variant; a line of the journal.

    A trial is identified by (configuration, task_id, episode). All fields except the four ``*_s`` durations,
    ``started_at`` and the offset in ``actions`` are determined by the run's settings and are the same when the run is
    repeated.

    Args:
        configuration: the variant's name, such as ``float32`` or ``float8_e4m3_weights_only``.
        dtype: the numerical type of its precision.
        mode: ``weights_only``, ``activations_only`` or ``both``.
        scope: the modules that the precision applies to, as text.
        task_id: the task's number in its suite.
        task_key: the task's name in file names (``scene_1``).
        task_name: the task's name for display.
        instruction: the prompt that the policy was given.
        episode: the episode's index, from 0.
        status: ``success``, ``failure`` or ``error`` (the episode broke and says nothing about the policy).
        success: whether the status is ``success``.
        steps: control steps taken.
        max_steps: control steps allowed.
        seed: the run's seed, from which all of the trial's randomness comes.
        replans: number of action chunks that the policy computed.
        actions_sha256: hash of the executed actions, float32 little-endian in C order, one after another.
        video: path relative to the run's folder, or None.
        sim_s: seconds spent stepping and resetting the simulator.
        render_s: seconds spent on observations and video frames.
        infer_s: seconds spent in the policy.
        total_s: the episode's share of the wall-clock time; time spent on several episodes at once is divided.
        started_at: ISO 8601 time in UTC.
        error: ``type``, ``message`` and ``traceback`` of the exception that ended the episode, or None.
        actions: position of the episode's actions in ``actions/<configuration>.f32``: ``offset`` in bytes and ``dims``;
            None if the actions were not kept.
        metrics: outcomes beside success, by name (``results.outcomes``): those of the executed actions, those of the
            whole episode, and the latest value of those after each step; units are in the manifest. None if there are
            none.
        variant: the variant's settings beside its precision, such as ``{"flow_steps": 5}``; None without such settings.
        initial_state_sha256: hash of the numbers that the episode starts from (``contracts.simulator.hash_of_state``);
            None if the simulator does not tell them, or the episode broke before it began.
        reason: why the episode failed (``results.outcomes.REASONS``); None if it did not, or the simulator does not
            tell.
        phase: the furthest phase of the task that was reached, such as ``grasp``; None if the simulator does not tell.
        perturbation: the numbers that were drawn for the episode's perturbation, by ``axis.name``; None if its task is
            not perturbed.

    Raises:
        ValueError: status, success, error and reason contradict each other.
    """

    configuration: str
    dtype: str
    mode: str
    scope: str
    task_id: Count
    task_key: str
    task_name: str
    instruction: str
    episode: Count
    status: str
    success: bool
    steps: Count
    max_steps: Count
    seed: Seed
    replans: Count
    actions_sha256: str
    video: str | None
    sim_s: float
    render_s: float
    infer_s: float
    total_s: float
    started_at: str
    error: dict[str, str] | None = None
    actions: dict[str, int] | None = None
    metrics: dict[str, float] | None = None
    variant: dict[str, str | int | float] | None = None
    initial_state_sha256: str | None = None
    reason: str | None = None
    phase: str | None = None
    perturbation: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is not one of {', '.join(STATUSES)}")
        if self.success != (self.status == SUCCESS):
            raise ValueError(f"success={self.success} contradicts the status {self.status!r}")
        if (self.error is not None) != (self.status == ERROR):
            raise ValueError(
                f"a record has an error if its status is 'error', and only then: {self.status!r}"
            )
        if self.reason is not None and self.status != FAILURE:
            raise ValueError(f"only a failure has a reason: {self.reason!r} contradicts {self.status!r}")

    @property
    def quantized(self) -> bool:
        """Whether the variant's precision changes the model; if not, mode and scope have no meaning."""
        return self.dtype != UNQUANTIZED

    @property
    def trial(self) -> tuple[str, int, int]:
        """Return (configuration, task_id, episode), which identifies the trial within its run."""
        return self.configuration, self.task_id, self.episode

    @property
    def unrecorded(self) -> frozenset[str]:
        """The fields that are not known, which hold 0 or nothing; only records of ``results.peers`` have any."""
        return frozenset()

    @property
    def assumed_same(self) -> bool:
        """Whether the user says that episodes of this task and number are the same, though no seed is recorded."""
        return False

    def stated(self, name: str) -> Any:
        """Return a field, or None if it is not known."""
        return None if name in self.unrecorded else getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in order, ready for JSON; fields of ``OPTIONAL`` are left out if they are None."""
        fields = {name: self.stated(name) for name in FIELDS}
        return {name: value for name, value in fields.items() if value is not None or name not in OPTIONAL}

    def to_json(self) -> str:
        """Return the journal's line, without its end of line.

        Raises:
            ValueError: a duration is not finite.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, fields: Any) -> "EpisodeRecord":
        """Return the record of a journal's line; fields unknown to this version are ignored.

        Raises:
            UserError: a field is missing, has the wrong type, or contradicts another field.
        """
        if not isinstance(fields, dict):
            raise UserError("not an episode's record: a JSON object is expected")
        try:
            return convert(fields, cls)
        except ValueError as error:
            raise UserError(f"the episode's record: {error}") from None


OPTIONAL = ("metrics", "variant", "initial_state_sha256", "reason", "phase", "perturbation")
"""Fields that a journal's line has only where they are not None."""

FIELDS = tuple(field.name for field in dataclasses.fields(EpisodeRecord))


def describe_error(error: BaseException) -> dict[str, str]:
    """Return an exception's type, message and traceback, as a record keeps them."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    lines = traceback.format_exception(kind, error, error.__traceback__)
    return {"type": name, "message": str(error), "traceback": "".join(lines)}
