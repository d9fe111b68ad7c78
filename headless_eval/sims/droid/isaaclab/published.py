"""The published DROID scenes in Isaac Lab: scene1.usd to scene3.usd and their robot, from a folder as users have it.

One scene at a time, as its file places things: every episode starts alike, and differs by the policy's noise alone.
What counts as inside is the container's bounding box, as the file has it, less a margin.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import isaaclab.sim as sim_utils
import numpy as np
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.utils import configclass
from isaaclab_physx.sim.schemas import PhysxArticulationCfg, PhysxRigidBodyCfg
from scipy.spatial.transform import Rotation

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.sims.droid.bodies import Body, Cuboid
from headless_eval.sims.droid.isaaclab import scene as environment
from headless_eval.sims.droid.isaaclab.simulator import DroidIsaacLab, numpy_of
from headless_eval.sims.droid.perturbation import Staging
from headless_eval.sims.droid.scenes import SCENES, ContainerScene
from headless_eval.sims.droid.tabletop import HOME_JOINTS, InitialState, Scene, Situation
from headless_eval.sims.isaaclab_app import IsaacApp
from headless_eval.sims.perturbation import axis_of

ROBOT_FILE = "franka_robotiq_2f_85_flattened.usd"
BODIES = {
    1: ("rubiks_cube", "_24_bowl"),
    2: ("_10_potted_meat_can", "_25_mug"),
    3: ("_11_banana", "small_KLT_visual_collision"),
}
EXTERNAL_CAMERA, WRIST_CAMERA = "external_cam", "wrist_cam"
WIDTH, HEIGHT = 1280, 720

_SPACING = 7.0  # metres between environments
_INSIDE = 0.9  # of the container's bounding box, to leave out its walls
_APERTURES = {"focus_distance": 28.0, "horizontal_aperture": 5.376, "vertical_aperture": 3.024}
_FINGERS = ("left_inner_finger", "right_inner_finger")


@dataclass(frozen=True)
class PublishedBody:
    """A rigid body of a scene's file.

    Args:
        path: below the scene's root prim, starting with a slash.
        position: of its origin in the file, in metres.
        low: lower corner of its bounding box in the world's axes, from its own origin, in metres.
        high: the upper corner.
        rotation: its rotation in the file, a quaternion (x, y, z, w).
    """

    path: str
    position: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rotation: np.ndarray


def scene_file(folder: Path, task: int) -> Path:
    """Return a scene's file.

    Raises:
        UserError: the folder, the scene or the robot is missing.
    """
    if not folder.is_dir():
        raise UserError(f"--isaac-assets {folder} is no folder; it must hold scene1.usd to scene3.usd")
    for name in (f"scene{task}.usd", ROBOT_FILE):
        if not (folder / name).is_file():
            raise UserError(f"--isaac-assets {folder} lacks {name}")
    return folder / f"scene{task}.usd"


def read_body(file: Path, name: str) -> PublishedBody:
    """Return a rigid body of a scene's file.

    Raises:
        UserError: the file is no USD, has no such prim, or it is no rigid body.
    """
    from pxr import Gf, Tf, Usd, UsdGeom, UsdPhysics

    try:
        stage = Usd.Stage.Open(str(file))
    except Tf.ErrorException as error:
        raise UserError(f"{file} cannot be read as USD ({str(error).splitlines()[0]})") from None
    root = stage.GetDefaultPrim()
    if not root:
        raise UserError(f"{file} has no default prim; the published scenes have one")
    found = [prim for prim in Usd.PrimRange(root) if prim.GetName() == name]
    if not found:
        raise UserError(f"{file} lacks the prim {name}, which the task is about")
    prim = found[0]
    if not prim.HasAPI(UsdPhysics.RigidBodyAPI):
        raise UserError(f"the prim {name} in {file} is no rigid body")
    pose = Gf.Transform(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default()))
    purposes = [UsdGeom.Tokens.default_, UsdGeom.Tokens.render, UsdGeom.Tokens.proxy]
    bounds = UsdGeom.BBoxCache(Usd.TimeCode.Default(), purposes).ComputeWorldBound(prim).ComputeAlignedRange()
    origin = np.array(pose.GetTranslation())
    turn = pose.GetRotation().GetQuat()
    return PublishedBody(
        str(prim.GetPath())[len(str(root.GetPath())) :],
        origin,
        np.array(bounds.GetMin()) - origin,
        np.array(bounds.GetMax()) - origin,
        np.array([*turn.GetImaginary(), turn.GetReal()]),
    )


def scene_of(task: int, target: PublishedBody, container: PublishedBody) -> ContainerScene:
    """Return the task's scene, with what the success predicate needs of the file's bodies.

    Both bodies are described in the world's axes as they stand in the file, from the middle of their footprint.
    """
    ours = next(scene for scene in SCENES if scene.id == task)
    half = (target.high - target.low) / 2
    axes = [extent * (np.arange(5) + 0.5 - 2.5) / 2.5 for extent in half]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    low, high = container.low, container.high
    interior = Cuboid(_INSIDE * (high[0] - low[0]) / 2, _INSIDE * (high[1] - low[1]) / 2, low[2], high[2])
    names = BODIES[task]
    return ContainerScene(
        task,
        ours.instruction,
        Body(names[0], (), 0.0, 0.0, volume=tuple(map(tuple, grid)), grasp_width=2 * float(min(half[:2]))),
        Body(names[1], (), 0.0, 0.0, interior=interior),
        (),
    )


@configclass
class PublishedSceneCfg(InteractiveSceneCfg):
    """A published scene's file, its robot, two of its bodies, and the cameras; ``published_env`` completes it."""

    light = AssetBaseCfg(
        prim_path="/World/light",
        spawn=sim_utils.SphereLightCfg(intensity=5000.0),
        init_state=AssetBaseCfg.InitialStateCfg(pos=(0.0, -0.6, 0.7)),
    )
    scene = AssetBaseCfg(prim_path="{ENV_REGEX_NS}/scene", spawn=sim_utils.UsdFileCfg())
    robot = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/robot",
        spawn=sim_utils.UsdFileCfg(),
        init_state=ArticulationCfg.InitialStateCfg(
            joint_pos=dict(zip(environment.ARM_JOINTS, HOME_JOINTS, strict=True)) | {"finger_joint": 0.0}
        ),
        actuators={
            "shoulder": ImplicitActuatorCfg(
                joint_names_expr=["panda_joint[1-4]"],
                effort_limit_sim=87.0,
                velocity_limit_sim=2.175,
                stiffness=400.0,
                damping=80.0,
            ),
            "forearm": ImplicitActuatorCfg(
                joint_names_expr=["panda_joint[5-7]"],
                effort_limit_sim=12.0,
                velocity_limit_sim=2.61,
                stiffness=400.0,
                damping=80.0,
            ),
            # Its gains are the file's.
            "gripper": ImplicitActuatorCfg(
                joint_names_expr=["finger_joint"], stiffness=None, damping=None, velocity_limit_sim=5.0
            ),
        },
    )
    target = RigidObjectCfg(spawn=None)
    container = RigidObjectCfg(spawn=None)


def published_env(
    folder: Path, task: int, num_envs: int, physics: str, renderer: str, device: str
) -> environment.DroidEnvCfg:
    """Return the environment of one published scene.

    Raises:
        UserError: a file or a prim is missing.
    """
    file = scene_file(folder, task)
    spacing = environment.env_spacing(renderer, _SPACING)
    scene = PublishedSceneCfg(num_envs=num_envs, env_spacing=spacing, lazy_sensor_update=True)
    scene.scene.spawn.usd_path = str(file)
    scene.robot.spawn.usd_path = str(folder / ROBOT_FILE)
    if physics == "physx":
        bodies = PhysxRigidBodyCfg(disable_gravity=True, max_depenetration_velocity=5.0)
        scene.robot.spawn.rigid_props = {"/.*": [bodies]}
        root = PhysxArticulationCfg(
            enabled_self_collisions=False,
            solver_position_iteration_count=64,
            solver_velocity_iteration_count=0,
        )
        scene.robot.spawn.articulation_props = {"(/.*)?": [root]}
    for asset, name in zip((scene.target, scene.container), BODIES[task], strict=True):
        body = read_body(file, name)
        asset.prim_path = "{ENV_REGEX_NS}/scene" + body.path
        asset.init_state.pos, asset.init_state.rot = tuple(body.position), tuple(body.rotation)
    scene.external_cam = _camera(
        f"{{ENV_REGEX_NS}}/{EXTERNAL_CAMERA}",
        2.1,
        (0.05, 0.57, 0.66),
        (-0.195, 0.399, 0.805, -0.393),
        renderer,
    )
    scene.wrist_cam = _camera(
        f"{{ENV_REGEX_NS}}/robot/Gripper/Robotiq_2F_85/base_link/{WRIST_CAMERA}",
        2.8,
        (0.011, -0.031, -0.074),
        (0.570, 0.576, -0.409, -0.420),
        renderer,
    )
    env = environment.DroidEnvCfg()
    env.sim = environment.simulation(physics, renderer, device)
    env.scene = scene
    return env


def _camera(
    path: str, focal: float, pos: tuple[float, ...], rot: tuple[float, ...], renderer: str
) -> CameraCfg:
    """Return a camera; ``rot`` is (x, y, z, w), the view along -z with +y up."""
    return CameraCfg(
        prim_path=path,
        width=WIDTH,
        height=HEIGHT,
        data_types=["rgb"],
        update_latest_camera_pose=True,
        spawn=sim_utils.PinholeCameraCfg(focal_length=focal, **_APERTURES),
        offset=CameraCfg.OffsetCfg(pos=pos, rot=rot, convention="opengl"),
        renderer_cfg=environment.renderer_cfg(renderer),
    )


class PublishedDroid(DroidIsaacLab):
    """One of the published scenes; observations and actions are those of the suite, pictures 1280 x 720.

    Args:
        app: Isaac Lab's runtime, already started.
        config: the environment, ``published_env``.
        folder: of the files.
        task: number of the scene.

    Raises:
        UserError: the robot's file lacks joints or links.
    """

    cameras = (EXTERNAL_CAMERA, WRIST_CAMERA)

    def __init__(self, app: IsaacApp, config: environment.DroidEnvCfg, folder: Path, task: int):
        self._file = scene_file(folder, task)
        self._found = [read_body(self._file, name) for name in BODIES[task]]
        self._scene_now = scene_of(task, *self._found)
        super().__init__(app, config)

    def _bind(self) -> None:
        self._pair = [self._scene["target"], self._scene["container"]]
        names = self._robot.body_names
        missing = [name for name in _FINGERS if name not in names]
        if missing:
            raise UserError(f"{self._file.parent / ROBOT_FILE} lacks the links {', '.join(missing)}")
        self._fingers = [names.index(name) for name in _FINGERS]

    def _scene_of(self, task: Task) -> Scene:
        if task.plain_id != self._scene_now.id:
            raise UserError(f"--isaac-assets runs one scene at a time: this is scene {self._scene_now.id}")
        return self._scene_now

    def _stage(self, scene: Scene, task: Task, seed: TrialSeed) -> Staging:
        """Return that everything is where it is in the file."""
        if "pose" in map(axis_of, dict(task.perturbation)):
            raise ValueError("the published scenes have one initial state each: leave the axis pose out")
        return replace(super()._stage(scene, task, seed), initial=self._in_file())

    def _in_file(self) -> InitialState:
        """Return where everything is in the file, as Isaac Lab has it: all joints, quaternions (x, y, z, w)."""
        joints = numpy_of(self._robot.data.default_joint_pos)[0]
        poses = [numpy_of(body.data.default_root_pose)[0] for body in self._pair]
        return InitialState(joints, np.stack(poses))

    def _start(self, scene: Scene, state: InitialState) -> tuple[np.ndarray, np.ndarray]:
        return state.joints.copy(), state.poses.copy()

    def _write_bodies(self, where: torch.Tensor, poses: torch.Tensor) -> None:
        for index, body in enumerate(self._pair):
            pose = poses[:, index].contiguous()
            body.write_root_link_pose_to_sim_index(root_pose=pose, env_ids=where)
            body.write_root_link_velocity_to_sim_index(
                root_velocity=torch.zeros_like(pose[:, :6]), env_ids=where
            )

    def _read_bodies(self) -> tuple[np.ndarray, np.ndarray]:
        poses = [numpy_of(body.data.root_link_pose_w) for body in self._pair]
        velocities = [numpy_of(body.data.root_link_vel_w) for body in self._pair]
        return np.stack(poses, axis=1), np.stack(velocities, axis=1)

    def _situation(self, now: SimpleNamespace, slot: int, scene: Scene) -> Situation:
        poses = [
            upright(now.poses[slot, index], body, middle)
            for index, (body, middle) in enumerate(zip(self._found, (True, False), strict=True))
        ]
        return Situation(
            np.stack(poses), now.velocities[slot], self._tcp(now, slot), self._gripper(now, slot)
        )

    def _tcp(self, now: SimpleNamespace, slot: int) -> np.ndarray:
        return now.links[slot, self._fingers, :3].mean(axis=0)

    def _describe_scene(self) -> dict[str, Any]:
        files = (self._file, self._file.parent / ROBOT_FILE)
        return {
            "image_size": [HEIGHT, WIDTH],
            "frame_size": [HEIGHT, WIDTH],
            "assets_sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
        }


def upright(pose: np.ndarray, body: PublishedBody, middle: bool) -> np.ndarray:
    """Return a body's pose as ``scene_of`` describes it, (x, y, z, qw, qx, qy, qz) of one in the file's axes.

    Its origin is the middle of the bounding box, or, for a container, that middle's place at the origin's height.
    """
    turn = Rotation.from_quat(pose[[4, 5, 6, 3]]) * Rotation.from_quat(body.rotation).inv()
    offset = (body.low + body.high) / 2
    if not middle:
        offset[2] = 0.0
    x, y, z, w = turn.as_quat()
    return np.array([*(pose[:3] + turn.apply(offset)), w, x, y, z])
