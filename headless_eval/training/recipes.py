"""What training differs in from family to family: the model, its normalised numbers, the flow times, the folder."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.policies.norm_stats import NormStats, make_norm_stats
from headless_eval.policies.open_pi_zero import config as open_pi_zero
from headless_eval.policies.open_pi_zero import model as open_pi_zero_model
from headless_eval.policies.open_pi_zero.adapters import GRIPPER, bridge_state, model_actions
from headless_eval.policies.open_pi_zero.policy import save_checkpoint as save_open_pi_zero
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.policies.pi0 import config as pi0
from headless_eval.policies.pi0 import model as pi0_model
from headless_eval.policies.pi0.policy import save_checkpoint as save_pi0
from headless_eval.training.dataset import Demonstrations

Config = pi0.PolicyConfig | open_pi_zero.PolicyConfig

TRAINABLE: dict[str, Config] = {
    **{name: config for name, config in pi0.CONFIGS.items() if name.endswith("-tiny")},
    **{name: config for name, config in open_pi_zero.CONFIGS.items() if "-tiny-" in name},
}
"""The configurations of the policies that are trained here."""

_LEAST_RANGE = 0.02  # metres or radians between the quantiles: what hardly moves is not blown up


class Recipe(Protocol):
    """How policies of a family are trained on demonstrations."""

    def new_model(self) -> nn.Module:
        """Return a model whose ``flow_matching_loss`` training minimises."""
        ...

    def states(self, rows: Tensor) -> Tensor:
        """Return normalised states (B, numbers)."""
        ...

    def chunks(self, rows: Tensor) -> Tensor:
        """Return normalised action chunks (B, horizon, numbers)."""
        ...

    def times(self, number: int, step: int, generator: torch.Generator) -> Tensor:
        """Draw flow times (number,) of an optimizer step."""
        ...

    def save(self, folder: Path, model: Any, tokenizer: Tokenizer) -> None:
        """Write a policy's folder."""
        ...


def make_recipe(config: Config, data: Demonstrations, seed: int) -> Recipe:
    """Return the recipe of a configuration."""
    if isinstance(config, pi0.PolicyConfig):
        return Pi0Recipe(config, data)
    return OpenPiZeroRecipe(config, data, seed)


class Pi0Recipe:
    """Normalised by mean and deviation; flow times from the generator that draws everything else."""

    def __init__(self, config: pi0.PolicyConfig, data: Demonstrations):
        self._config, self._data = config, data
        self._stats = data.norm_stats()
        device = data.state.device
        self._state_mean, self._state_std = _tensors(self._stats["state"], device)
        self._action_mean, self._action_std = _tensors(self._stats["actions"], device)

    def new_model(self) -> pi0_model.Pi0:
        """Return a model with random weights."""
        return pi0_model.Pi0(self._config.model)

    def states(self, rows: Tensor) -> Tensor:
        """Return normalised states (B, 8)."""
        return (self._data.state[rows] - self._state_mean) / (self._state_std + 1e-6)

    def chunks(self, rows: Tensor) -> Tensor:
        """Return normalised action chunks (B, horizon, 8)."""
        return (self._data.actions[rows] - self._action_mean) / (self._action_std + 1e-6)

    def times(self, number: int, step: int, generator: torch.Generator) -> Tensor:
        """Draw flow times that favour noise."""
        return pi0_model.sample_time(number, "beta", generator, generator.device)

    def save(self, folder: Path, model: pi0_model.Pi0, tokenizer: Tokenizer) -> None:
        """Write a policy's folder in float32."""
        dims = self._config.action_dims
        actions = {name: values[:dims] for name, values in self._stats["actions"].items()}
        stats = make_norm_stats({**self._stats, "actions": actions})
        save_pi0(folder, model, self._config, stats, tokenizer)


def _tensors(stats: dict[str, list[float]], device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(stats["mean"], device=device), torch.tensor(stats["std"], device=device)


class OpenPiZeroRecipe:
    """Normalised by quantiles, clipped; flow times apart from everything else, drawn as the configuration's name says.

    So a policy with uniform and one with beta times see the same batches and the same noise.
    """

    def __init__(self, config: open_pi_zero.PolicyConfig, data: Demonstrations, seed: int):
        self._config, self._seed = config, seed
        self._sampler = next(name for name in open_pi_zero.SAMPLERS if config.name.endswith(name))
        device = data.state.device
        states = data.state.cpu().numpy().astype(np.float64)
        if config.observation == "widowx":
            states = np.stack([bridge_state(state) for state in states])
        chunks = data.actions.cpu().numpy().astype(np.float64)[..., : config.action_dims]
        chunks = np.stack([model_actions(chunk, config.observation) for chunk in chunks])
        valid = data.valid.cpu().numpy()
        # All of the expert's actions are meant: their extremes stand for the quantiles.
        self._stats = {"state": _range(states, 0.01), "actions": _range(chunks[valid], 0.0)}
        normal = self._stats["actions"].normalize(chunks, use_quantiles=True)
        normal[..., GRIPPER] = chunks[..., GRIPPER]
        self._chunks = torch.tensor(normal.clip(-1, 1), dtype=torch.float32, device=device)
        normal = self._stats["state"].normalize(states, use_quantiles=True)
        self._states = torch.tensor(normal.clip(-1, 1), dtype=torch.float32, device=device)
        self._times = torch.Generator(device)

    def new_model(self) -> open_pi_zero_model.OpenPiZero:
        """Return a model with random weights."""
        return open_pi_zero_model.OpenPiZero(self._config.model)

    def states(self, rows: Tensor) -> Tensor:
        """Return normalised states (B, state_dim)."""
        return self._states[rows]

    def chunks(self, rows: Tensor) -> Tensor:
        """Return normalised action chunks (B, horizon, 7), the gripper's number as it is."""
        return self._chunks[rows]

    def times(self, number: int, step: int, generator: torch.Generator) -> Tensor:
        """Draw flow times of a step from a seed of its own."""
        self._times.manual_seed(self._seed * 1_000_003 + step)
        times = open_pi_zero_model.sample_time(number, self._sampler, self._times, self._times.device)
        # Uniform times ascend. Neighbours are draws for one observation, which should not have all the same time.
        return times.view(_divisor(number), -1).t().reshape(-1)

    def save(self, folder: Path, model: open_pi_zero_model.OpenPiZero, tokenizer: Tokenizer) -> None:
        """Write a policy's folder in float16: half the bytes, and eleven bits are more than training settles."""
        save_open_pi_zero(folder, model.half(), self._config, self._stats, tokenizer)


def _divisor(number: int) -> int:
    """Return into how many rows of equal length to fold so many times: four, where they can be."""
    return next(rows for rows in (4, 2, 1) if number % rows == 0)


def _range(values: np.ndarray, share: float) -> NormStats:
    """Return statistics of (N, numbers): a share lies beyond each quantile, and ``_LEAST_RANGE`` between them."""
    low, high = np.quantile(values, (share, 1 - share), axis=0)
    wider = np.maximum(_LEAST_RANGE - (high - low), 0) / 2
    return NormStats(values.mean(0), values.std(0), low - wider, high + wider, epsilon=1e-8)
