"""A π0 or π0.5 policy: from a robot's observations to its actions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headless_eval.contracts.policy import Engine
from headless_eval.errors import UserError
from headless_eval.policies.norm_stats import NormStats, write_norm_stats
from headless_eval.policies.paligemma.batch import Batch, EagerEngine
from headless_eval.policies.paligemma.policy import PaliGemmaPolicy
from headless_eval.policies.paligemma.tokenizer import TOKENIZER_FILE, Tokenizer, find_tokenizer
from headless_eval.policies.pi0.checkpoint import check_norm_stats, find_norm_stats, open_weights, their_name
from headless_eval.policies.pi0.config import PolicyConfig, write_config
from headless_eval.policies.pi0.engine import make_engine
from headless_eval.policies.pi0.formats.openpi_torch import save_weights
from headless_eval.policies.pi0.model import Pi0, slots_for
from headless_eval.policies.pi0.transforms import (
    AbsoluteActions,
    NormalizeState,
    PadState,
    ResizeImages,
    RobotInputs,
    TokenizePrompt,
    Transform,
    UnnormalizeActions,
    compose,
)
from headless_eval.policies.pi0.weights import build_model
from headless_eval.quant import Handle
from headless_eval.quant.handle import holds_precision
from headless_eval.quant.precision import Precision
from headless_eval.shared.files import replacing

if TYPE_CHECKING:
    from headless_eval.policies.preflight import Opened


@dataclass(frozen=True)
class Pi0Input:
    """An observation as the model's input.

    Attributes:
        images: uint8 (size, size, 3) by view.
        state: normalised and padded, float64 (action_dim,).
        tokens: int64 (T,), the padded prompt.
        token_mask: bool (T,), false for padding.
        observed_state: the state in the robot's units, float64 (state_dims,).
        batch_key: the padded prompt length that the model computes; all other shapes of a batch are fixed.
    """

    images: dict[str, np.ndarray]
    state: np.ndarray
    tokens: np.ndarray
    token_mask: np.ndarray
    observed_state: np.ndarray
    batch_key: int


class Pi0Policy(PaliGemmaPolicy):
    """A π0 or π0.5 model with the conventions of its robot, modelled on openpi's policies.

    It follows ``contracts.policy.PreparingPolicy`` and is stateless: a reply depends only on observation and noise.

    Args:
        model: the model, on its device and in its type.
        config: the conventions of the model and the robot.
        norm_stats: statistics of ``state`` and ``actions``.
        tokenizer: the tokenizer that the model was trained with.
        engine: the inference engine, one of ``ENGINES``.
        execution: one of ``EXECUTIONS``.

    Raises:
        UserError: statistics or tokenizer do not fit the configuration, or the engine does not exist on this machine.
    """

    libraries = ("safetensors", "sentencepiece", "pillow")
    stateless = True

    def __init__(
        self,
        model: Pi0,
        config: PolicyConfig,
        norm_stats: dict[str, NormStats],
        tokenizer: Tokenizer,
        engine: str = "eager",
        execution: str = "simulated",
    ):
        check_norm_stats(norm_stats, config)
        sizes = config.model
        if len(tokenizer) > sizes.vocab_size:
            raise UserError(
                f"the tokenizer {tokenizer.path} has {len(tokenizer)} tokens, the model {sizes.vocab_size}: "
                "it is not the one that the model was trained with"
            )
        self.model = model.eval()
        self.config = config
        self.norm_stats = norm_stats
        self.tokenizer = tokenizer
        if self._device.type == "cpu":
            model.lay_out_for_cpu()
        self._loaded = engine, execution
        self._engine_named, self.execution = engine, execution
        self._flow_steps: int | None = None
        self.engine: Engine = make_engine(engine, self.model, execution=execution)
        self._handle: Handle | None = None
        quantiles = config.use_quantile_norm
        self._observation = RobotInputs(config.robot)
        self._inputs: list[Transform] = [
            ResizeImages(sizes.siglip.image_size),
            NormalizeState(norm_stats["state"], quantiles),
            TokenizePrompt(tokenizer, sizes.max_token_len, sizes.discrete_state_input),
            PadState(sizes.action_dim),
        ]
        self._outputs: list[Transform] = [
            UnnormalizeActions(norm_stats["actions"], quantiles, config.action_dims)
        ]
        if config.delta_actions_mask is not None:
            self._outputs.append(AbsoluteActions(config.delta_actions_mask))

    @classmethod
    def from_checkpoint(
        cls,
        directory: Path | str,
        config: PolicyConfig,
        tokenizer_path: Path | str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = "float32",
        engine: str = "eager",
        execution: str = "simulated",
        opened: "Opened | None" = None,
    ) -> "Pi0Policy":
        """Read a policy from a folder with weights and statistics.

        Args:
            directory: folder of openpi, JAX (``params/``) or PyTorch (``model.safetensors``), with
                ``assets/<asset_id>/norm_stats.json``; or of LeRobot.
            config: the checkpoint's configuration.
            tokenizer_path: a SentencePiece model; by default ``tokenizer.model`` in the folder, else
                PaliGemma's in openpi's cache (``$OPENPI_DATA_HOME``, by default ``~/.cache/openpi``).
            device: the model's device.
            dtype: type of the weights: float32, bfloat16 or float16.
            engine: the inference engine, one of ``ENGINES``.
            execution: one of ``EXECUTIONS``.
            opened: the files that ``preflight`` has opened, so that they are read once; ``tokenizer_path`` is then
                ignored.

        Raises:
            UserError: a file is missing, malformed or does not fit the configuration.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise UserError(f"no checkpoint at {directory}: it has to be a folder")
        if opened is None:
            stats = find_norm_stats(directory, config)
            tokenizer = Tokenizer(find_tokenizer(directory, tokenizer_path))
            weights = open_weights(directory, config.model)
        else:
            stats, tokenizer, weights = opened.norm_stats, opened.tokenizer, opened.weights
        as_type: torch.dtype = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        model = build_model(
            config.model, weights, directory, torch.device(device), as_type, their_name(directory)
        )
        return cls(model, config, stats, tokenizer, engine, execution)

    def save(self, directory: Path | str) -> None:
        """Write the policy to a folder in the format of ``from_checkpoint`` and ``read_config``."""
        save_checkpoint(directory, self.model, self.config, self.norm_stats, self.tokenizer)

    @property
    def rounds_itself(self) -> bool:
        """Return whether the engine computes in a precision's own types, so that the model must not be quantized."""
        return self.execution == "native"

    def renew_engine(self, precision: Precision, handle: Handle | None) -> None:
        """Rebuild the engine after the model has entered or left a precision.

        Raises:
            UserError: the named engine or execution does not support the precision; the old engine stays.
        """
        engine = make_engine(self._engine_named, self.model, precision, self.execution, handle)
        self.engine.close()
        self.engine, self._handle = engine, handle

    def configure(
        self, *, flow_steps: int | None = None, engine: str | None = None, execution: str | None = None
    ) -> None:
        """Change the settings of a model at float32; settings that are not given get their values from loading.

        Args:
            flow_steps: Euler steps of flow matching.
            engine: the inference engine, one of ``ENGINES``.
            execution: one of ``EXECUTIONS``.

        Raises:
            UserError: the number of steps is less than 1, or the engine or the execution is unknown or not supported on
                this machine. The settings are then unchanged.
        """
        if flow_steps is not None and (not isinstance(flow_steps, int) or flow_steps < 1):
            raise UserError(f"flow_steps is {flow_steps}; it must be 1 or more")
        named, execution = engine or self._loaded[0], execution or self._loaded[1]
        if (named, execution) != (self._engine_named, self.execution):
            made = make_engine(named, self.model, execution=execution)
            self.engine.close()
            self.engine, self._engine_named, self.execution = made, named, execution
        self._flow_steps = flow_steps

    @property
    def _device(self) -> torch.device:
        return self.model.device

    def action_scales(self, observations: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset that normalise actions: (actions - offset) / scale, as in training.

        Dimensions predicted relative to the state become relative again, so that an error is an error of the movement.

        Returns:
            The scale, (action_dims,), and the offset, (number, 1, action_dims).
        """
        config = self.config
        stats: Any = self.norm_stats["actions"]
        dims = config.action_dims
        if config.use_quantile_norm:
            scale, middle = (
                (stats.q99[:dims] - stats.q01[:dims]) / 2,
                (stats.q99[:dims] + stats.q01[:dims]) / 2,
            )
        else:
            scale, middle = stats.std[:dims], stats.mean[:dims]
        mask = np.zeros(dims, bool)
        given = config.delta_actions_mask or ()
        mask[: len(given)] = given
        states = np.stack([self.prepare(obs).observed_state[:dims] for obs in observations])
        offset = middle + np.where(mask, states, 0.0)
        return np.maximum(scale, stats.epsilon), offset[:, None]

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Begin episodes; does nothing, because the policy keeps no state between observations."""

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        noise: np.ndarray | torch.Tensor | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a reply to each observation, computed as one batch.

        Args:
            observations: with openpi's keys for the robot; images are uint8 (height, width, 3) of any size.
            noise: float32 (number, horizon, action_dim) that the flow starts from; None: drawn from torch's
                default generator.
            slots: ignored, because the policy is stateless.

        Returns:
            dicts with ``actions`` float32 (horizon, action_dims), joint positions or poses in the robot's units, and
            ``policy_timing`` with ``infer_ms``, the milliseconds of the whole call.

        Raises:
            UserError: a key of an observation is missing or its value is malformed; the message names the key.
            ValueError: the noise has the wrong shape.
        """
        if not observations:
            return []
        begin = time.perf_counter()
        inputs = [self._prepare_one(observations, index) for index in range(len(observations))]
        replies = self.infer_prepared(inputs, self._noise(noise, len(inputs)))
        ms = 1e3 * (time.perf_counter() - begin)
        return [{**reply, "policy_timing": {"infer_ms": ms}} for reply in replies]

    def prepare(self, obs: dict[str, Any]) -> Pi0Input:
        """Return the model's input of an observation: the steps of ``transforms`` before the model.

        Raises:
            UserError: a key is missing or its value is malformed.
        """
        observed = self._observation(obs)
        data = compose(self._inputs, observed)
        return Pi0Input(
            images=data["images"],
            state=data["state"],
            tokens=data["tokens"],
            token_mask=data["token_mask"],
            observed_state=observed["state"],
            batch_key=slots_for(int(data["token_mask"].sum()), self.config.model.max_token_len),
        )

    def state_numbers(self, obs: dict[str, Any]) -> np.ndarray:
        """Return the state of an observation as the statistics count it, not normalised, float64 (dims,)."""
        state: np.ndarray = self._observation(obs)["state"]
        return state

    def infer_prepared(
        self,
        inputs: Sequence[Pi0Input],
        noise: np.ndarray | torch.Tensor | None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return ``actions`` for each prepared observation, computed as one batch; see ``infer_batch``."""
        if noise is None:
            raise ValueError("this policy needs noise")
        chunks = self._sample(inputs, torch.as_tensor(noise, dtype=torch.float32))
        return [{"actions": self.finish(chunk, data)} for chunk, data in zip(chunks, inputs, strict=True)]

    def finish(self, chunk: np.ndarray, data: Pi0Input) -> np.ndarray:
        """Turn the model's output (horizon, action_dim) for ``prepare``'s result into the robot's actions."""
        out = compose(self._outputs, {"actions": chunk.astype(np.float64), "state": data.observed_state})
        return out["actions"].astype(np.float32)

    def _prepare_one(self, observations: Sequence[dict[str, Any]], index: int) -> Pi0Input:
        try:
            return self.prepare(observations[index])
        except UserError as error:
            if len(observations) == 1:
                raise
            raise UserError(f"observation {index} of the batch: {error}") from None

    def _noise(self, noise: np.ndarray | torch.Tensor | None, number: int) -> torch.Tensor:
        shape = (number, *self.noise_shape)
        if noise is None:
            return torch.randn(shape)
        noise = torch.as_tensor(noise, dtype=torch.float32)
        if noise.shape != shape:
            raise ValueError(f"noise has shape {tuple(noise.shape)}, not {shape}")
        return noise

    def _sample(self, inputs: Sequence[Pi0Input], noise: torch.Tensor) -> np.ndarray:
        """Run the model; returns float32 (number, horizon, action_dim)."""

        def stacked(name: str) -> torch.Tensor:
            return torch.from_numpy(np.stack([getattr(data, name) for data in inputs]))

        # A view without a camera is masked, which has the same effect as leaving it out.
        views = [view for view in self.config.views if view in inputs[0].images]
        images = []
        for view in views:
            pixels = torch.from_numpy(np.stack([data.images[view] for data in inputs]))
            images.append(pixels.to(self._device).permute(0, 3, 1, 2).float() / 255 * 2 - 1)
        seen = torch.ones(len(inputs), dtype=torch.bool)
        # An engine that does not know of the model's precision would skip the hooks' rounding.
        told = self._handle is not None or not holds_precision(self.model)
        batch = Batch(
            images,
            [seen] * len(views),
            stacked("tokens"),
            stacked("token_mask"),
            stacked("state").float(),
            noise,
        )
        actions = (self.engine if told else EagerEngine(self.model)).sample(batch, self._flow_steps)
        return actions.cpu().numpy()


def save_checkpoint(
    directory: Path | str,
    model: Pi0,
    config: PolicyConfig,
    norm_stats: dict[str, NormStats],
    tokenizer: Tokenizer,
) -> None:
    """Write a policy's folder: ``config.toml``, weights, ``assets/<asset_id>/norm_stats.json``, tokenizer.

    Raises:
        UserError: the statistics do not fit the configuration.
        OSError: the folder cannot be written.
    """
    check_norm_stats(norm_stats, config)
    directory = Path(directory)
    save_weights(directory, model.state_dict())
    write_norm_stats(directory / "assets" / config.asset_id / "norm_stats.json", norm_stats)
    with replacing(directory / TOKENIZER_FILE, "wb") as file:
        file.write(tokenizer.model_bytes)
    write_config(directory / "config.toml", config)
