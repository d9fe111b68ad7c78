"""The LIBERO suites and their settings; imports no simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from headless_eval.shared.flags import flag
from headless_eval.sims.gl import MujocoSettings
from headless_eval.sims.registry import SUITES, Suite

_SUMMARIES = {
    "spatial": "10 tasks: one bowl of two, told apart by where it is, onto the plate",
    "object": "10 tasks: one of ten groceries into the basket",
    "goal": "10 tasks: goals of several kinds in one scene",
    "10": "10 tasks of two goals each, the longest",
    "90": "90 short tasks in kitchens, living rooms and studies",
}


@dataclass(frozen=True, kw_only=True)
class LiberoSettings(MujocoSettings):
    """Settings of the LIBERO suites."""

    sim: Annotated[str | None, flag("mujoco", "mujoco")] = None
    """Simulator."""

    libero_assets: Annotated[Path | None, flag("DIR", "$LIBERO_ASSETS, then LIBERO's own", free=True)] = None
    """Folder of LIBERO's assets: meshes, textures, scenes."""


for _part, _summary in _SUMMARIES.items():
    SUITES.add(
        f"libero_{_part}",
        Suite(
            f"libero_{_part}",
            f"LIBERO, {_summary}; poses relative to the present one and a gripper at 20 Hz",
            tasks=f"headless_eval.sims.libero.tasks:LIBERO_{_part.upper()}",
            simulators={"mujoco": f"headless_eval.sims.libero.backends:libero_{_part}"},
            robot="libero",
            settings=LiberoSettings,
        ),
    )
