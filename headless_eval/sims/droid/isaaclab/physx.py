"""PhysX behind Isaac Lab: its stepping, and what the robot's USD file says to Newton alone."""

import math
from collections.abc import Sequence
from typing import Any

from isaaclab.scene import InteractiveScene
from isaaclab.sim import SimulationContext
from isaaclab.sim.spawners.from_files import spawn_from_usd
from pxr import Sdf, Usd

from headless_eval.sims.droid.scenes import CONTROL_HZ


class PhysxStepper:
    """Steps the physics of all environments by one control step.

    Args:
        sim: the simulation, after its reset.
        scene: its scene.
    """

    def __init__(self, sim: SimulationContext, scene: InteractiveScene):
        self._sim, self._scene = sim, scene
        self._steps = round(1 / (CONTROL_HZ * sim.cfg.dt))

    def step(self, waiting: Sequence[int] = ()) -> None:
        """Advance all environments but those that wait."""
        before = self._scene.get_state() if waiting else None
        for _ in range(self._steps):
            self._scene.write_data_to_sim()
            self._sim.step(render=False)
            self._scene.update(self._sim.cfg.dt)
        if before is not None:
            rows = list(waiting)
            kept = {
                kind: {
                    name: {key: value[rows] for key, value in state.items()} for name, state in assets.items()
                }
                for kind, assets in before.items()
            }
            self._scene.reset_to(kept, env_ids=rows)


def spawn_robot(prim_path: str, cfg: Any, *args: Any, **kwargs: Any) -> Usd.Prim:
    """Spawn the robot from its USD file and couple its fingers as PhysX wants to be told."""
    prim = spawn_from_usd(prim_path, cfg, *args, **kwargs)
    couple_fingers(prim)
    return prim


def couple_fingers(robot: Usd.Prim) -> int:
    """Write PhysX's mimic joints for those of Newton's below a prim; return how many there are."""
    count = 0
    for joint in Usd.PrimRange(robot):
        leader = joint.GetRelationship("newton:mimicJoint")
        if not leader or not leader.GetTargets():
            continue
        axis = {"X": "rotX", "Y": "rotY", "Z": "rotZ"}[joint.GetAttribute("physics:axis").Get()]
        ratio = joint.GetAttribute("newton:mimicCoef1").Get()
        joint.AddAppliedSchema(f"PhysxMimicJointAPI:{axis}")
        prefix = f"physxMimicJoint:{axis}"
        # PhysX keeps q + gearing * leader's q + offset = 0.
        gearing = -1.0 if ratio is None or math.isinf(ratio) else -float(ratio)
        joint.CreateAttribute(f"{prefix}:gearing", Sdf.ValueTypeNames.Float).Set(gearing)
        joint.CreateAttribute(f"{prefix}:offset", Sdf.ValueTypeNames.Float).Set(0.0)
        joint.CreateAttribute(f"{prefix}:referenceJointAxis", Sdf.ValueTypeNames.Token).Set(axis)
        joint.CreateRelationship(f"{prefix}:referenceJoint").SetTargets(leader.GetTargets())
        count += 1
    return count
