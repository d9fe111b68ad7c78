"""The policy of commands that simulate a suite: by default the suite's own, where one is bundled."""

from dataclasses import dataclass
from typing import Annotated

from headless_eval.config.model import PolicyChoice
from headless_eval.config.simulation import SimulationSettings
from headless_eval.policies.registry import DEFAULT, default_policy
from headless_eval.shared.flags import flag


@dataclass(frozen=True, kw_only=True)
class SuitePolicy(SimulationSettings, PolicyChoice):
    """The choice of a policy for a suite."""

    policy: Annotated[str, flag("POLICY", f"{DEFAULT}, or the suite's own", free=True)] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.policy:
            # A checkpoint stands instead of a policy.
            policy = default_policy(self.suite) if self.checkpoint is None else DEFAULT
            object.__setattr__(self, "policy", policy)
