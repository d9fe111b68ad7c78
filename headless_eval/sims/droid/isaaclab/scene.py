"""Scenes as an Isaac Lab environment: what they and the robot's USD file say, in its terms.

Every environment holds the bodies of all scenes of a run, so that a slot can run any task; those of the others are far
above, where they touch nothing: bodies that move fall freely, fixed ones stay. Quaternions are Isaac Lab's,
(x, y, z, w).
"""

import math
from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any

import isaaclab.sim as sim_utils
import numpy as np
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg, RigidObjectCollectionCfg
from isaaclab.physics import PhysicsCfg
from isaaclab.renderers import RendererCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim import SimulationCfg
from isaaclab.utils import configclass
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg
from isaaclab_newton.renderers import NewtonWarpRendererCfg
from isaaclab_ov.physics import OvPhysxCfg
from isaaclab_physx.physics import PhysxCfg
from isaaclab_physx.renderers import IsaacRtxRendererCfg
from isaaclab_physx.sim.schemas import PhysxRigidBodyCfg
from scipy.spatial.transform import Rotation

from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.geometry import look_at
from headless_eval.sims.droid.isaaclab.robot_usd import USD as ROBOT
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import (
    CONTROL_HZ,
    EXTERIOR_CAMERA,
    HOME_JOINTS,
    LIGHT_DIRECTION,
    SKY,
    WRIST_CAMERA,
    Camera,
    Scene,
)
from headless_eval.sims.isaaclab_app import needs_kit

ARM_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
GRIPPER_JOINT = "finger_joint"
GRIPPER_LINK = "robotiq_base"
TCP = (0.0, 0.0, 0.135)  # of the gripper's link: the midpoint between the pads

# Steps of the physics engine in a control step: as in MuJoCo, and as in the published PhysX environment.
NEWTON_SUBSTEPS, PHYSX_DECIMATION = 16, 8

ROBOT_PRIM = "Robot"
_ROBOT = "{ENV_REGEX_NS}/" + ROBOT_PRIM
_ARM_LINKS = "/".join(f"panda_link{i}" for i in range(8))
_CAMERA_PARENTS = {None: "{ENV_REGEX_NS}", GRIPPER_LINK: f"{_ROBOT}/Geometry/{_ARM_LINKS}/{GRIPPER_LINK}"}
_APERTURE = 20.955  # millimetres; only its ratio to the focal length counts
_CLIPPING = (0.01, 20.0)  # metres
_ENV_SPACING = 3.0  # metres, where environments must not see each other

_HIDEAWAY, _HIDEAWAY_SPACING = 6000.0, 1.0  # metres: after half a minute of falling they are still 1500 m up


def hideaway(index: int) -> tuple[float, float, float]:
    """Return where the body of that index starts while its scene is not on: it falls, or stays, and touches nothing."""
    return (index * _HIDEAWAY_SPACING, 0.0, _HIDEAWAY)


COLLECTIONS = ("free", "fixed")
"""The names of the scene's collections of bodies."""


def population(scenes: Sequence[Scene]) -> dict[str, Body]:
    """Return the bodies of these scenes by a name of each one's own, fixed ones last.

    Equal bodies of several scenes are one.
    """
    found: dict[str, Body] = {}
    bodies = dict.fromkeys(body for scene in scenes for body in scene.bodies)
    for body in sorted(bodies, key=lambda body: body.fixed):
        alike = sum(other.name == body.name for other in found.values())
        found[f"{body.name}_{alike + 1}" if alike else body.name] = body
    return found


class Sealed:
    """A body in a configuration: Isaac Lab sets the fields of every dataclass there, which a body does not allow."""

    __slots__ = ("body",)

    def __init__(self, body: Body):
        self.body = body


@configclass
class BodyCfg(sim_utils.SpawnerCfg):
    """Spawns a body; None spawns the table and the floor."""

    # By name: it needs USD, which must not be loaded before Isaac Sim is.
    func = "headless_eval.sims.droid.isaaclab.bodies:spawn_body"
    sealed: Any = None  # Sealed


@configclass
class PhysxRobotCfg(sim_utils.UsdFileCfg):
    """Spawns the robot as PhysX needs it told."""

    func = "headless_eval.sims.droid.isaaclab.physx:spawn_robot"


@configclass
class DroidSceneCfg(InteractiveSceneCfg):
    """Table, robot, the bodies of the scenes, lights and cameras; ``droid_scene`` completes it."""

    surroundings = AssetBaseCfg(prim_path="{ENV_REGEX_NS}/Surroundings", spawn=BodyCfg())
    robot = ArticulationCfg(
        prim_path=_ROBOT,
        spawn=sim_utils.UsdFileCfg(usd_path=str(ROBOT)),
        init_state=ArticulationCfg.InitialStateCfg(
            joint_pos=dict(zip(ARM_JOINTS, HOME_JOINTS, strict=True)) | {"finger_joint": 0.0}
        ),
        # The gains and limits of the MJCF's actuators.
        actuators={
            "upper_arm": ImplicitActuatorCfg(
                joint_names_expr=["panda_joint[1-4]"], stiffness=400.0, damping=40.0, effort_limit_sim=87.0
            ),
            "forearm": ImplicitActuatorCfg(
                joint_names_expr=["panda_joint[5-7]"], stiffness=100.0, damping=10.0, effort_limit_sim=12.0
            ),
            "gripper": ImplicitActuatorCfg(
                joint_names_expr=["finger_joint"], stiffness=20.0, damping=2.0, effort_limit_sim=2.0
            ),
        },
    )
    # Collections of bodies, where there are any: in one that has both, ovphysx mixes up their velocities.
    free: Any = None
    fixed: Any = None


@configclass
class DroidEnvCfg:
    """The environment: engine with its time steps, and scene."""

    sim: Any = MISSING  # SimulationCfg
    scene: Any = MISSING  # DroidSceneCfg


def droid_env(
    num_envs: int,
    physics: str,
    renderer: str,
    device: str,
    image_size: int,
    frame_size: int,
    scenes: Sequence[Scene] = SCENES,
) -> DroidEnvCfg:
    """Return the environment configuration.

    Args:
        num_envs: environments that step together.
        physics: ``newton`` or ``physx``.
        renderer: ``newton`` or ``rtx``.
        device: ``cpu`` or ``cuda``.
        image_size: side of the policy's pictures in pixels.
        frame_size: side of each camera's picture in a video frame.
        scenes: whose bodies there are.
    """
    env = DroidEnvCfg()
    env.sim = simulation(physics, renderer, device)
    env.scene = droid_scene(num_envs, physics, renderer, image_size, frame_size, scenes)
    return env


def droid_scene(
    num_envs: int, physics: str, renderer: str, image_size: int, frame_size: int, scenes: Sequence[Scene]
) -> DroidSceneCfg:
    """Return the scene of ``num_envs`` environments, for this physics engine and renderer."""
    spacing = env_spacing(renderer, _ENV_SPACING)
    scene = DroidSceneCfg(num_envs=num_envs, env_spacing=spacing, lazy_sensor_update=True)
    there = population(scenes)
    spawned = {
        name: RigidObjectCfg(
            # The prefix tells them from the robot, and the collections from each other.
            prim_path="{ENV_REGEX_NS}/" + ("fixed_" if body.fixed else "body_") + name,
            spawn=BodyCfg(sealed=Sealed(body)),
            init_state=RigidObjectCfg.InitialStateCfg(pos=hideaway(index)),
        )
        for index, (name, body) in enumerate(there.items())
    }
    for collection, fixed in zip(COLLECTIONS, (False, True), strict=True):
        chosen = {name: spawned[name] for name, body in there.items() if body.fixed == fixed}
        if chosen:
            setattr(scene, collection, RigidObjectCollectionCfg(rigid_objects=chosen))
    if physics == "physx":
        scene.robot.spawn = PhysxRobotCfg(
            usd_path=str(ROBOT), rigid_props={"/.*": [PhysxRigidBodyCfg(disable_gravity=True)]}
        )
    if renderer == "rtx":
        scene.sun = AssetBaseCfg(
            prim_path="/World/Sun",
            spawn=sim_utils.DistantLightCfg(intensity=1500.0),
            init_state=AssetBaseCfg.InitialStateCfg(rot=_light_rotation()),
        )
        scene.sky = AssetBaseCfg(
            prim_path="/World/Sky",
            spawn=sim_utils.DomeLightCfg(intensity=700.0, color=SKY[0]),
        )
    for camera in (EXTERIOR_CAMERA, WRIST_CAMERA):
        setattr(scene, camera.name, camera_cfg(camera, renderer, image_size))
        if frame_size != image_size:
            setattr(scene, f"{camera.name}_frame", camera_cfg(camera, renderer, frame_size, "_frame"))
    return scene


def env_spacing(renderer: str, metres: float) -> float:
    """Return the distance between environments: ``metres`` where a camera would see its neighbours, else 0.

    Bodies of different environments do not collide, and Newton's renderer draws each alone. With all of them at the
    origin, positions are rounded alike in every environment.
    """
    return metres if renderer == "rtx" else 0.0


def camera_cfg(camera: Camera, renderer: str, size: int, suffix: str = "") -> CameraCfg:
    """Return a camera of the scene, with square pictures of ``size`` pixels."""
    axes = look_at(np.array(camera.pos), np.array(camera.target), np.array(camera.up))
    return CameraCfg(
        prim_path=f"{_CAMERA_PARENTS[camera.parent]}/{camera.name}{suffix}",
        width=size,
        height=size,
        data_types=["rgb"],
        update_latest_camera_pose=True,
        spawn=sim_utils.PinholeCameraCfg(
            focal_length=_APERTURE / 2 / math.tan(math.radians(camera.fovy) / 2),
            horizontal_aperture=_APERTURE,
            clipping_range=_CLIPPING,
        ),
        offset=CameraCfg.OffsetCfg(
            pos=camera.pos, rot=tuple(Rotation.from_matrix(axes).as_quat()), convention="opengl"
        ),
        renderer_cfg=renderer_cfg(renderer),
        background_color=tuple((top + low) / 2 for top, low in zip(*SKY, strict=True)),
    )


def renderer_cfg(renderer: str) -> RendererCfg:
    """Return the renderer of that name."""
    if renderer == "rtx":
        return IsaacRtxRendererCfg()
    return NewtonWarpRendererCfg(create_default_light=False)


def simulation(physics: str, renderer: str, device: str) -> SimulationCfg:
    """Return time steps and physics engine; a step of Newton's is a control step, with its substeps inside."""
    steps = PHYSX_DECIMATION if physics == "physx" else 1
    return SimulationCfg(
        dt=1 / (CONTROL_HZ * steps),
        render_interval=steps,
        device=device,
        physics=physics_cfg(physics, renderer, device),
        save_logs_to_file=False,
    )


def physics_cfg(physics: str, renderer: str, device: str) -> PhysicsCfg:
    """Return the physics engine of that name; Newton with the settings of MuJoCo's model.

    PhysX is Isaac Sim's where the renderer needs Isaac Sim's app, otherwise the library ovphysx.
    """
    if physics == "physx":
        engine = PhysxCfg if needs_kit(renderer) else OvPhysxCfg
        return engine(enable_enhanced_determinism=True)
    return NewtonCfg(
        num_substeps=NEWTON_SUBSTEPS,
        # On a CPU everything repeats anyway.
        deterministic_mode="not_guaranteed" if device == "cpu" else "run_to_run",
        solver_cfg=MJWarpSolverCfg(
            njmax=400,
            nconmax=120,
            integrator="implicitfast",
            cone="elliptic",
            impratio=10.0,
            iterations=100,
            ls_iterations=50,
            tolerance=1e-8,
            enable_multiccd=True,  # as MuJoCo does: on one point alone a cube rocks in the bowl
            disable_sensors=True,
        ),
    )


def _light_rotation() -> tuple[float, ...]:
    """Return the rotation of a light, which shines along -z, into its direction."""
    rotation, _ = Rotation.align_vectors([LIGHT_DIRECTION], [(0.0, 0.0, -1.0)])
    return tuple(rotation.as_quat())
