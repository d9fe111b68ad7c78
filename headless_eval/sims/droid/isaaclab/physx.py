"""PhysX behind Isaac Lab: its stepping, and what the robot's USD file says to Newton alone.

The same for both ways to have PhysX: the library ovphysx, and Isaac Sim.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from isaaclab.scene import InteractiveScene
from isaaclab.sim import SimulationContext
from isaaclab.sim.spawners.from_files import spawn_from_usd
from isaaclab_ov.physics import OvPhysxCfg, OvPhysxManager
from pxr import Sdf, Usd, UsdPhysics, UsdShade

from headless_eval.sims.droid.tabletop import CONTROL_HZ


class PhysxStepper:
    """Steps the physics of all environments by one control step.

    Args:
        sim: the simulation, after its reset.
        scene: its scene.
    """

    def __init__(self, sim: SimulationContext, scene: InteractiveScene):
        self._sim, self._scene = sim, scene
        self._steps = round(1 / (CONTROL_HZ * sim.cfg.dt))
        if isinstance(sim.cfg.physics, OvPhysxCfg) and str(sim.device) == "cpu":
            enter_in_order()
        self._state = _state_of(scene)
        self._read()

    def step(self, waiting: Sequence[int] = ()) -> None:
        """Advance all environments but those that wait.

        Those return to where they were; what PhysX remembers of their contacts is not restored, so that an episode
        that waited goes on a little differently.
        """
        rows = torch.tensor(list(waiting), dtype=torch.int32, device=self._sim.device)
        before = [values[rows.long()].clone() for values in self._read()] if waiting else []
        for _ in range(self._steps):
            self._scene.write_data_to_sim()
            self._sim.step(render=False)
            self._scene.update(self._sim.cfg.dt)
        self._read()
        for part, values in zip(self._state, before, strict=False):
            part.write(values, rows)

    def _read(self) -> list[torch.Tensor]:
        """Return the state of all environments, and bring Isaac Lab's copies of it up to date.

        It takes a copy as up to date once any environment of it is written: the others must be read before.
        """
        return [part.read() for part in self._state]


@dataclass(frozen=True)
class _Part:
    """A part of the environments' state: what reads all of it, and what writes the rows of some environments."""

    read: Callable[[], torch.Tensor]
    write: Callable[[torch.Tensor, torch.Tensor], None]


def _state_of(scene: InteractiveScene) -> list[_Part]:
    """Return the parts of a scene's state, in the order in which to write them.

    ``InteractiveScene.get_state`` and ``reset_to`` would not do: they leave out collections of bodies, and set the
    joints' velocity targets, which stay set in the episodes that follow.
    """
    parts = []
    for robot in scene.articulations.values():
        parts += [_part(robot, "joint_pos", "joint_position", "position")]
        parts += [_part(robot, "joint_vel", "joint_velocity", "velocity")]
    for name, bodies in scene.rigid_object_collections.items():
        if name == "fixed":  # a step does not change it, and they have no velocities to write
            continue
        parts += [_part(bodies, "body_link_pose_w", "body_link_pose", "body_poses")]
        parts += [_part(bodies, "body_com_vel_w", "body_com_velocity", "body_velocities")]
    for body in scene.rigid_objects.values():
        parts += [_part(body, "root_link_pose_w", "root_link_pose", "root_pose")]
        parts += [_part(body, "root_com_vel_w", "root_com_velocity", "root_velocity")]
    return parts


def _part(asset: Any, data: str, writer: str, argument: str) -> _Part:
    write = getattr(asset, f"write_{writer}_to_sim_index")
    return _Part(
        lambda: getattr(asset.data, data).torch,
        lambda values, rows: write(**{argument: values}, env_ids=rows),
    )


def enter_in_order() -> None:
    """Take ovphysx's bodies out of the simulation, and back in by name, in all environments alike.

    Of two bodies that touch PhysX takes that as the first which entered first, and rounds accordingly. By itself
    ovphysx lets them enter in the order of a hash table, which differs from environment to environment and changes
    with their number: an episode would depend on its slot. It still does, a little, where a body of several shapes
    is pushed or filled: their order within the body is the hash table's, too, and cannot be changed.
    """
    from ovphysx.types import SimObjectType
    from ovstage import PathDictionary

    physx = OvPhysxManager.get_physx_instance()
    with PathDictionary() as paths:
        with physx.read(SimObjectType.RIGID_BODY, ["disableSimulation"]) as bodies:
            names = {name for group in bodies.groups for name in _names(paths, group)}
        waiting = sorted(names)
        while True:
            with physx.write(SimObjectType.RIGID_BODY, "disableSimulation") as session:
                for group in session.groups:
                    out = [name in waiting for name in _names(paths, group)]
                    group.tensors[0].assign(np.array(out, np.uint8).reshape(group.tensors[0].shape))
                    session.commit(group)
            if not waiting:
                return
            waiting.pop(0)


def _names(paths: Any, group: Any) -> list[str]:
    """Return the paths of a group's bodies within their environments."""
    return [re.sub(r"^/World/envs/env_\d+", "", path) for path in paths.get_path_strings(group.prim_list)]


def spawn_robot(prim_path: str, cfg: Any, *args: Any, **kwargs: Any) -> Usd.Prim:
    """Spawn the robot from its USD file and tell PhysX of its coupled fingers, drives and pads."""
    prim = spawn_from_usd(prim_path, cfg, *args, **kwargs)
    couple_fingers(prim)
    add_drives(prim)
    harden_pads(prim)
    return prim


def couple_fingers(robot: Usd.Prim) -> int:
    """Write PhysX's mimic joints for those of Newton's below a prim; return how many there are."""
    count = 0
    for joint in Usd.PrimRange(robot):
        if not _follows(joint):
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
        leader = joint.GetRelationship("newton:mimicJoint")
        joint.CreateRelationship(f"{prefix}:referenceJoint").SetTargets(leader.GetTargets())
        count += 1
    return count


def add_drives(robot: Usd.Prim) -> int:
    """Give the revolute joints below a prim that follow no other a drive; return how many there are.

    PhysX moves no joint without one, and says nothing. Isaac Lab sets the gains later, from the actuators.
    """
    count = 0
    for joint in Usd.PrimRange(robot):
        if not joint.IsA(UsdPhysics.RevoluteJoint) or _follows(joint):
            continue
        drive = UsdPhysics.DriveAPI.Apply(joint, "angular")
        drive.CreateTypeAttr("force")
        drive.CreateStiffnessAttr(0.0)
        drive.CreateDampingAttr(0.0)
        count += 1
    return count


def harden_pads(robot: Usd.Prim) -> int:
    """Write the friction of the colliders below a prim that resist turning as PhysX reads it; return how many.

    MuJoCo resists turning about a contact's normal with a torque of the torsional coefficient times the force, PhysX
    with the sliding coefficient times a radius times the force. Of two materials MuJoCo takes that of higher priority,
    PhysX the mean, unless one asks for the larger coefficient.
    """
    count = 0
    for collider in Usd.PrimRange(robot):
        condim = collider.GetAttribute("mjc:condim")
        if not condim or condim.Get() < 4:
            continue
        material, _ = UsdShade.MaterialBindingAPI(collider).ComputeBoundMaterial("physics")
        material = material.GetPrim()
        sliding = material.GetAttribute("physics:dynamicFriction").Get()
        radius = material.GetAttribute("newton:torsionalFriction").Get() / sliding
        collider.AddAppliedSchema("PhysxCollisionAPI")
        for name in ("torsionalPatchRadius", "minTorsionalPatchRadius"):
            collider.CreateAttribute(f"physxCollision:{name}", Sdf.ValueTypeNames.Float).Set(radius)
        material.AddAppliedSchema("PhysxMaterialAPI")
        material.CreateAttribute("physxMaterial:frictionCombineMode", Sdf.ValueTypeNames.Token).Set("max")
        count += 1
    return count


def _follows(joint: Usd.Prim) -> bool:
    """Return whether this is a mimic joint, as Newton reads it."""
    leader = joint.GetRelationship("newton:mimicJoint")
    return bool(leader) and bool(leader.GetTargets())
