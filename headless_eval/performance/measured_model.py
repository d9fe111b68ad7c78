"""The models to measure: a policy's, or one of random weights that needs no checkpoint."""

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from headless_eval.config.model import ModelSettings
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.performance.costs import Costs, count
from headless_eval.performance.random_weights import draw_weights
from headless_eval.performance.workload import Workload, random_inputs
from headless_eval.policies.baselines import BASELINES
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import (
    BUNDLED,
    LoadOptions,
    check_engine,
    find_family,
    find_policy,
)


@dataclass(frozen=True)
class MeasuredModel:
    """Where models come from.

    Args:
        name: what to call them.
        family: of policies, which makes them.
        config: their sizes.
        folder: of the weights; None: they are drawn.
        options: how the weights are loaded.
    """

    name: str
    family: Any
    config: Any
    folder: Path | None = None
    options: LoadOptions = field(default_factory=LoadOptions)

    @property
    def views(self) -> int:
        """Return how many cameras the robot has."""
        return sum(view in self.config.robot.images for view in self.config.views)

    @property
    def parameters(self) -> int:
        """Return how many parameters a model has."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.family.new_model(self.config).parameters())

    def costs(self, workload: Workload) -> Costs:
        """Return what the model costs on a workload, counted without weights."""
        return costs_of(self.family, self.config, workload)

    def load(
        self, device: str, dtype: str = "float32", engine: str = "eager", execution: str = "simulated"
    ) -> LocalPolicy:
        """Return the policy at float32; every call the same weights, rounded to ``dtype``.

        Raises:
            UserError: the checkpoint, the engine or the execution cannot be used here.
        """
        if self.folder is not None:
            here = {"device": device, "dtype": dtype, "engine": engine, "execution": execution}
            return load_policy(checkpoint=self.folder, **asdict(self.options) | here)
        check_device(device)
        check_engine(engine, execution)
        with torch.device("meta"):
            model = self.family.new_model(self.config)
        model = draw_weights(model, torch.device(device), getattr(torch, dtype))
        tokenizer = self.options.tokenizer or BUNDLED / "pi0-droid-tiny" / "tokenizer.model"
        policy = self.family.new_policy(model, self.config, tokenizer, engine, execution)
        return LocalPolicy(policy, self.name)


@lru_cache(maxsize=64)
def costs_of(family: Any, config: Any, workload: Workload) -> Costs:
    """Return what a model of a configuration's sizes costs on a workload; no weights are needed.

    Args:
        family: the configuration's.
        config: of the policy.
        workload: what the model is given.
    """
    with torch.device("meta"):
        model = family.new_model(config)
    arguments = random_inputs(config.model, workload).arguments(model.device)
    return count(model, lambda: model.sample_actions(*arguments))


def measured_model_of(settings: ModelSettings, random_weights: bool = False) -> MeasuredModel:
    """Return what a command's settings name.

    Args:
        settings: of the command.
        random_weights: draw the weights; only the configuration is read.

    Raises:
        UserError: there is no such policy or configuration, or the flags contradict each other.
    """
    policy, checkpoint, config, config_file = (
        settings.policy,
        settings.checkpoint,
        settings.config,
        settings.config_file,
    )
    if random_weights and checkpoint is not None:
        raise UserError("--random-weights and --checkpoint both given: choose one")
    if config is not None and checkpoint is None and not random_weights:
        raise UserError(
            f"--config {config} needs weights: add --checkpoint DIR, or --random-weights to draw them"
        )
    if checkpoint is None and policy in BASELINES:
        raise UserError(
            f"the policy {policy!r} computes nothing that could be measured: name one with a model"
        )
    folder, name = Path(), policy
    if not random_weights or (config is None and config_file is None):
        folder, name = find_policy(policy, checkpoint)
    family = find_family(folder, config, config_file)
    found = family.read_config(folder, config, config_file, settings.robot)
    if settings.flow_steps is not None:
        found = replace(found, model=replace(found.model, num_steps=settings.flow_steps))
    options = LoadOptions.of(settings, dtype="float32")  # profile's dtype is a precision
    if random_weights:
        return MeasuredModel(f"{found.name} with random weights", family, found, options=options)
    return MeasuredModel(name, family, found, folder, options)


def prompt_tokens(wanted: int | None, measured: MeasuredModel) -> int:
    """Return how many tokens a prompt has; by default 64, or as many as there are slots.

    Raises:
        UserError: there are not so many slots.
    """
    slots = measured.config.model.max_token_len
    tokens = min(64, slots) if wanted is None else wanted
    if not 0 < tokens <= slots:
        raise UserError(f"--prompt-tokens is {tokens}; the model of {measured.name} has 1 to {slots} slots")
    return tokens
