"""Simulator over Gymnasium environments, one for each slot, in this process."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import MAX_ACTION, StepResult, Task
from headless_eval.errors import UserError
from headless_eval.shared.places import origin_of_module
from headless_eval.shared.program import install
from headless_eval.sims.gym.recipe import RENDER, REWARDS, Recipe, Source

_BLACK = (96, 96, 3)


@dataclass
class _Slot:
    """An environment and the episode that runs in it.

    Args:
        env: the environment with its wrappers.
        task: the task that it was made for.
        observation: the latest one of the environment.
        picture: what ``env.render()`` drew after the latest step; None: not yet asked for.
        steps: control steps of the episode.
        rewards: sum of the episode's rewards.
        initial: the numbers of the first observation; None where it has none, or the environment does not repeat.
    """

    env: Any
    task: Task
    observation: Any = None
    picture: np.ndarray | None = None
    steps: int = 0
    rewards: float = 0.0
    initial: np.ndarray | None = None


class GymSimulator:
    """Simulator of a ``GymSuite``.

    Args:
        recipe: how the environment is used.
        tasks: the suite's tasks.
        num_slots: number of independent episodes at once.
        first: the task whose environment is made and tried at once.

    Raises:
        UserError: the environment cannot be made, or does not give what the recipe says.
    """

    def __init__(self, recipe: Recipe, tasks: tuple[Task, ...], *, num_slots: int, first: Task) -> None:
        if num_slots < 1:
            raise UserError(f"the number of slots must be at least 1, not {num_slots}")
        self.suite, self.tasks, self.num_slots = recipe.suite, tasks, num_slots
        self.control_hz = recipe.control_hz
        self.metrics = dict(recipe.metrics)
        self._recipe = recipe
        self._slots: dict[int, _Slot] = {}
        self._try(first)
        env = self._slots[0].env
        code = origin_of_module(type(env.unwrapped).__module__)
        own = [code["distribution"]] if "distribution" in code else []
        self.libraries = tuple(dict.fromkeys(("gymnasium", *own, *recipe.libraries)))
        self.max_action = _largest_action(env.action_space)
        spec = getattr(env, "spec", None)
        kind = type(env.unwrapped)
        self._facts = {
            "simulator": "gymnasium",
            "environment": getattr(spec, "id", None) or kind.__name__,
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "observation_space": str(env.observation_space),
            "action_space": str(env.action_space),
            "control_hz": self.control_hz,
            "cameras": {key: _name(source) for key, source in recipe.pictures.items()},
            "state": {key: _name(source) for key, source in recipe.state.items()},
            "success": _name(recipe.success),
            **({} if recipe.deterministic else {"determinism": "statistical"}),
        }

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``: the environment is reset with a seed of the trial."""
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is not among {self.num_slots}")
        there = self._slots.get(slot)
        if there is None or there.task.key != task.key:
            self._discard(slot)
            there = _Slot(self._make(task), task)
        self._slots[slot] = _Slot(there.env, task)
        number = seed.environment_seed()
        try:
            self._slots[slot].observation, _ = there.env.reset(seed=number)
            there.env.action_space.seed(number)
            if self._recipe.deterministic:
                self._slots[slot].initial = _numbers(self._slots[slot].observation)
        except Exception:
            self._discard(slot)
            raise

    def initial_state(self, slot: int) -> np.ndarray | None:
        """Return the numbers of the slot's first observation, pictures left out: an environment tells no more."""
        return self._slots[slot].initial

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with the keys of the suite's robot; pictures have their own size."""
        return [self._observe(self._slots[slot]) for slot in slots]

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance the named slots by one step of their environments."""
        return {slot: self._step(slot, action) for slot, action in actions.items()}

    def frame(self, slot: int) -> np.ndarray:
        """Return what ``env.render()`` draws, uint8 (height, width, 3); without it the cameras, side by side.

        An environment that shows nothing at all gives a black picture.
        """
        there = self._slots[slot]
        if getattr(there.env, "render_mode", None) == "rgb_array":
            return self._rendered(there)
        pictures = [self._picture(there, source) for source in self._recipe.pictures.values()]
        if not pictures:
            return np.zeros(_BLACK, np.uint8)
        height = max(picture.shape[0] for picture in pictures)
        same = [np.pad(one, ((0, height - one.shape[0]), (0, 0), (0, 0))) for one in pictures]
        return np.concatenate(same, axis=1)

    def describe(self) -> dict[str, Any]:
        """Return the environment, its spaces, and where observations come from, for the manifest."""
        return dict(self._facts)

    def close(self) -> None:
        """Close the environments."""
        for slot in list(self._slots):
            self._discard(slot)

    def _make(self, task: Task) -> Any:
        recipe = self._recipe
        try:
            if isinstance(recipe.make, str):
                import gymnasium

                return gymnasium.make(recipe.make, render_mode="rgb_array")
            return recipe.make(task.key) if recipe.named_tasks else recipe.make()
        except ImportError as error:
            package = "headless-eval[gym]" if error.name == "gymnasium" else recipe.package
            raise UserError(
                f"the suite {self.suite} cannot make its environment ({error})"
                + (f": run {install(package)}" if package else "")
            ) from error
        except Exception as error:
            raise UserError(
                f"the suite {self.suite} cannot make its environment ({type(error).__name__}: {error})"
            ) from error

    def _try(self, task: Task) -> None:
        """Make the first slot's environment, and check that it gives what the recipe says.

        Raises:
            UserError: it does not.
        """
        self._slots[0] = _Slot(self._make(task), task)
        try:
            self.reset(0, task, TrialSeed(0, task.id, 0))
            self._check(self._slots[0])
        except Exception as error:
            self.close()
            why = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            raise UserError(f"the suite {self.suite} cannot use its environment: {why}") from error

    def _check(self, there: _Slot) -> None:
        robot = self._recipe.robot
        shape = getattr(there.env.action_space, "shape", None) or (1,)
        if self._recipe.action is None and math.prod(shape) != robot.action_dims:
            raise UserError(
                f"it takes actions of shape {shape}, but those of the robot {robot} have {robot.action_dims} "
                "dimensions; name another robot, or give action=, which converts them"
            )
        observation = self._observe(there)
        for group in robot.state:
            if observation[group.key].shape != (group.dims,):
                raise UserError(
                    f"the source of {group.key!r} has {observation[group.key].size} dimensions, the robot {robot} "
                    f"{group.dims}"
                )

    def _observe(self, there: _Slot) -> dict[str, Any]:
        recipe = self._recipe
        pictures = {key: self._picture(there, source).copy() for key, source in recipe.pictures.items()}
        state = {key: _vector(key, _read(there, source)) for key, source in recipe.state.items()}
        return {**pictures, **state, "prompt": there.task.instruction}

    def _picture(self, there: _Slot, source: Source) -> np.ndarray:
        if source == RENDER:
            return self._rendered(there)
        return _checked(_read(there, source), f"picture {_name(source)!r}")

    def _rendered(self, there: _Slot) -> np.ndarray:
        """Return what ``env.render()`` draws; it is drawn at most once per step."""
        if there.picture is None:
            there.picture = _checked(there.env.render(), "picture that render() draws")
        return there.picture

    def _step(self, slot: int, action: np.ndarray) -> StepResult:
        there = self._slots[slot]
        try:
            return self._advance(there, action)
        except Exception as error:
            self._discard(slot)  # what state the environment is in, nobody knows
            return StepResult(False, error)

    def _advance(self, there: _Slot, action: np.ndarray) -> StepResult:
        recipe, env = self._recipe, there.env
        ready = _converted(action, env.action_space) if recipe.action is None else recipe.action(action)
        observation, reward, terminated, truncated, info = env.step(ready)
        there.observation, there.picture = observation, None
        there.steps += 1
        there.rewards += float(reward)
        over = bool(terminated or truncated)
        last = over or there.steps >= there.task.max_steps
        found = dict(zip(REWARDS, (float(reward), there.rewards), strict=True)) | dict(info)
        metrics = {name: float(found[name]) for name in recipe.metrics if name in found}
        return StepResult(self._succeeded(reward, terminated, info, last), metrics=metrics, over=over)

    def _succeeded(self, reward: Any, terminated: Any, info: Mapping[str, Any], last: bool) -> bool:
        success = self._recipe.success
        if not isinstance(success, str):
            return bool(success(float(reward), bool(terminated), info))
        if success not in info and last:  # some environments tell it only when an episode is over
            there = ", ".join(map(repr, info)) or "nothing"
            raise KeyError(
                f"the environment's info has no {success!r}, which tells success; there is {there}"
            )
        return bool(info.get(success, False))

    def _discard(self, slot: int) -> None:
        there = self._slots.pop(slot, None)
        if there is not None:
            there.env.close()


def _read(there: _Slot, source: Source) -> Any:
    if not isinstance(source, str):
        return source(there.env.unwrapped)
    found = there.observation
    for key in filter(None, source.split("/")):
        if not isinstance(found, Mapping) or key not in found:
            keys = f"{', '.join(map(repr, found))}" if isinstance(found, Mapping) else type(found).__name__
            raise UserError(f"its observation has no {source!r}; there is {keys}")
        found = found[key]
    return found


def _numbers(observation: Any) -> np.ndarray | None:
    """Return the numbers in an observation, those of nested ones in order, as one vector; None without any."""
    if isinstance(observation, Mapping | tuple):
        inner = observation.values() if isinstance(observation, Mapping) else observation
        parts = [part for one in inner if (part := _numbers(one)) is not None]
        return np.concatenate(parts) if parts else None
    array = np.asarray(observation)
    if array.ndim > 1 or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        return None
    return array.astype(np.float64).reshape(-1)


def _vector(key: str, value: Any) -> np.ndarray:
    try:
        return np.array(value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError):
        raise UserError(
            f"the source of {key!r} is no array of numbers but a {type(value).__name__}"
        ) from None


def _checked(picture: Any, what: str) -> np.ndarray:
    if picture is None:
        raise UserError(f"the {what} is nothing: make the environment with render_mode='rgb_array'")
    image = np.asarray(picture)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"the {what} is {image.dtype} {image.shape}; it has to be uint8 (height, width, 3)")
    return image


def _converted(action: np.ndarray, space: Any) -> Any:
    """Return an action with the type and the shape of the action space; a whole number for a discrete one."""
    if not space.shape:
        return round(float(action[0]))
    return np.asarray(action).reshape(space.shape).astype(space.dtype)


def _largest_action(space: Any) -> float:
    """Return the magnitude beyond which an action is taken for a fault: twice what a bounded space holds, at least."""
    bounds = np.abs([getattr(space, "low", 0.0), getattr(space, "high", 0.0)])
    finite = bounds[np.isfinite(bounds)]
    return max(MAX_ACTION, 2 * float(finite.max(initial=0.0)))


def _name(source: Any) -> str:
    return source if isinstance(source, str) else getattr(source, "__name__", type(source).__name__)
