"""LeRobot's policies behind this package's interface.

Types whose ``predict_action_chunk`` depends on one observation alone are asked for whole chunks. Others keep a history
or a queue of actions of an episode and are asked for one action at every control step with ``select_action``, as in
LeRobot's own evaluation; what is random in them is drawn from the process's generators, which ``LocalPolicy`` seeds.
"""

import copy
import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.policies.lerobot.config import LeRobotConfig
from headless_eval.policies.lerobot.package import Loaded, load
from headless_eval.policies.stated_features import STATE

_NOISY = ("pi0", "pi05", "smolvla")  # flow matching from a noise that can be given
_SLOTS = ("act", "diffusion", "multi_task_dit", "tdmpc", "vqbet")
"""Types whose memory of an episode lies in attributes of the policy itself, so that every slot can have its own."""


def open_policy(config: LeRobotConfig, device: str, flow_steps: int | None = None) -> "LeRobotPolicy":
    """Load a policy in the way that its type allows.

    Raises:
        UserError: as of ``package.load``; or the policy's actions are relative to an observation that is over when they
            are executed.
    """
    loaded = load(config, device, flow_steps)
    if _gives_chunks(config.type, getattr(loaded.module, "config", None)):
        return ChunkPolicy(config, loaded)
    if _relative_step(loaded) is not None:
        raise UserError(
            f"{config.name} is of the type {config.type} and has relative actions, which LeRobot adds to the state at "
            "the wrong control step when actions are asked for one by one: it cannot be evaluated"
        )
    return SlotPolicy(config, loaded) if config.type in _SLOTS else EpisodePolicy(config, loaded)


def _gives_chunks(kind: str, settings: Any) -> bool:
    if kind == "act":
        return settings.temporal_ensemble_coeff is None
    if kind == "pi0_fast":
        return bool(settings.temperature == 0)  # else tokens are drawn at random
    return kind in _NOISY


class LeRobotPolicy:
    """What all of LeRobot's policies have in common.

    Args:
        config: what the folder states.
        loaded: the policy and its processors.

    Attributes:
        module: LeRobot's policy, a ``torch.nn.Module``; precisions apply to it.
        version: LeRobot's version.
        way: how the policy is asked, in words.
    """

    libraries = ("lerobot", "torchvision", "transformers", "diffusers")
    way = ""

    def __init__(self, config: LeRobotConfig, loaded: Loaded) -> None:
        self.config, self.module, self.version = config, loaded.module, loaded.version
        self.robot, self.image_size = config.robot.name, config.image_size
        self._preprocess, self._postprocess = loaded.preprocess, loaded.postprocess
        self._relative = _relative_step(loaded)
        # Tokenizers keep settings of a call, and relative actions the last state.
        self._processing = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Return facts for a run's manifest: LeRobot's type and version, the processors' hash, the cameras."""
        digest = hashlib.sha256()
        for path in sorted(self.config.folder.glob("policy_p*processor*")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return {
            "lerobot": {
                "type": self.config.type,
                "version": self.version,
                "asked_for": self.way,
                "processors_sha256": digest.hexdigest(),
                "cameras": dict(self.config.cameras),
            }
        }

    def _batch(self, observations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return observations with LeRobot's names, as they are before the preprocessor.

        Raises:
            UserError: a picture or a state group is missing, or has another shape than the robot's.
        """
        batch: dict[str, Any] = {"task": [str(obs.get("prompt", "")) for obs in observations]}
        for name, key in self.config.cameras.items():
            pictures = [_picture(obs, key, self.config.sizes[name]) for obs in observations]
            batch[name] = torch.stack(pictures)
        if self.config.state:
            rows = [self._state(obs) for obs in observations]
            batch[STATE] = torch.from_numpy(np.stack(rows))
        return batch

    def _state(self, obs: Mapping[str, Any]) -> np.ndarray:
        try:
            parts = [np.ravel(obs[group.key])[: group.dims] for group in self.config.robot.state]
        except KeyError as error:
            raise UserError(f"the observation lacks {error.args[0]!r}, a part of the state") from None
        state = np.concatenate(parts).astype(np.float32)
        if len(state) != self.config.robot.state_dims:
            raise UserError(
                f"the observation's state has {len(state)} numbers, the robot's {self.config.robot.state_dims}"
            )
        return state

    def _prepared(self, batch: dict[str, Any]) -> Any:
        with self._processing:
            return self._preprocess(batch)

    def _finished(self, actions: Tensor, batch: Mapping[str, Any]) -> np.ndarray:
        """Return actions (number, dims) or (number, horizon, dims) in the robot's units, float32."""
        with self._processing:
            if self._relative is not None:
                self._relative._last_state = batch[STATE]
            if actions.ndim == 2:
                done = self._postprocess(actions)
            else:  # step by step, as LeRobot does: not every processor takes chunks
                steps = [self._postprocess(actions[:, step]) for step in range(actions.shape[1])]
                done = torch.stack(steps, dim=1)
        result: np.ndarray = done.float().cpu().numpy()
        return result


class ChunkPolicy(LeRobotPolicy):
    """A policy that is asked for whole chunks: no history, batched, its noise (if it has any) given."""

    stateless = True
    concurrent = True
    way = "whole chunks"

    def __init__(self, config: LeRobotConfig, loaded: Loaded) -> None:
        super().__init__(config, loaded)
        settings: Any = self.module.config
        self.open_loop_horizon = int(min(settings.n_action_steps, settings.chunk_size))
        self.noise_shape: tuple[int, int] | None = None
        if config.type in _NOISY:
            self.noise_shape = (int(settings.chunk_size), int(settings.max_action_dim))

    def infer(self, obs: dict[str, Any], noise: np.ndarray | None = None) -> dict[str, Any]:
        """Return ``actions``, float32 (chunk, action_dims); errors as of ``infer_batch``."""
        return self.infer_batch([obs], None if noise is None else np.asarray(noise)[None])[0]

    def infer_batch(
        self, observations: Sequence[dict[str, Any]], noise: np.ndarray | None = None
    ) -> list[dict[str, Any]]:
        """Return the reply to each observation, computed at once.

        Args:
            observations: with the robot's keys.
            noise: float32 (number, chunk, padded action dims), for flow matching; None: drawn by LeRobot.

        Raises:
            UserError: a part of an observation is missing or has another shape than the robot's.
        """
        batch = self._batch(observations)
        model: Any = self.module
        given = {}
        if noise is not None and self.noise_shape is not None:
            device = next(self.module.parameters()).device
            given["noise"] = torch.from_numpy(np.array(noise, np.float32)).to(device)
        with torch.inference_mode():
            actions = model.predict_action_chunk(self._prepared(dict(batch)), **given)
        return [{"actions": chunk} for chunk in self._finished(actions, batch)]


class EpisodePolicy(LeRobotPolicy):
    """A policy that is asked for one action at every control step, of one episode at a time."""

    stateless = False
    open_loop_horizon = 1
    way = "single actions, one episode at a time"

    def infer(self, obs: dict[str, Any]) -> dict[str, Any]:
        """Return ``actions``, float32 (1, action_dims).

        Raises:
            UserError: a part of the observation is missing or has another shape than the robot's.
        """
        batch = self._batch([obs])
        model: Any = self.module
        with torch.inference_mode():
            action = model.select_action(self._prepared(dict(batch)))
        return {"actions": self._finished(action, batch)}

    def reset(self) -> None:
        """Begin a new episode."""
        model: Any = self.module
        model.reset()
        self._reset_processors()

    def _reset_processors(self) -> None:
        for processor in (self._preprocess, self._postprocess):
            processor.reset()


class SlotPolicy(EpisodePolicy):
    """An ``EpisodePolicy`` with a memory for every slot, so that episodes may run side by side."""

    way = "single actions, a memory for every slot"

    def __init__(self, config: LeRobotConfig, loaded: Loaded) -> None:
        super().__init__(config, loaded)
        self._memory = _Memory(self.module)

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the reply to each observation, one after another, each with the memory of its slot."""
        replies = []
        for row, obs in enumerate(observations):
            self._memory.use(0 if slots is None else slots[row])
            replies.append(self.infer(obs))
            self._memory.keep()
        return replies

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Begin new episodes in these slots; None: in all slots."""
        self._memory.forget(slots)
        self._reset_processors()


class _Memory:
    """What a policy remembers of the episode in each slot: the attributes that its ``reset`` makes or fills."""

    def __init__(self, module: nn.Module) -> None:
        self._module = cast(Any, module)
        self._module.reset()
        apart = {*vars(nn.Module()), "config"}
        self._names = tuple(name for name in vars(module) if name not in apart)
        shared = (*module.modules(), *module.parameters(), *module.buffers(), self._module.config)
        self._shared = {id(thing): thing for thing in shared}
        self._fresh = self._copied({name: vars(module)[name] for name in self._names})
        self._kept: dict[int, dict[str, Any]] = {}
        self._slot = 0

    def use(self, slot: int) -> None:
        """Let the policy have the memory of a slot; a fresh one where an episode begins."""
        self._slot = slot
        if slot in self._kept:
            vars(self._module).update(self._kept[slot])
            return
        # Copies first: some policies reset in place what they remember, which may be another slot's.
        vars(self._module).update(self._copied(self._fresh))
        self._module.reset()

    def keep(self) -> None:
        """Keep what the policy now remembers for the slot in use."""
        self._kept[self._slot] = {name: vars(self._module)[name] for name in self._names}

    def forget(self, slots: Sequence[int] | None) -> None:
        """Forget the episodes in these slots; None: in all."""
        for slot in list(self._kept) if slots is None else slots:
            self._kept.pop(slot, None)

    def _copied(self, memory: Mapping[str, Any]) -> dict[str, Any]:
        """Return copies of everything but the model."""
        return copy.deepcopy(dict(memory), dict(self._shared))


def _relative_step(loaded: Loaded) -> Any:
    """Return the preprocessor's step that keeps the state for relative actions; None if actions are absolute."""
    steps = getattr(loaded.preprocess, "steps", ())
    found = [
        step
        for step in steps
        if getattr(step, "_registry_name", None) == "relative_actions_processor"
        and getattr(step, "enabled", False)
    ]
    return found[0] if found else None


def _picture(obs: Mapping[str, Any], key: str, size: tuple[int, int] | None) -> Tensor:
    """Return a picture (3, height, width) in [0, 1], scaled to the size that the policy was trained with."""
    picture = np.asarray(obs.get(key))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(f"the observation has no picture {key!r}: uint8 (height, width, 3)")
    tensor = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    if size is None or tensor.shape[1:] == size:
        return tensor
    scaled = F.interpolate(tensor[None], size, mode="bilinear", antialias=True, align_corners=False)
    return scaled[0].clamp(0, 1)
