"""An open-pi-zero policy: from a robot's observations to its actions."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headless_eval.checkpoints.stored import Stored, read_into
from headless_eval.contracts.policy import Engine
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import NormStats
from headless_eval.policies.observations import read_image, read_prompt, read_vector
from headless_eval.policies.open_pi_zero.adapters import (
    GRIPPER,
    StickyGripper,
    bridge_actions,
    bridge_state,
    resize,
)
from headless_eval.policies.open_pi_zero.config import PolicyConfig, write_config
from headless_eval.policies.open_pi_zero.engine import make_engine
from headless_eval.policies.open_pi_zero.formats import (
    check_norm_stats,
    find_norm_stats,
    open_weights,
    save_norm_stats,
    save_weights,
)
from headless_eval.policies.open_pi_zero.model import OpenPiZero
from headless_eval.policies.open_pi_zero.names import to_theirs
from headless_eval.policies.paligemma.batch import Batch
from headless_eval.policies.paligemma.policy import PaliGemmaPolicy
from headless_eval.policies.paligemma.tokenizer import TOKENIZER_FILE, Tokenizer, find_tokenizer, slots_for
from headless_eval.quant import Handle
from headless_eval.quant.precision import Precision
from headless_eval.shared.files import replacing


@dataclass(frozen=True)
class Input:
    """An observation as the model's input.

    Attributes:
        image: uint8 (size, size, 3).
        state: normalised, float32 (state_dim,).
        tokens: int64 (T,), the padded prompt.
        token_mask: bool (T,), false for padding.
        observed_state: the state in the robot's units, float64 (8,).
        batch_key: the padded prompt length that the model computes; all other shapes of a batch are fixed.
    """

    image: np.ndarray
    state: np.ndarray
    tokens: np.ndarray
    token_mask: np.ndarray
    observed_state: np.ndarray
    batch_key: int


class OpenPiZeroPolicy(PaliGemmaPolicy):
    """A model with the conventions of its robot, modelled on open-pi-zero's adapters to SimplerEnv.

    It follows ``contracts.policy.PreparingPolicy``. The model's chunk depends only on the observation and the noise;
    for Google's robot, ``conclude`` also depends on the gripper's earlier commands in the episode.

    Args:
        model: the model, on its device and in its type.
        config: the conventions of the model and the robot.
        norm_stats: statistics of ``state`` and ``actions``, with quantiles.
        tokenizer: the tokenizer that the model was trained with.
        engine: the inference engine: ``auto``, ``eager`` or ``compiled``.
        execution: always ``simulated``.

    Raises:
        UserError: statistics or tokenizer do not fit the configuration, or the engine does not exist on this machine.
    """

    libraries = ("safetensors", "sentencepiece")
    stateless = True
    rounds_itself = False

    def __init__(
        self,
        model: OpenPiZero,
        config: PolicyConfig,
        norm_stats: Mapping[str, NormStats],
        tokenizer: Tokenizer,
        engine: str = "eager",
        execution: str = "simulated",
    ):
        check_norm_stats(norm_stats, config)
        if len(tokenizer) > config.model.vocab_size:
            raise UserError(
                f"the tokenizer {tokenizer.path} has {len(tokenizer)} tokens, the model {config.model.vocab_size}: "
                "it is not the one that the model was trained with"
            )
        self.model = model.eval()
        self.config = config
        self.norm_stats = dict(norm_stats)
        self.tokenizer = tokenizer
        if model.device.type == "cpu":
            model.lay_out_for_cpu()
        self.execution = execution
        self._loaded = self._engine_named = engine
        self._flow_steps: int | None = None
        self.engine: Engine = make_engine(engine, self.model, execution=execution)
        self._handle: Handle | None = None
        self._grippers: dict[int, StickyGripper] = {}

    @classmethod
    def from_checkpoint(
        cls,
        path: Path | str,
        config: PolicyConfig,
        tokenizer_path: Path | str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float32",
        engine: str = "eager",
        execution: str = "simulated",
    ) -> "OpenPiZeroPolicy":
        """Read a policy from a ``.pt`` file of open-pi-zero, or from a folder in headless-eval's format.

        Args:
            path: the file or the folder.
            config: the checkpoint's configuration.
            tokenizer_path: a SentencePiece model; by default ``tokenizer.model`` beside the weights, or PaliGemma's in
                openpi's cache.
            device: the weights' device.
            dtype: type of the weights: float32, bfloat16 or float16.
            engine: as for the class.
            execution: as for the class.

        Raises:
            UserError: a file is missing, malformed or does not fit the configuration.
        """
        path = Path(path)
        folder = path if path.is_dir() else path.parent
        return cls.from_stored(
            open_weights(path, config),
            path,
            config,
            find_norm_stats(path, config),
            Tokenizer(find_tokenizer(folder, tokenizer_path)),
            device,
            dtype,
            engine,
            execution,
        )

    @classmethod
    def from_stored(
        cls,
        weights: Mapping[str, Stored],
        where: Path,
        config: PolicyConfig,
        norm_stats: Mapping[str, NormStats],
        tokenizer: Tokenizer,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float32",
        engine: str = "eager",
        execution: str = "simulated",
    ) -> "OpenPiZeroPolicy":
        """Read a policy from opened weights; the other arguments are those of the class and of ``from_checkpoint``.

        Raises:
            UserError: the weights do not fit the configuration or are not finite; or the same as for the class.
        """
        as_type: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        with torch.device("meta"):
            model = OpenPiZero(config.model)
        read_into(model, weights, where, torch.device(device), as_type, to_theirs)
        return cls(model, config, norm_stats, tokenizer, engine, execution)

    def save(self, folder: Path | str) -> None:
        """Write the policy to a folder in the format of ``from_checkpoint`` and ``read_config``."""
        save_checkpoint(folder, self.model, self.config, self.norm_stats, self.tokenizer)

    def renew_engine(self, precision: Precision, handle: Handle | None) -> None:
        """Rebuild the engine after the model has entered or left a precision.

        Raises:
            UserError: the named engine does not support the precision; the old engine stays.
        """
        engine = make_engine(self._engine_named, self.model, self.execution, handle)
        self.engine.close()
        self.engine, self._handle = engine, handle

    def configure(self, *, flow_steps: int | None = None, engine: str | None = None) -> None:
        """Change the settings of a model at float32; settings that are not given get their values from loading.

        Args:
            flow_steps: Euler steps of flow matching.
            engine: the inference engine.

        Raises:
            UserError: the number of steps is less than 1, or the engine is unknown or not supported on this machine.
                The settings are then unchanged.
        """
        if flow_steps is not None and (not isinstance(flow_steps, int) or flow_steps < 1):
            raise UserError(f"flow_steps is {flow_steps}; it must be 1 or more")
        named = engine or self._loaded
        if named != self._engine_named:
            made = make_engine(named, self.model, execution=self.execution)
            self.engine.close()
            self.engine, self._engine_named = made, named
        self._flow_steps = flow_steps

    def action_scales(self, observations: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset that normalise actions: half their range in training, and its middle.

        Returns:
            The scale, (action_dims,), and the offset, (number, 1, action_dims).
        """
        stats: Any = self.norm_stats["actions"]
        low, high = stats.q01[: self.config.action_dims], stats.q99[: self.config.action_dims]
        offset = np.broadcast_to((low + high) / 2, (len(observations), 1, len(low)))
        return np.maximum((high - low) / 2, stats.epsilon), offset

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Reset the gripper's state for the episodes of these slots; None: for all episodes."""
        if slots is None:
            self._grippers.clear()
        for slot in slots or ():
            self._grippers.pop(slot, None)

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        noise: np.ndarray | torch.Tensor | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a reply to each observation, computed as one batch.

        Args:
            observations: with the robot's keys; images are uint8 (height, width, 3) of any size.
            noise: float32 (number, horizon, action_dim) that the flow starts from; None: drawn from torch's
                default generator.
            slots: the slot of each observation's episode; by default all belong to the same episode.

        Returns:
            dicts with ``actions`` float32 (horizon, 7) in the robot's units, and ``policy_timing`` with
            ``infer_ms``, the milliseconds of the whole call.

        Raises:
            UserError: a key of an observation is missing or its value is malformed; the message names the key.
            ValueError: the noise has the wrong shape.
        """
        if not observations:
            return []
        begin = time.perf_counter()
        number = len(observations)
        noise = torch.randn(number, *self.noise_shape) if noise is None else torch.as_tensor(noise).float()
        if noise.shape != (number, *self.noise_shape):
            raise ValueError(f"noise has shape {tuple(noise.shape)}, not {(number, *self.noise_shape)}")
        replies = self.infer_prepared([self.prepare(obs) for obs in observations], noise)
        replies = [
            self.conclude(reply, slot)
            for reply, slot in zip(replies, [0] * number if slots is None else slots, strict=True)
        ]
        ms = 1e3 * (time.perf_counter() - begin)
        return [{**reply, "policy_timing": {"infer_ms": ms}} for reply in replies]

    def prepare(self, obs: dict[str, Any]) -> Input:
        """Return the model's input of an observation.

        Raises:
            UserError: a key is missing or its value is malformed.
        """
        robot, sizes = self.config.robot, self.config.model
        (camera,) = robot.cameras
        image = resize(read_image(obs, camera.key), self.image_size)
        observed = self._observed_state(obs)
        state = self._as_counted(observed)
        normalised = self.norm_stats["state"].normalize(state, use_quantiles=True).clip(-1, 1)
        prompt = read_prompt(obs)
        tokens, mask = self.tokenizer.fill_slots(
            prompt, self.tokenizer.instruction_tokens(prompt), sizes.max_token_len
        )
        return Input(
            image=image,
            state=normalised.astype(np.float32),
            tokens=tokens,
            token_mask=mask,
            observed_state=observed,
            batch_key=slots_for(int(mask.sum()), sizes.max_token_len),
        )

    def state_numbers(self, obs: dict[str, Any]) -> np.ndarray:
        """Return the state of an observation as the statistics count it, not normalised, float64 (dims,)."""
        return self._as_counted(self._observed_state(obs))

    def _observed_state(self, obs: dict[str, Any]) -> np.ndarray:
        return np.concatenate([read_vector(obs, group.key, group.dims) for group in self.config.robot.state])

    def _as_counted(self, observed: np.ndarray) -> np.ndarray:
        return bridge_state(observed) if self.config.observation == "widowx" else observed

    def infer_prepared(
        self,
        inputs: Sequence[Input],
        noise: np.ndarray | torch.Tensor | None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the model's ``actions`` for each prepared observation, computed as one batch, before ``conclude``."""
        if noise is None:
            raise ValueError("this policy needs noise")

        def stacked(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([getattr(one, name) for one in inputs]))

        pixels = stacked("image").to(self.model.device).permute(0, 3, 1, 2).float() / 255 * 2 - 1
        batch = Batch(
            [pixels],
            [torch.ones(len(inputs), dtype=torch.bool)],
            stacked("tokens"),
            stacked("token_mask"),
            stacked("state"),
            torch.as_tensor(noise, dtype=torch.float32),
        )
        actions = self.engine.sample(batch, self._flow_steps)
        return [{"actions": chunk} for chunk in actions.cpu().numpy()]

    def finish(self, chunk: np.ndarray, data: Input) -> np.ndarray:
        """Turn the model's output for ``prepare``'s result into the robot's actions at an episode's beginning."""
        return self._robot_actions(chunk, StickyGripper())

    def conclude(self, reply: dict[str, Any], slot: int) -> dict[str, Any]:
        """Turn the model's actions into the robot's; called once for every reply, in the order of the control steps.

        Args:
            reply: the reply of ``infer_prepared``.
            slot: the slot of the reply's episode.
        """
        gripper = self._grippers.setdefault(slot, StickyGripper())
        return {**reply, "actions": self._robot_actions(reply["actions"], gripper)}

    def _robot_actions(self, chunk: np.ndarray, gripper: StickyGripper) -> np.ndarray:
        chunk = np.array(chunk, np.float64)
        of = self.norm_stats["actions"]
        assert of.q01 is not None
        assert of.q99 is not None
        low, high = of.q01[:GRIPPER], of.q99[:GRIPPER]
        # The gripper's number was not normalised.
        chunk[:, :GRIPPER] = (chunk[:, :GRIPPER] + 1) / 2 * (high - low) + low
        widowx = self.config.observation == "widowx"
        return (bridge_actions(chunk) if widowx else gripper.actions(chunk)).astype(np.float32)


def save_checkpoint(
    folder: Path | str,
    model: OpenPiZero,
    config: PolicyConfig,
    norm_stats: Mapping[str, NormStats],
    tokenizer: Tokenizer,
) -> None:
    """Write a policy's folder: ``config.toml``, weights, ``assets/<asset_id>/norm_stats.json``, tokenizer.

    Raises:
        UserError: the statistics do not fit the configuration.
        OSError: the folder cannot be written.
    """
    check_norm_stats(norm_stats, config)
    folder = Path(folder)
    save_weights(folder, model.state_dict())
    save_norm_stats(folder, config, norm_stats)
    with replacing(folder / TOKENIZER_FILE, "wb") as file:
        file.write(tokenizer.model_bytes)
    write_config(folder / "config.toml", config)
