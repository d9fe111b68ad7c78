"""Settings of the simulation: suite, tasks, seed, slots and open-loop horizon."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from headless_eval.errors import UserError
from headless_eval.shared.flags import Settings, flag
from headless_eval.sims.registry import find_suite


@dataclass(frozen=True, kw_only=True)
class SimulationSettings(Settings):
    """The suite, its tasks and its simulator.

    Raises:
        UserError: the suite does not exist, or its simulator does not take a setting.
    """

    GROUP: ClassVar[str] = "Tasks and episodes"

    suite: Annotated[str, flag("SUITE")] = "droid"
    """Suite that `list` names, or your own: module:attribute, file.py:attribute, folder."""

    tasks: Annotated[tuple[str, ...], flag("TASK ...", "all", "--scenes")] = ()
    """Tasks by number or key, such as 1 or scene_1."""

    seed: Annotated[int, flag(least=0, most=2**63 - 1)] = 7
    """Fixes initial states and noise, with the task and the episode's index."""

    slots: Annotated[int, flag(least=1, free=True)] = 4
    """Episodes at once; changes the speed, never a result."""

    open_loop_horizon: Annotated[int | None, flag("STEPS", "the policy's", least=1)] = None
    """Actions executed of each chunk before the policy replans."""

    simulator: Annotated[Any, flag(part=True)] = None
    """Settings of the suite's simulator; by default the suite's own defaults."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_commas(self, "tasks")
        suite = find_suite(self.suite)
        if self.simulator is None:
            object.__setattr__(self, "simulator", suite.settings())
        suite.check(self.simulator)


def parts(suite: str) -> dict[str, type]:
    """Return the parts of ``SimulationSettings``, as ``shared.flags.build`` takes them.

    Raises:
        UserError: the suite does not exist.
    """
    return {"simulator": find_suite(suite).settings}


def refuse_commas(settings: Any, *names: str) -> None:
    """Refuse lists whose values are separated by commas; commas within brackets separate arguments.

    Raises:
        UserError: a value holds a comma.
    """
    for name in names:
        for value in getattr(settings, name):
            if "," in re.sub(r"\(.*\)", "", value, flags=re.DOTALL):
                raise UserError(f"--{name} {value}: separate them by spaces, not by commas")
