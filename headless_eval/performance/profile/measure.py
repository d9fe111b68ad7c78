"""Measurement of profile's figures: time by module or kernel, the chip's limit, and rounding errors."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from headless_eval.local_policy import LocalPolicy
from headless_eval.performance.cases import Case, relative_errors
from headless_eval.performance.chip import Chip
from headless_eval.performance.components import layer_of
from headless_eval.performance.costs import Cost
from headless_eval.performance.measured_model import MeasuredModel
from headless_eval.performance.measured_policy import MeasuredPolicy
from headless_eval.performance.memory import MemoryMark, free_unused
from headless_eval.performance.profile import kernel_trace
from headless_eval.performance.profile.host_clock import time_spans
from headless_eval.performance.profile.tensor_errors import (
    Snapshot,
    activation_errors,
    snapshot,
    weight_errors,
)
from headless_eval.performance.progress_bar import ProgressBar
from headless_eval.performance.spans import PREFIX, QUANTIZER, SETUP, STEP, Span, watched
from headless_eval.performance.timing import Stopwatch, Times, processor, summarize
from headless_eval.performance.workload import Workload
from headless_eval.quant.precision import Precision

QUANTIZERS, INPUTS, OUTPUTS = "quantizers", "input transforms", "output transforms"
WAITING, UNSEEN = "waiting between kernels", "unseen by the profiler"
"""Time without a name: on a GPU nothing ran; on a CPU compiled code or the interpreter ran."""


@dataclass(frozen=True)
class ModuleRow:
    """Costs of one module in an inference, all its calls together, and its rounding errors.

    Args:
        module: the module's name; empty for the model's own code.
        part: part of the inference: prefix, modulation, flow step, set-up.
        ms: time without children and quantizers; None for engines that do not run module by module.
        quantizer_ms: time of the hooks that round its inputs or outputs.
        flops: operations of its matrix products.
        bytes: bytes of its weights, inputs and outputs, at every call.
        limit_ms: the least time for these operations and bytes on this chip.
        weight_bytes: bytes of its parameters in their present type.
        weight_error: relative root mean square error of its parameters against float32.
        activation_error: relative root mean square error of its outputs, on the same observation and noise.
    """

    module: str
    component: str
    layer: int | None
    part: str
    ms: float | None
    quantizer_ms: float | None
    flops: int
    bytes: int
    limit_ms: float
    weight_bytes: int
    weight_error: float | None
    activation_error: float | None


@dataclass(frozen=True)
class ComponentRow:
    """A component's modules together; errors are those of its worst module."""

    component: str
    ms: float | None
    flops: int
    bytes: int
    limit_ms: float
    weight_bytes: int
    weight_error: float | None
    activation_error: float | None


@dataclass(frozen=True)
class KernelRow:
    """All calls of one kernel or operator in one range of an inference."""

    within: str
    kernel: str
    kind: str
    calls: int
    ms: float


@dataclass(frozen=True)
class Profile:
    """The profile of one precision.

    Args:
        case: the profiled case.
        ran: the engine's name.
        times: times of ``sample_actions`` without profiling; on a CPU the thread's processor time.
        modules: the modules, in the order of the model.
        components: sums over the modules, and over code outside modules.
        parts: milliseconds by part of the inference: prefix, modulation, set-up, each flow step.
        kernels: the profiler's kernels, for engines that do not run module by module; else empty.
        error: errors of the final actions against float32 eager: relative root mean square, relative largest.
        peak_bytes: peak memory while loading, warming up and inferring; see ``MemoryMark``.
    """

    case: Case
    ran: str
    times: Times
    modules: list[ModuleRow]
    components: list[ComponentRow]
    parts: dict[str, float]
    kernels: list[KernelRow]
    error: tuple[float, float]
    peak_bytes: int

    @property
    def has_modules(self) -> bool:
        """Return whether times are known by module."""
        return self.ran == "eager"


class Profiler:
    """Profiler of precisions on one batch of inputs.

    Args:
        measured: the model.
        device: the device to measure on.
        workload: the model's inputs.
        chip: the device's speeds.
        repeats: number of timed inferences; on a CPU the same number is measured by module.
        work: display of the progress, ``units`` units for each precision.
    """

    def __init__(
        self,
        measured: MeasuredModel | MeasuredPolicy,
        device: str,
        workload: Workload,
        chip: Chip,
        repeats: int,
        work: ProgressBar,
    ) -> None:
        self._measured, self._device_name, self._device = measured, device, torch.device(device)
        self._workload, self._chip, self._repeats, self._work = workload, chip, repeats, work
        self._inputs = measured.inputs(workload)
        work.say("float32 eager, the reference")
        with measured.load(device) as policy:
            self._reference, self._actions = self._look(policy)
        free_unused(self._device)

    @staticmethod
    def units(repeats: int) -> int:
        """Return the number of steps of work for one precision."""
        return 2 * repeats + 4

    def measure(self, case: Case, chrome_trace: Path) -> Profile:
        """Profile one case, and write the trace of one inference.

        Raises:
            UserError: the case cannot be computed on this machine.
        """
        work, rounded = self._work, None
        with ExitStack() as stack:
            work.say(f"warming up {case.precision.name}")
            mark = MemoryMark(self._device)
            policy = stack.enter_context(
                self._measured.load(self._device_name, case.compute, case.engine, case.execution)
            )
            self._enter(policy, case.precision)
            infer = self._inference(policy)
            actions = infer().cpu().numpy()
            peak = mark.peak()
            work.advance()
            ran = policy.engine or "eager"
            work.say(f"timing {case.precision.name}")
            spans: dict[Span, float] = {}
            parts: dict[str, float] = {}
            kernels: list[KernelRow] = []
            if ran == "eager":
                rounded, _ = self._look(policy)
                spans, times = self._time_modules(policy, infer, chrome_trace)
                parts = _parts(spans)
                work.advance(self._repeats)
            else:
                times = self._time(infer)
                parts = self._time_parts(policy, times)
                kernel_trace.record(self._device, infer, chrome_trace)
                kernels = _kernels(kernel_trace.read(chrome_trace))
            work.advance(2)
            others = self._time_transforms(policy)
            weights = {
                name: sum(parameter.nbytes for parameter in module.parameters(recurse=False))
                for name, module in _module(policy).named_modules()
            } | policy.packed_bytes
        free_unused(self._device)
        if rounded is None:
            rounded = self._look_at_modules_of(case)
        work.advance()
        modules = self._modules(case, spans, rounded, weights)
        named = sum(spans.values()) + sum(row.ms for row in kernels)
        if self._on_gpu or kernels:
            others[WAITING if self._on_gpu else UNSEEN] = max(0.0, times.median - named)
        return Profile(
            case,
            ran,
            times,
            modules,
            _components(modules, others),
            parts,
            kernels,
            relative_errors(actions, self._actions),
            peak,
        )

    @property
    def _on_gpu(self) -> bool:
        return self._device.type == "cuda"

    def _enter(self, policy: LocalPolicy, precision: Precision) -> None:
        """Put the policy into a precision; methods are calibrated on the profiled inputs."""
        if precision.method is not None and precision.method.needs_calibration:
            policy.calibration = policy.record_calls(lambda: self._inference(policy)())
        policy.set_precision(precision)

    def _inference(self, policy: LocalPolicy, num_steps: int | None = None) -> Callable[[], torch.Tensor]:
        arguments = self._inputs.arguments(self._device)

        def infer() -> torch.Tensor:
            with torch.inference_mode():
                return policy.sample(arguments, flow_steps=num_steps)

        return infer

    def _look(self, policy: LocalPolicy) -> tuple[Snapshot, np.ndarray]:
        """Return the weights and outputs of an eager model's modules, and its actions."""
        infer = self._inference(policy)
        actions = infer().cpu().numpy()
        return snapshot(_module(policy), infer, policy.effective_parameters()), actions

    def _look_at_modules_of(self, case: Case) -> Snapshot:
        """Return weights, outputs and actions for an engine without modules: of the eager model, simulated."""
        with self._measured.load(self._device_name, case.compute) as policy:
            self._enter(policy, case.precision)
            found, _ = self._look(policy)
        free_unused(self._device)
        return found

    def _time(self, infer: Callable[[], torch.Tensor]) -> Times:
        stopwatch = Stopwatch(self._device) if self._on_gpu else processor
        times = []
        infer()
        for _ in range(self._repeats):
            times.append(stopwatch(infer)[1])
            self._work.advance()
        return summarize(times)

    def _time_parts(self, policy: LocalPolicy, times: Times) -> dict[str, float]:
        """Separate flow steps from the rest by inferences with a single step, if only the total time is known."""
        steps = self._measured.num_steps
        if steps == 1:
            return {}
        one_step = self._time(self._inference(policy, num_steps=1)).median
        each = (times.median - one_step) / (steps - 1)
        return {f"{PREFIX} and {SETUP}": one_step - each} | {f"{STEP} {step}": each for step in range(steps)}

    def _time_modules(
        self, policy: LocalPolicy, infer: Callable[[], torch.Tensor], chrome_trace: Path
    ) -> tuple[dict[Span, float], Times]:
        model = _module(policy)

        def marked() -> None:
            with watched(model, kernel_trace.Ranges()):
                infer()

        kernel_trace.record(self._device, marked, chrome_trace)
        if not self._on_gpu:
            spans, plain = time_spans(model, infer, self._repeats, self._work.advance)
            return spans, summarize(plain)
        of: dict[Span, float] = defaultdict(float)
        for work in kernel_trace.read(chrome_trace):
            of[Span.parse(work.within) or Span(SETUP, "")] += work.ms
        return dict(of), self._time(infer)

    def _time_transforms(self, policy: LocalPolicy) -> dict[str, float]:
        """Return the milliseconds of the input transforms and of the output transforms."""
        inner = policy.policy
        if isinstance(self._measured, MeasuredPolicy):  # they are within its modules' own code
            return {}
        obs = [inner.config.robot.example_observation()] * self._workload.batch
        data = [inner.prepare(one) for one in obs]

        def inputs() -> None:
            for one in obs:
                inner.prepare(one)

        def outputs() -> None:
            for one in data:
                inner.finish(self._actions[0], one)

        return {
            name: summarize([processor(call)[1] for _ in range(self._repeats)]).median
            for name, call in ((INPUTS, inputs), (OUTPUTS, outputs))
        }

    def _modules(
        self, case: Case, spans: dict[Span, float], rounded: Snapshot, weights: dict[str, int]
    ) -> list[ModuleRow]:
        costs = {cost.module: cost for cost in self._measured.costs(self._workload) or ()}
        speeds = self._chip.speeds(case.products)
        of_weights, of_values = (
            weight_errors(rounded, self._reference),
            activation_errors(rounded, self._reference),
        )
        times: dict[str, dict[str, float]] = {}
        parts: dict[str, str] = {}
        for span, ms in spans.items():
            of = times.setdefault(span.module, {})
            of[span.kind] = of.get(span.kind, 0.0) + ms
            parts[span.module] = _base(span.part) if span.module else "all"
        rows = []
        for name in weights:
            cost = costs.get(name)
            runs = self._measured.num_steps if cost and cost.part == STEP else 1
            flops, size = _totals(cost, runs, case, rounded.numbers.get(name, 0))
            time = times.get(name)
            if not (cost or time or name in rounded.outputs):
                continue
            rows.append(
                ModuleRow(
                    module=name,
                    component=self._measured.component(name),
                    layer=layer_of(name),
                    part=parts.get(name) or (cost.part if cost else ""),
                    ms=time.get("code", 0.0) if time else None,
                    quantizer_ms=time.get(QUANTIZER, 0.0) if time else None,
                    flops=flops,
                    bytes=size,
                    limit_ms=speeds.least_ms(flops, size),
                    weight_bytes=weights[name],
                    weight_error=of_weights.get(name),
                    activation_error=of_values.get(name),
                )
            )
        return rows


def _module(policy: LocalPolicy) -> nn.Module:
    assert policy.module is not None
    return policy.module


def _totals(cost: Cost | None, runs: int, case: Case, outputs: int) -> tuple[int, int]:
    """Return operations and bytes of a module; a module without products reads as much as it writes."""
    if cost is None:
        return 0, 2 * outputs * case.value_bytes
    size = case.weight_bytes * cost.weights + case.value_bytes * cost.values
    return runs * cost.flops, runs * size


def _components(modules: list[ModuleRow], others: dict[str, float]) -> list[ComponentRow]:
    """Return sums over the modules of each component, and the time outside modules."""
    names = dict.fromkeys(row.component for row in modules if row.component != "other")
    rows = [_component(name, [row for row in modules if row.component == name]) for name in [*names, "other"]]
    rounding = sum(row.quantizer_ms or 0.0 for row in modules)
    extra = ({QUANTIZERS: rounding} if rounding else {}) | others
    return [*rows, *(ComponentRow(name, ms, 0, 0, 0.0, 0, None, None) for name, ms in extra.items())]


def _component(name: str, rows: list[ModuleRow]) -> ComponentRow:
    def worst(values: list[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    timed = [row.ms for row in rows if row.ms is not None]
    return ComponentRow(
        name,
        sum(timed) if timed else None,
        sum(row.flops for row in rows),
        sum(row.bytes for row in rows),
        sum(row.limit_ms for row in rows),
        sum(row.weight_bytes for row in rows),
        worst([row.weight_error for row in rows]),
        worst([row.activation_error for row in rows]),
    )


def _parts(spans: dict[Span, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for span, ms in spans.items():
        found[span.part] = found.get(span.part, 0.0) + ms
    return found


def _base(part: str) -> str:
    return STEP if part.startswith(STEP) else part


def _kernels(works: list[kernel_trace.KernelTime]) -> list[KernelRow]:
    sums: dict[tuple[str, str, str], list[float]] = {}
    for work in works:
        sums.setdefault((work.within, work.name, work.kind), []).append(work.ms)
    rows = [KernelRow(*key, len(ms), sum(ms)) for key, ms in sums.items()]
    return sorted(rows, key=lambda row: -row.ms)


def by_kind(kernels: list[KernelRow]) -> dict[str, float]:
    """Return the milliseconds of kernels by kind."""
    found: dict[str, float] = {}
    for row in kernels:
        found[row.kind] = found.get(row.kind, 0.0) + row.ms
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def most_different(one: Profile, other: Profile, number: int = 10) -> list[tuple[ModuleRow, ModuleRow]]:
    """Return the modules whose times, quantizers included, differ most between two profiles, in that order."""

    def ms(row: ModuleRow) -> float:
        return (row.ms or 0.0) + (row.quantizer_ms or 0.0)

    theirs = {row.module: row for row in other.modules}
    pairs = [(row, theirs[row.module]) for row in one.modules if row.module in theirs]
    return sorted(pairs, key=lambda pair: -abs(ms(pair[0]) - ms(pair[1])))[:number]
