"""Conformance of suites: their tasks, and their simulator with two slots."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from headless_eval.contracts.robots import ROBOTS, Robot
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import EpisodeOutcome, Simulator, StepResult
from headless_eval.policies.checks import FAILED, SKIPPED, WARNING, Check
from headless_eval.runs.conformance.outcome import copied, expect, same, tested
from headless_eval.sims.registry import Suite

_STEPS = 5


def examine_suite(suite: Suite) -> Iterator[Check]:
    """Yield the result of every test of a suite; its default simulator is started."""
    yield tested("tasks", lambda: _tasks(suite))
    found = tested("robot", lambda: f"{ROBOTS.find(suite.robot)}: {ROBOTS.find(suite.robot).summary}")
    yield found
    if found.status == FAILED:
        return
    started: list[Simulator] = []

    def start() -> str:
        started.append(suite.make(num_slots=2))
        return f"{next(iter(suite.simulators))} with 2 slots"

    found = tested("start", start)
    yield found
    if found.status == FAILED:
        return
    with closing(started[0]) as simulator:
        yield from _Examination(suite, simulator, ROBOTS.find(suite.robot)).run()


def _tasks(suite: Suite) -> str:
    tasks = suite.load_tasks()
    expect(bool(tasks), "there is no task")
    for what in ("id", "key"):
        values = [getattr(task, what) for task in tasks]
        expect(len(set(values)) == len(values), f"two tasks have the same {what}")
    for task in tasks:
        expect(task.max_steps >= 1, f"the task {task.key} has {task.max_steps} steps at most")
        expect(bool(task.instruction.strip()), f"the task {task.key} has no instruction")
    return f"{len(tasks)}, up to {max(task.max_steps for task in tasks)} steps"


class _Examination:
    """Tests of a started simulator with two slots."""

    def __init__(self, suite: Suite, simulator: Simulator, robot: Robot) -> None:
        self._simulator, self._robot = simulator, robot
        self._task = suite.load_tasks()[0]

    def run(self) -> Iterator[Check]:
        """Yield the result of every test."""
        statistical = self._simulator.describe().get("determinism") == "statistical"
        tests = {
            "description": self._description,
            "observations": self._observations,
            "equal seeds": self._equal_seeds,
            "other seeds": self._other_seeds,
            "steps": self._steps,
            "copies": self._copies,
            "slots": self._slots,
            "frame": self._frame,
        }
        for name, test in tests.items():
            if statistical and name in ("equal seeds", "slots"):
                yield Check(name, SKIPPED, "the simulator says that it does not repeat to the bit")
            else:
                yield tested(name, test)

    def _begin(self, slot: int, episode: int = 0) -> dict[str, Any]:
        self._simulator.reset(slot, self._task, TrialSeed(7, self._task.id, episode))
        return copied(self._simulator.observe([slot])[0])

    def _act(self, slot: int, number: int) -> np.ndarray:
        """Return an action near that which holds the robot still, float32 (action_dims,)."""
        still = self._robot.hold_still(self._simulator.observe([slot])[0])
        return (still + 0.01 * np.sin(np.arange(len(still)) + number)).astype(np.float32)

    def _description(self) -> str:
        json.dumps(self._simulator.describe())
        hz = self._simulator.control_hz
        expect(hz > 0, f"control_hz is {hz}")
        expect(self._simulator.num_slots == 2, f"it has {self._simulator.num_slots} slots, not 2")
        return f"ready for a manifest; {hz:g} Hz"

    def _observations(self) -> str:
        observation = self._begin(0)
        for camera in self._robot.cameras:
            picture: Any = observation.get(camera.key)
            shape = getattr(picture, "shape", None)
            fits = shape is not None and len(shape) == 3 and shape[2] == 3 and picture.dtype == np.uint8
            expect(fits, f"{camera.key} is {_kind(picture)}, not uint8 (height, width, 3)")
        for group in self._robot.state:
            value: Any = observation.get(group.key)
            fits = np.shape(value) == (group.dims,) and np.asarray(value).dtype.kind == "f"
            expect(fits, f"{group.key} is {_kind(value)}, not float32 ({group.dims},)")
            expect(bool(np.isfinite(value).all()), f"{group.key} is not finite")
        prompt = observation.get("prompt")
        expect(isinstance(prompt, str), f"prompt is {_kind(prompt)}, not the instruction")
        return ", ".join(observation)

    def _equal_seeds(self) -> str:
        first = self._begin(0)
        expect(same(first, self._begin(0)), "the same seed gives another start in the same slot")
        expect(same(first, self._begin(1)), "the same seed gives another start in another slot")
        return "the same start, in any slot"

    def _other_seeds(self) -> str | Check:
        if same(self._begin(0), self._begin(0, episode=1)):
            return Check(
                "other seeds", WARNING, "another seed gives the same start: all episodes will be alike"
            )
        return "another start"

    def _steps(self) -> str:
        self._begin(0)
        for number in range(_STEPS):
            result = self._simulator.step({0: self._act(0, number)})[0]
            expect(isinstance(result, StepResult), f"step returns {type(result).__name__}, not StepResult")
            if result.fault is not None:
                raise result.fault
            self._expect_units(result.metrics)
        if tell := getattr(self._simulator, "outcome", None):
            outcome = tell(0)
            fits = isinstance(outcome, EpisodeOutcome)
            expect(fits, f"outcome returns {type(outcome).__name__}, not EpisodeOutcome")
            self._expect_units(outcome.metrics)
        return f"{_STEPS} steps without a fault"

    def _expect_units(self, metrics: Mapping[str, float]) -> None:
        unknown = set(metrics) - set(getattr(self._simulator, "metrics", {}))
        expect(not unknown, f"metrics without a unit: {unknown}")

    def _copies(self) -> str:
        self._begin(0)
        observation = self._simulator.observe([0])[0]
        before = copied(observation)
        self._simulator.step({0: self._act(0, 1)})  # number 0 holds a robot of one dimension still
        expect(same(before, observation), "an observation changes after a step: give copies")
        return "observations stay as they were"

    def _slots(self) -> str:
        alone = self._rollout(beside=False)
        expect(
            same(alone, self._rollout(beside=False)), "the same seed and actions lead elsewhere a second time"
        )
        expect(same(alone, self._rollout(beside=True)), "an episode depends on what the other slot does")
        return "an episode depends on its own seed and actions alone"

    def _rollout(self, *, beside: bool) -> dict[str, Any]:
        """Return the last observation of an episode in slot 0, with other episodes beside it or not."""
        self._begin(0)
        if beside:
            self._begin(1, episode=2)
        for number in range(_STEPS):
            actions = {0: self._act(0, number)}
            if beside and number == _STEPS // 2:
                self._begin(1, episode=3)
            if beside:
                actions[1] = self._act(1, number + 3)
            self._simulator.step(actions)
        return copied(self._simulator.observe([0])[0])

    def _frame(self) -> str:
        self._begin(0)
        frame = self._simulator.frame(0)
        fits = getattr(frame, "ndim", 0) == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
        expect(fits, f"frame is {_kind(frame)}, not uint8 (height, width, 3)")
        return f"{frame.shape[1]} × {frame.shape[0]} pixels"


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
