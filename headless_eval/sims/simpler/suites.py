"""The SimplerEnv suites and their settings; imports no simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from headless_eval.shared.flags import flag
from headless_eval.sims.registry import SUITES, SimulatorSettings, Suite


@dataclass(frozen=True, kw_only=True)
class SimplerSettings(SimulatorSettings):
    """Settings of the SimplerEnv suites."""

    sim: Annotated[str | None, flag("sapien", "sapien")] = None
    """Simulator."""

    simpler_assets: Annotated[Path | None, flag("DIR", "$SIMPLER_ASSETS", free=True)] = None
    """Folder of SimplerEnv's data files, or a clone of ManiSkill2_real2sim."""

    simpler_success: Literal["final", "any"] = "final"
    """Count success after the last step, or after any step."""


for _name, _robot, _summary in (
    (
        "simpler_bridge",
        "widowx",
        "SimplerEnv's 4 WidowX tasks; changes of the tool's pose and a gripper at 5 Hz",
    ),
    (
        "simpler_fractal",
        "google_robot",
        "SimplerEnv's 5 tasks (7 with the can's orientations) of Google's robot, 3 Hz",
    ),
):
    SUITES.add(
        _name,
        Suite(
            _name,
            _summary,
            tasks=f"headless_eval.sims.simpler.tasks:{_name.upper()}",
            simulators={"sapien": f"headless_eval.sims.simpler.backends:{_name}"},
            robot=_robot,
            settings=SimplerSettings,
        ),
    )
