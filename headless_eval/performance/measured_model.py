"""The models to measure: a policy's, or one of random weights that needs no checkpoint."""

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from headless_eval.config.model import ModelSettings
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.performance.components import component_of
from headless_eval.performance.costs import Costs, count
from headless_eval.performance.measured_policy import MeasuredPolicy, measure_whole
from headless_eval.performance.random_weights import draw_weights
from headless_eval.performance.workload import Inputs, Workload, random_inputs
from headless_eval.policies.device import check_device
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import (
    BUNDLED,
    check_engine,
    find_claimant,
    find_family,
    find_policy,
    float32_only,
)


@dataclass(frozen=True)
class MeasuredModel:
    """A model to measure, which is loaded once per type of its weights.

    Args:
        name: the model's name.
        family: the family of policies that builds the model.
        config: the model's sizes.
        folder: the folder of the weights; None for random weights.
        options: options of loading the weights.
    """

    name: str
    family: Any
    config: Any
    folder: Path | None = None
    options: LoadOptions = field(default_factory=LoadOptions)

    in_torch = True

    @property
    def engines(self) -> tuple[str, ...]:
        """Return the engines that can be measured; empty: those of the command's flags."""
        return ()

    @property
    def num_steps(self) -> int:
        """Return the number of flow steps."""
        return int(self.config.model.num_steps)

    @property
    def sizes(self) -> str:
        """Return the sizes of an inference in words."""
        return f"horizon {self.config.model.action_horizon}, {self.num_steps} flow steps"

    def component(self, module: str) -> str:
        """Return the name of a module's component; ``other`` for the model's own code."""
        return component_of(module)

    def inputs(self, workload: Workload) -> Inputs:
        """Draw the model's inputs; see ``random_inputs``."""
        return random_inputs(self.config.model, workload)

    @property
    def views(self) -> int:
        """Return the number of the robot's cameras."""
        return sum(view in self.config.robot.images for view in self.config.views)

    @property
    def parameters(self) -> int:
        """Return the number of the model's parameters."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.family.new_model(self.config).parameters())

    def costs(self, workload: Workload) -> Costs:
        """Return the costs of the model on a workload, counted without weights."""
        return costs_of(self.family, self.config, workload)

    def load(
        self, device: str, dtype: str = "float32", engine: str = "eager", execution: str = "simulated"
    ) -> LocalPolicy:
        """Return the policy at float32; every call loads the same weights, rounded to ``dtype``.

        Raises:
            UserError: the checkpoint, the engine or the execution cannot be used on this machine.
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
    """Return the costs of a configuration's model on a workload; no weights are needed.

    Args:
        family: the configuration's family.
        config: the policy's configuration.
        workload: the model's inputs.
    """
    with torch.device("meta"):
        model = family.new_model(config)
    arguments = random_inputs(config.model, workload).arguments(model.device)
    return count(model, lambda: model.sample_actions(*arguments))


def measured_model_of(
    settings: ModelSettings, random_weights: bool = False
) -> MeasuredModel | MeasuredPolicy:
    """Return the model that a command's settings name; a policy whose family does not call its model, as a whole.

    Args:
        settings: the command's settings.
        random_weights: draw the weights; only the configuration is read.

    Raises:
        UserError: the policy or the configuration does not exist, or the flags contradict each other.
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
    if checkpoint is None and float32_only(policy):
        raise UserError(
            f"the policy {policy!r} computes nothing that could be measured: name one with a model"
        )
    options = LoadOptions.of(settings, dtype="float32")  # profile's dtype is a precision
    if checkpoint is None and not random_weights and find_claimant(policy) is not None:
        return measure_whole(policy, {"policy": policy}, _as_it_is(options))
    folder, name = Path(), policy
    if not random_weights or (config is None and config_file is None):
        folder, name = find_policy(policy, checkpoint)
    family = find_family(folder, config, config_file)
    if not hasattr(family, "new_model"):
        if random_weights:
            raise UserError(
                f"the policy {name} cannot be made with random weights: leave out --random-weights"
            )
        return measure_whole(name, {"checkpoint": folder}, _as_it_is(options))
    found = family.read_config(folder, config, config_file, settings.robot)
    if settings.flow_steps is not None:
        found = replace(found, model=replace(found.model, num_steps=settings.flow_steps))
    if random_weights:
        return MeasuredModel(f"{found.name} with random weights", family, found, options=options)
    return MeasuredModel(name, family, found, folder, options)


def _as_it_is(options: LoadOptions) -> LoadOptions:
    """Return options without engine and execution, which each measurement names."""
    return replace(options, engine="auto", execution="simulated")


def prompt_tokens(wanted: int | None, measured: MeasuredModel | MeasuredPolicy) -> int:
    """Return the number of tokens of a prompt; by default 64, or the model's maximum if it is lower.

    Returns:
        0 for a policy that is measured as a whole, which makes tokens of the robot's prompt itself.

    Raises:
        UserError: the number is above the model's maximum, or the policy is measured as a whole.
    """
    if isinstance(measured, MeasuredPolicy):
        if wanted is not None:
            raise UserError(
                f"the policy {measured.name} is given its robot's prompt: leave out --prompt-tokens"
            )
        return 0
    slots = measured.config.model.max_token_len
    tokens = min(64, slots) if wanted is None else wanted
    if not 0 < tokens <= slots:
        raise UserError(f"--prompt-tokens is {tokens}; the model of {measured.name} has 1 to {slots} slots")
    return tokens
