"""Adapter that gives any policy one interface: what it declares, with defaults, and how it is called."""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from headless_eval.contracts.compatibility import Declared
from headless_eval.contracts.robots import IMAGE_SIZE, ROBOTS, Robot
from headless_eval.errors import UserError
from headless_eval.policies.generators import SlotGenerators

_OPEN_LOOP_HORIZON = 8  # default for policies that do not declare it


class Adapter:
    """One interface to a policy of ``contracts.policy`` or any object with ``infer(obs)``.

    Args:
        policy: the policy.
        name: the policy's name in messages.
        noise_shape: shape of the policy's noise; None: the declared shape.

    Attributes:
        noise_shape: shape of the noise of one observation; None: the policy takes no noise.
        stateless: whether a reply depends only on the observation and its noise. If the policy does not declare it, a
            policy that takes noise as an argument counts as stateless, others do not.
        concurrent: whether it may be asked from several threads at a time: it is stateless, and prepares observations
            itself or declares ``concurrent``. Others may compute every reply in one buffer.
        draws: whether replies may depend on the process's random generators: the policy neither takes noise nor
            declares that it is stateless.
        max_slots: maximal number of episodes at a time; None: any number. It is 1 for a policy with a history that does
            not learn which episode an observation belongs to.

    Raises:
        UserError: the object has no ``infer``.
    """

    def __init__(self, policy: Any, name: str, noise_shape: tuple[int, ...] | None = None) -> None:
        if not callable(getattr(policy, "infer", None)):
            raise UserError(f"policy {name!r} has no infer(obs): {type(policy).__name__} is no policy")
        self._policy, self._name = policy, name
        self._config = getattr(policy, "config", None)
        shape = noise_shape if noise_shape is not None else getattr(policy, "noise_shape", None)
        self.noise_shape: tuple[int, ...] | None = None if shape is None else tuple(shape)
        declared = getattr(policy, "stateless", None)
        self.stateless = bool(self.noise_shape is not None if declared is None else declared)
        self.draws = self.noise_shape is None and not declared
        self._generators = SlotGenerators()
        batch, reset = getattr(policy, "infer_batch", None), getattr(policy, "reset", None)
        self._reset_takes_slots = _takes(reset, "slots")
        self._batch_takes = {argument for argument in ("noise", "slots") if _takes(batch, argument)}
        self._prepares = callable(getattr(policy, "prepare", None)) and callable(
            getattr(policy, "infer_prepared", None)
        )
        self.concurrent = self.stateless and (self._prepares or bool(getattr(policy, "concurrent", False)))
        self._concludes = self._prepares and callable(getattr(policy, "conclude", None))
        self._knows_slots = self._reset_takes_slots and (self._prepares or "slots" in self._batch_takes)
        has_history = not self.stateless and (declared is not None or callable(reset))
        self.max_slots = 1 if has_history and not self._knows_slots else None
        self._slot: int | None = None  # the only slot, if there is only one

    @property
    def is_of_family(self) -> bool:
        """Return whether the policy prepares observations itself, as those of a family do."""
        return self._prepares

    @property
    def can_batch(self) -> bool:
        """Return whether the policy can infer several observations at once, padded by repetition."""
        if not self.stateless:
            return False
        return self._prepares or (callable(getattr(self._policy, "infer_batch", None)) and self._has_keys)

    @property
    def robot(self) -> str | None:
        """Return the name of the policy's robot; None if the policy does not declare it."""
        robot = getattr(self._policy, "robot", None) or getattr(self._config, "observation", None)
        return None if robot is None else str(robot)

    @property
    def declared(self) -> Declared:
        """Return what the policy declares of its interface.

        Raises:
            UserError: a requirement is unknown.
        """
        robot = getattr(self._policy, "robot", None)
        return declared_of(robot if isinstance(robot, Robot) else self.robot, self._config, self._policy)

    @property
    def robot_to_show(self) -> str | None:
        """Return the name of a robot whose observations the policy takes; None if unknown."""
        return self.robot or getattr(self._policy, "observation", None)

    @property
    def open_loop_horizon(self) -> int:
        """Return the number of actions of a chunk to execute before replanning; 8, or all, if not declared."""
        for source in (self._config, self._policy):
            horizon = getattr(source, "open_loop_horizon", None)
            if horizon is not None:
                return int(horizon)
        return min(_OPEN_LOOP_HORIZON, self.declared.requires.get("action_horizon", _OPEN_LOOP_HORIZON))

    @property
    def image_size(self) -> int:
        """Return the side in pixels of the model's images; 224 if not declared."""
        return int(getattr(self._policy, "image_size", IMAGE_SIZE))

    def prepare(self, obs: dict[str, Any]) -> Any:
        """Return the policy's prepared input of an observation; the observation itself without a ``prepare`` step."""
        return self._policy.prepare(obs) if self._prepares else obs

    def batch_key(self, prepared: Any) -> Hashable:
        """Return a key that is equal for inputs that may share a batch."""
        if self._prepares:
            key: Hashable = prepared.batch_key
            return key
        own = getattr(self._policy, "batch_key", None)
        key = own(prepared) if callable(own) else prepared.get("prompt")
        return key

    def infer(self, prepared: Any, noise: np.ndarray | None, slot: int) -> Any:
        """Return the reply to one input.

        Raises:
            UserError: several slots are given, and the policy cannot distinguish episodes.
        """
        self.check_slots([slot])
        with self._generators.of(slot):
            if self._prepares or (not self.stateless and self._knows_slots):
                return self.infer_batch(
                    [prepared], None if noise is None else np.asarray(noise)[None], [slot]
                )[0]
            return self._policy.infer(prepared, **({} if noise is None else {"noise": noise}))

    def infer_batch(self, prepared: Sequence[Any], noise: np.ndarray | None, slots: Sequence[int]) -> Any:
        """Return the replies to several inputs, with noise (number, *noise_shape), computed at once."""
        if self._prepares:
            return self._policy.infer_prepared(prepared, noise, slots)
        given = {"noise": noise, "slots": slots}
        return self._policy.infer_batch(prepared, **{name: given[name] for name in self._batch_takes})

    def conclude(self, reply: Any, slot: int) -> Any:
        """Return the final reply of a policy that has a step after its batches; the reply itself for others."""
        return self._policy.conclude(reply, slot) if self._concludes else reply

    def reset(self, slots: Sequence[int] | None, seeds: Sequence[int] | None = None) -> None:
        """Tell the policy that episodes begin in these slots; None: in all slots.

        Args:
            slots: the slots.
            seeds: the seed of each slot's episode, 0 to 2**32 - 1, for a policy that draws from the process's random
                generators; None: it draws from their present states.

        Raises:
            UserError: several slots are given, and the policy cannot distinguish episodes.
        """
        self._generators.forget(slots)
        if slots is None:
            self._slot = None
        else:
            self.check_slots(slots)
            for slot, seed in zip(slots, seeds or (), strict=bool(seeds)):
                if self.draws:
                    self._generators.seed(slot, seed)
        reset = getattr(self._policy, "reset", None)
        if not callable(reset):
            return
        if not self._reset_takes_slots:
            with self._generators.of(-1 if not slots else slots[0]):
                reset()
        elif slots is None:
            reset(slots=None)
        else:
            for slot in slots:
                with self._generators.of(slot):
                    reset(slots=[slot])

    def check_slots(self, slots: Sequence[int]) -> None:
        """Refuse several episodes at a time for a policy that cannot distinguish them.

        Raises:
            UserError: several slots are given, and the policy has a history but takes no ``slots``.
        """
        if self.max_slots is None or not slots:
            return
        self._slot = slots[0] if self._slot is None else self._slot
        if any(slot != self._slot for slot in slots):
            raise UserError(
                f"policy {self._name!r} keeps a history and is not told which episode an observation is of: use one "
                "slot (--slots 1), or give it reset(slots) and infer_batch(observations, noise, slots); a policy "
                "without a history declares stateless = True"
            )

    @property
    def _has_keys(self) -> bool:
        """Return whether observations can be grouped into batches: by the policy's key, or by their prompts."""
        model = getattr(self._config, "model", None)
        state_in_prompt = bool(getattr(model, "discrete_state_input", False))
        return not state_in_prompt or callable(getattr(self._policy, "batch_key", None))


def declared_of(robot: Robot | str | None, config: Any, policy: Any = None) -> Declared:
    """Return what a policy and its configuration declare of the interface.

    Args:
        robot: the policy's robot or its name.
        config: the configuration, or None.
        policy: the policy, or None if it is not loaded.

    Raises:
        UserError: a requirement is unknown.
    """
    stated = getattr(policy, "requires", None)
    requires = dict(stated) if isinstance(stated, Mapping) else {}
    horizon = getattr(getattr(config, "model", None), "action_horizon", None)
    if horizon is not None:
        requires.setdefault("action_horizon", horizon)
    if isinstance(robot, str) and robot in ROBOTS:
        robot = ROBOTS[robot]
    return Declared(robot, requires)


def _takes(function: Callable[..., Any] | None, argument: str) -> bool:
    """Return whether a function has an argument of this name."""
    if not callable(function):
        return False
    try:
        return argument in inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return False
