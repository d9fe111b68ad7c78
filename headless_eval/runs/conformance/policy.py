"""Conformance of policies, on a few observations."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from headless_eval.contracts.robots import IMAGE_SIZE, Robot
from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.checks import FAILED, SKIPPED, WARNING, Check
from headless_eval.quant.precision import Precision
from headless_eval.runs.conformance.outcome import copied, expect, same, tested
from headless_eval.sims.registry import Suite

_NUMBER = 4
_SEED = 7


def examine_policy(load: Callable[[], LocalPolicy], suite: Suite | None) -> Iterator[Check]:
    """Yield the result of every test of a policy.

    Args:
        load: loads the policy anew at each call.
        suite: the suite whose observations it is shown; None: random observations of its robot.

    Raises:
        UserError: the policy cannot be loaded, or neither it nor a suite says what it observes.
    """
    with load() as policy:
        examination = _Examination(policy, observations_for(policy, suite))
        first = tested("reply", examination.reply)
        yield first
        if first.status == FAILED:
            return
        yield from examination.run()

    def again() -> str:
        with load() as other:
            fresh = _Examination(other, examination.observations)
            expect(
                np.array_equal(examination.first, fresh.ask([0])[0]),
                "a policy loaded anew replies differently",
            )
        return "a policy loaded anew in this process replies the same; nothing is pickled"

    yield tested("loaded anew", again)


def observations_for(policy: LocalPolicy, suite: Suite | None) -> list[dict[str, Any]]:
    """Return different observations of a suite, or random ones of the policy's robot.

    Raises:
        UserError: neither says what the policy observes, or the suite's simulator cannot run here.
    """
    if suite is not None:
        simulator = suite.make(num_slots=1, image_size=policy.image_size)
        try:
            task, found = suite.load_tasks()[0], []
            for episode in range(_NUMBER):
                simulator.reset(0, task, TrialSeed(_SEED, task.id, episode))
                found.append(copied(simulator.observe([0])[0]))
            return found
        finally:
            simulator.close()
    robot = policy.declared.robot
    if not isinstance(robot, Robot):
        raise UserError(
            f"the policy {policy.name} does not say its robot: name a suite that it is for (--suite NAME)"
        )
    random = np.random.default_rng(_SEED)
    return [
        {
            **{
                camera.key: random.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
                for camera in robot.cameras
            },
            **{
                group.key: (0.1 * random.standard_normal(group.dims)).astype(np.float32)
                for group in robot.state
            },
            "prompt": robot.prompt,
        }
        for _ in range(_NUMBER)
    ]


class _Examination:
    """Tests of a loaded policy on observations; ``first`` is its reply to the first one."""

    def __init__(self, policy: LocalPolicy, observations: Sequence[dict[str, Any]]) -> None:
        self._policy, self.observations = policy, list(observations)
        shape = (len(self.observations), *(policy.noise_shape or ()))
        self._noise = None
        if policy.noise_shape is not None:
            self._noise = np.random.default_rng(_SEED).standard_normal(shape, np.float32)
        self.first = np.zeros((0, 0), np.float32)

    def ask(
        self, rows: Sequence[int], slots: Sequence[int] | None = None, *, begin: bool = True
    ) -> list[np.ndarray]:
        """Return the actions for some observations, each in its slot, by default all in slot 0."""
        slots = [0] * len(rows) if slots is None else slots
        if begin:
            self._policy.reset()
            for slot in dict.fromkeys(slots):
                self._policy.reset([slot], [_SEED + slot])
        noise = None if self._noise is None else self._noise[list(rows)]
        replies = self._policy.infer_batch([copied(self.observations[row]) for row in rows], noise, slots)
        return [reply["actions"] for reply in replies]

    def reply(self) -> str:
        """Test the shape and the values of a reply."""
        policy = self._policy
        self.first = self.ask([0])[0]
        steps, dims = self.first.shape
        expect(bool(np.isfinite(self.first).all()), "actions are not finite")
        wanted = policy.open_loop_horizon
        expect(steps >= wanted, f"{steps} actions of a chunk, of which {wanted} are to be executed")
        robot = policy.declared.robot
        if isinstance(robot, Robot):
            expect(
                dims == robot.action_dims,
                f"actions of {dims} dimensions, the robot {robot} has {robot.action_dims}",
            )
        return f"actions ({steps}, {dims})"

    def run(self) -> Iterator[Check]:
        """Yield the results of the further tests."""
        tests = {
            "shapes": self._shapes,
            "determinism": self._determinism,
            "observations": self._kept,
            "batches": self._batches,
            "episodes": self._episodes,
            "precision": self._precision,
        }
        for name, test in tests.items():
            yield tested(name, test)

    def _shapes(self) -> str:
        shapes = {self.ask([row])[0].shape for row in range(_NUMBER)}
        expect(len(shapes) == 1, f"other observations get other shapes: {sorted(shapes)}")
        return f"the same for {_NUMBER} observations"

    def _determinism(self) -> str:
        expect(
            np.array_equal(self.first, self.ask([0])[0]),
            "two replies to an observation from one seed differ: draw from noise, or from the global generators of "
            "Python, NumPy or torch",
        )
        return "the same reply to the same observation from the same seed"

    def _kept(self) -> str:
        given = copied(self.observations[0])
        noise = None if self._noise is None else self._noise[:1]
        self._policy.reset([0], [_SEED])
        self._policy.infer_batch([given], noise, [0])
        expect(same(given, self.observations[0]), "it changes the observation that it is given")
        return "stay as they were"

    def _batches(self) -> str | Check:
        policy, rows = self._policy, list(range(_NUMBER))
        if not policy.stateless:
            return Check("batches", SKIPPED, "it does not declare stateless = True: it is asked one by one")
        alone = [self.ask([row])[0] for row in rows]
        for order in (rows, rows[::-1], [0, *rows, 0]):
            for row, reply in zip(order, self.ask(order), strict=True):
                expect(
                    np.array_equal(reply, alone[row]),
                    f"observation {row} gets another reply beside others or after them, although it is stateless",
                )
        if not callable(getattr(policy.policy, "infer_batch", None)):
            return "observations are independent; without infer_batch they are inferred one by one"
        if policy.batch == 1:
            return Check(
                "batches", WARNING, "rows of infer_batch depend on each other: it is asked one by one"
            )
        return f"observations are independent, in batches of {policy.batch}"

    def _episodes(self) -> str | Check:
        policy = self._policy
        if policy.stateless:
            return Check("episodes", SKIPPED, "it is stateless: there is no history to keep apart")
        history = [self.ask([row], begin=row == 0)[0] for row in range(_NUMBER)]
        again = [self.ask([row], begin=row == 0)[0] for row in range(_NUMBER)]
        expect(_equal(history, again), "after reset() an episode goes on otherwise than the first time")
        if policy.max_slots == 1:
            return Check(
                "episodes",
                WARNING,
                "begin anew after reset(); one at a time: reset(slots) and infer_batch(observations, slots) allow more",
            )
        beside = []
        for row in range(_NUMBER):
            if row == 2:  # the other episode ends, and the next begins in its slot
                policy.reset([1], [_SEED + 5])
            beside.append(self.ask([row, _NUMBER - 1 - row], [0, 1], begin=row == 0)[0])
        expect(
            _equal(history, beside),
            "an episode goes on otherwise beside another: keep a history for each slot",
        )
        return "are kept apart by slot, and begin anew after reset"

    def _precision(self) -> str | Check:
        policy = self._policy
        if not policy.has_model:
            return Check("precision", SKIPPED, "it holds no model: it runs at --dtypes float32")
        before = policy.fingerprint()
        policy.set_precision(Precision("int8", "weights_only"))
        rounded = self.ask([0])[0]
        policy.set_precision(Precision())
        expect(policy.fingerprint() == before, "after int8 the weights are not those from before")
        expect(np.array_equal(self.first, self.ask([0])[0]), "after int8 replies are not those from before")
        if np.array_equal(self.first, rounded):
            return Check("precision", WARNING, "int8 weights change no reply: does infer use the model?")
        return f"int8 weights change the reply by up to {np.abs(rounded - self.first).max():.2g}; float32 is restored"


def _equal(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))
