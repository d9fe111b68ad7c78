"""The settings of ``headless-eval check-plugin``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from headless_eval.config.model import DeviceSettings
from headless_eval.policies.options import ArgumentSettings
from headless_eval.shared.flags import flag


@dataclass(frozen=True, kw_only=True)
class CheckPluginConfig(DeviceSettings, ArgumentSettings):
    """Test whether a policy, a suite, a robot or a method of your own keeps what evaluations rely on.

    A policy: shapes, determinism, batches whose rows do not depend on each other, episodes kept apart by slot, exact
    restoration after a precision. A suite: tasks, observations, equal episodes from equal seeds, slots that do not
    depend on each other. A robot: groups and example. A method: exact restoration, equal results. Nothing is pickled.

    Examples:
      headless-eval check-plugin ./my_policy.py:MyPolicy --policy-args steps=16
      headless-eval check-plugin my_package:make_policy --suite libero_object
      headless-eval check-plugin my_package.suite:SUITE
      headless-eval check-plugin my-policy                  # a name that `list` shows

    Exit status: 0 everything holds; 1 something does not; 2 there is no such thing.
    """

    thing: Annotated[str, flag("THING", positional=True)]
    """module:attribute, ./file.py:attribute, or a name that `list` shows."""

    kind: Annotated[Literal["policy", "suite", "robot", "method"] | None, flag(default="what it is")] = None
    """What is tested: policy, suite, robot or method."""

    suite: Annotated[str | None, flag("SUITE", "random pictures and states of its robot")] = None
    """Suite whose observations a policy is shown."""
