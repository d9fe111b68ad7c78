"""Measurement of bench's rows: latency, memory and error of every combination, with the chip's limit."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.performance.cases import Case, relative_errors
from headless_eval.performance.chip import Chip
from headless_eval.performance.costs import Limit, limit_of
from headless_eval.performance.measured_model import MeasuredModel
from headless_eval.performance.measured_policy import MeasuredPolicy, Observations
from headless_eval.performance.memory import MemoryMark, free_unused
from headless_eval.performance.progress_bar import ProgressBar
from headless_eval.performance.timing import Stopwatch, summarize, wall
from headless_eval.performance.workload import Inputs, Workload
from headless_eval.policies.device import memory_free
from headless_eval.quant.precision import Precision

COMPARED = 4
"""Number of a batch's samples that the error is computed from."""

_MEMORY = 0.5  # share of the free memory for the cases measured in turns


@dataclass(frozen=True)
class Row:
    """One row of the table; figures that could not be measured are None.

    Times are in milliseconds. ``median_ms``, ``p5_ms`` and ``p95_ms`` are of ``sample_actions`` with the images on
    the device; ``end_to_end_ms`` is the median from images on the host to actions on the host.

    Args:
        compute: the type of the weights.
        precision: the precision's name.
        execution: simulated or native.
        engine: the requested engine.
        ran: the engine that computed.
        status: ``ok``, or the reason why the figures are missing.
        warmup_s: seconds from loaded weights to the end of the first inference, compilation included.
        weights_bytes: size of the model's parameters.
        peak_bytes: peak memory of the first inference, compilation included; see ``MemoryMark``.
        error: root mean square difference of the actions from float32 eager, relative to the root mean square of
            float32's actions; over the first samples.
        error_max: the largest difference of the actions, relative to the largest action.
        limit_ms: the roofline's time: ``prefix_limit_ms`` once and ``step_limit_ms`` for each flow step.
    """

    compute: str
    precision: str
    execution: str
    engine: str
    batch: int
    views: int
    prompt_tokens: int
    ran: str | None = None
    status: str = "not measured"
    repeats: int = 0
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    end_to_end_ms: float | None = None
    warmup_s: float | None = None
    weights_bytes: int | None = None
    peak_bytes: int | None = None
    chunks_per_s: float | None = None
    error: float | None = None
    error_max: float | None = None
    limit_ms: float | None = None
    prefix_limit_ms: float | None = None
    step_limit_ms: float | None = None

    @property
    def computed_by(self) -> str:
        """Return the engine that computed, with the requested name if it differs."""
        return self.engine if self.ran in (None, self.engine) else f"{self.ran} ({self.engine})"

    @property
    def share(self) -> float | None:
        """Return the limit divided by the measured time."""
        return self.limit_ms / self.median_ms if self.median_ms and self.limit_ms else None

    @property
    def key(self) -> tuple:
        """Return the settings that identify the row."""
        return (
            self.compute, self.precision, self.execution, self.engine, self.batch, self.views, self.prompt_tokens
        )  # fmt: skip


@dataclass
class _Ready:
    """A case and a workload after warm-up, with the measured times of its repetitions."""

    policy: LocalPolicy
    inputs: Inputs | Observations
    row: Row
    device_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)


class Bench:
    """Measurement of cases on workloads.

    Cases are warmed up one after another and then measured in turns on each workload, as many of them as fit into
    memory, so that other programs on the machine disturb all of them equally.

    Args:
        measured: the model.
        device: the device to measure on.
        chip: the device's speeds.
        repeats: number of measurements of each case.
        work: display of the progress, ``units`` units in total.
        deadline: a time of ``time.monotonic`` after which no new case begins.
    """

    def __init__(
        self,
        measured: MeasuredModel | MeasuredPolicy,
        device: str,
        chip: Chip,
        repeats: int,
        work: ProgressBar,
        deadline: float | None = None,
    ) -> None:
        self._measured, self._device_name, self._device = measured, device, torch.device(device)
        self._chip, self._repeats, self._work = chip, repeats, work
        self._deadline = float("inf") if deadline is None else deadline
        self._references: dict[tuple[int, int], np.ndarray | None] = {}

    @staticmethod
    def units(cases: int, workloads: int) -> int:
        """Return the number of steps of work for a table: warm-ups and measurements."""
        return 2 * cases * workloads

    def planned(self, cases: Sequence[Case], workloads: Sequence[Workload]) -> list[Row]:
        """Return all rows, without figures."""
        return [self._row(case, workload) for case in cases for workload in workloads]

    def measure(self, cases: Sequence[Case], workloads: Sequence[Workload]) -> Iterator[Row]:
        """Yield a row for every case and workload; the status of a failed row gives the reason."""
        self._refer(workloads)
        for group in self._groups(cases):
            ready: list[_Ready] = []
            policies: list[LocalPolicy] = []
            try:
                for case in group:
                    yield from self._warm_up(case, workloads, ready, policies)
                yield from self._repeat(ready)
            finally:
                ready.clear()
                for policy in policies:
                    with suppress(Exception):  # a GPU that has failed cannot restore the weights
                        policy.close()
                policies.clear()
                with suppress(RuntimeError):
                    free_unused(self._device)

    def _refer(self, workloads: Sequence[Workload]) -> None:
        """Compute the actions of float32 eager, one sample after another."""
        self._work.say("float32 eager, the reference")
        most: dict[tuple[int, int], int] = {}
        for workload in workloads:
            key = workload.views, workload.prompt_tokens
            most[key] = max(most.get(key, 0), min(COMPARED, workload.batch))
        try:
            with self._measured.load(self._device_name) as policy:
                for key, number in most.items():
                    inputs = self._measured.inputs(Workload(number, *key))
                    rows = [inputs.rows(row, row + 1) for row in range(number)]
                    self._references[key] = np.concatenate([self._sample(policy, row) for row in rows])
        except (torch.OutOfMemoryError, MemoryError):  # without a reference no error is computed
            self._references = dict.fromkeys(most)
        free_unused(self._device)

    def _groups(self, cases: Sequence[Case]) -> Iterator[list[Case]]:
        """Divide the cases into those that fit into memory together."""
        parameters = self._measured.parameters
        room = _MEMORY * memory_free(self._device)
        group: list[Case] = []
        used = 0.0
        for case in cases:
            # The weights, a copy for restoring or in other types, and the engine's own memory.
            size = 3 * parameters * torch.empty((), dtype=getattr(torch, case.compute)).element_size()
            if group and used + size > room:
                yield group
                group, used = [], 0.0
            group.append(case)
            used += size
        yield group

    def _warm_up(
        self, case: Case, workloads: Sequence[Workload], ready: list[_Ready], policies: list[LocalPolicy]
    ) -> Iterator[Row]:
        """Warm up a case and add its workloads to ``ready``; yield the rows of workloads that fail."""
        rows = [self._row(case, workload) for workload in workloads]
        entered, before = False, 0.0
        for index, (row, workload) in enumerate(zip(rows, workloads, strict=True)):
            self._work.say(f"warming up {_name(row)}")
            try:
                if time.monotonic() > self._deadline:
                    raise UserError("no time left")
                if not entered:
                    free_unused(self._device)
                    mark = MemoryMark(self._device)
                    policy = self._measured.load(self._device_name, case.compute, case.engine, case.execution)
                    policies.append(policy)
                    before, entered = self._enter(policy, case.precision, workload), True
                    mark.forget_peak()  # of an engine that was replaced
                ready.append(self._first(policy, case, workload, row, before, mark))
                before = 0.0  # the other workloads find the engine there
                self._work.advance()
            except Exception as error:
                failed = [row] if entered else rows[index:]  # without a policy, all meet the same
                self._work.advance(2 * len(failed))
                yield from (replace(one, status=_reason(error)) for one in failed)
                if not entered:
                    return

    def _enter(self, policy: LocalPolicy, precision: Precision, workload: Workload) -> float:
        """Put the policy into a precision with its own engine; return the time in seconds."""
        if precision.method is not None and precision.method.needs_calibration:
            inputs = self._measured.inputs(workload)
            policy.calibration = policy.record_calls(lambda: self._sample(policy, inputs))
        if precision.dtype == "float32":
            _, ms = wall(self._device, policy.renew_engine)
        else:
            _, ms = wall(self._device, lambda: policy.set_precision(precision))
        return ms / 1e3

    def _first(
        self, policy: LocalPolicy, case: Case, workload: Workload, row: Row, before: float, mark: MemoryMark
    ) -> _Ready:
        inputs = self._measured.inputs(workload)
        actions, ms = wall(self._device, lambda: self._sample(policy, inputs))
        # Of a GPU's memory, what torch has allocated is known.
        peak = mark.peak() if self._measured.in_torch or self._device.type == "cpu" else None
        for _ in range(2):
            self._sample(policy, inputs)
        reference = self._references[workload.views, workload.prompt_tokens]
        error, error_max = (None, None) if reference is None else relative_errors(actions, reference)
        if limit := self.limit(case, workload):
            row = replace(
                row,
                limit_ms=limit.total_ms,
                prefix_limit_ms=limit.prefix_ms,
                step_limit_ms=limit.step_ms,
            )
        row = replace(
            row,
            ran=policy.engine,
            warmup_s=before + ms / 1e3,
            weights_bytes=policy.stored_bytes,
            peak_bytes=peak,
            error=error,
            error_max=error_max,
        )
        return _Ready(policy, inputs, row)

    def _repeat(self, ready: list[_Ready]) -> Iterator[Row]:
        """Measure the cases of one workload in turns, then those of the next, because a large batch heats the chip."""
        stopwatch = Stopwatch(self._device)
        workloads: dict[tuple, list[_Ready]] = {}
        for one in ready:
            workloads.setdefault((one.row.batch, one.row.views), []).append(one)
        for group in workloads.values():
            arguments = [one.inputs.arguments(self._device) for one in group]
            for turn in range(self._repeats):
                for one, given in zip(group, arguments, strict=True):
                    with torch.inference_mode():
                        _, ms = stopwatch(lambda: one.policy.sample(given))  # noqa: B023 - called at once
                    one.device_ms.append(ms)
                    _, ms = wall(self._device, lambda: self._sample(one.policy, one.inputs))  # noqa: B023
                    one.wall_ms.append(ms)
                self._work.advance(len(group) / self._repeats)
                self._work.say(f"measuring batch {group[0].row.batch}, {turn + 1} of {self._repeats}")
        for one in ready:
            times = summarize(one.device_ms)
            yield replace(
                one.row,
                status="ok" if np.isfinite(one.row.error or 0.0) else "actions not finite",
                repeats=times.number,
                median_ms=times.median,
                p5_ms=times.p5,
                p95_ms=times.p95,
                end_to_end_ms=summarize(one.wall_ms).median,
                chunks_per_s=1e3 * one.row.batch / times.median,
            )

    def _sample(self, policy: LocalPolicy, inputs: Inputs | Observations) -> np.ndarray:
        """Return the actions of a batch, from host to host."""
        with torch.inference_mode():
            return policy.sample(inputs.arguments(self._device)).cpu().numpy()

    def _row(self, case: Case, workload: Workload) -> Row:
        return Row(
            case.compute,
            case.precision.name,
            case.execution,
            case.engine,
            workload.batch,
            workload.views,
            workload.prompt_tokens,
        )

    def limit(self, case: Case, workload: Workload) -> Limit | None:
        """Return the roofline's times of a case; None where the model's costs are not known."""
        speeds = self._chip.speeds(case.products)
        costs = self._measured.costs(workload)
        if costs is None:
            return None
        return limit_of(
            costs,
            speeds,
            self._measured.num_steps,
            case.weight_bytes,
            case.value_bytes,
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        return "out of memory"
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _name(row: Row) -> str:
    return f"{row.compute} {row.precision} {row.execution} {row.engine}, batch {row.batch}, {row.views} views"
