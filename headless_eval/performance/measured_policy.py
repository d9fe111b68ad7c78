"""Policies that are measured as a whole, from observations to actions, whatever is between.

So are measured the policies of families that do not say how their model is called: those of users and of LeRobot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from headless_eval.contracts.robots import Robot
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.performance.components import Component, component_of, components_of
from headless_eval.performance.costs import Costs, count
from headless_eval.performance.workload import Workload, coarse_picture
from headless_eval.policies.options import LoadOptions


@dataclass(frozen=True)
class Observations:
    """Observations with their noise, as a policy is asked for replies.

    Args:
        observations: with the keys of the policy's robot.
        noise: float32 (number, *noise_shape); None for a policy that takes no noise.
    """

    observations: Sequence[dict[str, Any]]
    noise: np.ndarray | None

    def __len__(self) -> int:
        return len(self.observations)

    def rows(self, start: int, stop: int) -> "Observations":
        """Return a part of the observations."""
        noise = None if self.noise is None else self.noise[start:stop]
        return Observations(self.observations[start:stop], noise)

    def arguments(self, device: torch.device) -> "Observations":
        """Return the observations themselves: a policy brings them to its device."""
        return self


@dataclass(frozen=True)
class MeasuredPolicy:
    """A policy to measure as a whole; it has the names of ``MeasuredModel`` that commands use.

    Args:
        name: the policy's name.
        where: ``policy`` or ``checkpoint``, as ``load_policy`` takes it.
        options: options of loading the policy.
        robot: the robot whose observations it takes.
        image_size: side of its pictures in pixels.
        noise_shape: shape of the noise of one observation; None: it takes no noise.
        parameters: the number of its model's parameters.
        in_torch: whether its model is one of torch's; costs are not known of others, nor times by module.
        components: the components of its model.
        sizes: number and dimensions of the actions of a chunk, in words.
    """

    name: str
    where: Mapping[str, Any]
    options: LoadOptions
    robot: Robot
    image_size: int
    noise_shape: tuple[int, ...] | None
    parameters: int
    in_torch: bool
    components: tuple[Component, ...]
    sizes: str

    num_steps = 1
    engines = ("eager",)
    config = None

    @property
    def views(self) -> int:
        """Return the number of the robot's cameras."""
        return len(self.robot.cameras)

    def component(self, module: str) -> str:
        """Return the name of a module's component."""
        return component_of(module, self.components)

    def inputs(self, workload: Workload) -> Observations:
        """Draw observations, coarse random pictures and a random state; one is the same for every size of a batch.

        Raises:
            UserError: the number of views is not that of the robot's cameras.
        """
        if workload.views != self.views:
            raise UserError(
                f"the policy {self.name} is shown its robot's {self.views} cameras: leave out --views"
            )
        return draw(self.robot, self.image_size, self.noise_shape, workload.batch)

    def costs(self, workload: Workload) -> Costs | None:
        """Return the costs of the model's modules, counted in one inference on the CPU; None for a model of JAX's."""
        with self.load("cpu") as policy:
            if policy.module is None:
                return None
            return count(policy.module, lambda: policy.sample(self.inputs(workload)))

    def load(
        self, device: str, dtype: str = "float32", engine: str = "eager", execution: str = "simulated"
    ) -> LocalPolicy:
        """Return the policy at float32.

        Raises:
            UserError: the policy cannot be loaded so.
        """
        if execution != "simulated" or engine not in ("eager", "auto"):
            raise UserError("policies that are measured as a whole have one engine and simulate precisions")
        return load_policy(**self.where, **asdict(replace(self.options, device=device, dtype=dtype)))


def measure_whole(name: str, where: Mapping[str, Any], options: LoadOptions) -> MeasuredPolicy:
    """Return a policy to measure as a whole; it is loaded once for what its code alone knows.

    Raises:
        UserError: the policy cannot be loaded, holds no model, does not say its robot, or cannot act on what
            its robot observes.
    """
    with load_policy(**where, **asdict(options)) as policy:
        if not policy.has_model:
            raise UserError(
                f"the policy {name} holds no model, of torch or of JAX: there is nothing that could be measured"
            )
        robot = policy.declared.robot
        if not isinstance(robot, Robot):
            raise UserError(f"the policy {name} does not say what it observes: give it the attribute robot")
        try:
            chunk = policy.sample(draw(robot, policy.image_size, policy.noise_shape, 1))[0]
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"the policy {name} cannot act on observations of the robot {robot} ({type(error).__name__}: {error})"
            ) from error
        return MeasuredPolicy(
            name,
            where,
            options,
            robot,
            policy.image_size,
            policy.noise_shape,
            sum(policy.module_sizes.values()),
            policy.module is not None,
            components_of(policy.module_sizes),
            f"{len(chunk)} actions of {chunk.shape[1]} dimensions",
        )


def draw(
    robot: Robot, image_size: int, noise_shape: tuple[int, ...] | None, number: int, seed: int = 0
) -> Observations:
    """Draw observations of a robot with their noise; observation ``i`` is the same for every number."""
    observations, noises = [], []
    for index in range(number):
        random = np.random.default_rng([seed, index])
        pictures = {camera.key: coarse_picture(image_size, random) for camera in robot.cameras}
        state = {group.key: random.standard_normal(group.dims, np.float32) for group in robot.state}
        observations.append({**pictures, **state, "prompt": robot.prompt})
        noises.append(None if noise_shape is None else random.standard_normal(noise_shape, np.float32))
    return Observations(observations, None if noise_shape is None else np.stack(noises))  # type: ignore[arg-type]
