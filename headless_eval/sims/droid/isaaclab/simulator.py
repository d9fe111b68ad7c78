"""The DROID scenes in Isaac Lab."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from isaaclab.scene import InteractiveScene
from isaaclab.sim import SimulationContext
from isaaclab_newton.physics import NewtonCfg

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import EpisodeOutcome, StepResult, Task
from headless_eval.sims.droid.geometry import rotation
from headless_eval.sims.droid.isaaclab import scene as environment
from headless_eval.sims.droid.isaaclab.robot_usd import USD
from headless_eval.sims.droid.look import lit
from headless_eval.sims.droid.outcomes import UNITS, Watch
from headless_eval.sims.droid.perturbation import Staging, stage
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import (
    CONTROL_HZ,
    EXTERIOR_CAMERA,
    FINGER_CLOSED,
    WRIST_CAMERA,
    InitialState,
    Scene,
    Situation,
)
from headless_eval.sims.droid.tasks import TASKS
from headless_eval.sims.isaaclab_app import IsaacApp

ACTION_DIM = 8
_XYZW_TO_WXYZ = [0, 1, 2, 6, 3, 4, 5]
_WXYZ_TO_XYZW = [0, 1, 2, 4, 5, 6, 3]
_LIBRARIES = {
    "newton": ("isaaclab", "newton", "mujoco-warp", "warp-lang", "torch", "isaacsim"),
    "physx": ("isaaclab", "ovphysx", "ovstage", "newton", "warp-lang", "torch", "isaacsim"),
}


class DroidIsaacLab:
    """The suite ``droid`` in Isaac Lab: slots are environments that step together.

    Another suite of scenes derives its own class.

    Args:
        app: Isaac Lab's runtime, already started for this environment.
        config: the environment, ``droid_env`` of the scenes that will run.
    """

    suite = "droid"
    scenes: ClassVar[Sequence[Scene]] = SCENES
    tasks = TASKS
    control_hz = CONTROL_HZ
    metrics = UNITS
    cameras: tuple[str, ...] = (EXTERIOR_CAMERA.name, WRIST_CAMERA.name)

    def __init__(self, app: IsaacApp, config: environment.DroidEnvCfg):
        self._app = app
        self._config = config
        self.num_slots = config.scene.num_envs
        frames = tuple(f"{name}_frame" for name in self.cameras)
        self._frame_cameras = frames if hasattr(config.scene, frames[0]) else self.cameras
        self._physics = "newton" if isinstance(config.sim.physics, NewtonCfg) else "physx"
        self.libraries = _LIBRARIES[self._physics]
        self._renderer = (
            "newton"
            if getattr(config.scene, self.cameras[0]).renderer_cfg.renderer_type == "newton_warp"
            else "rtx"
        )
        self._sim = SimulationContext(config.sim)
        self._scene = InteractiveScene(config.scene)
        self._sim.reset()
        if app.has_kit:
            self._sim.reset()  # Kit has loaded the materials by the second reset only
        self._robot = self._scene["robot"]
        names = self._robot.joint_names
        self._arm = [names.index(name) for name in environment.ARM_JOINTS]
        self._finger = names.index(environment.GRIPPER_JOINT)
        self._driven = [*self._arm, self._finger]
        self._bind()
        self._origins = self._scene.env_origins.cpu().numpy().astype(np.float64)
        self._stepper = self._make_stepper()
        self._light_up()
        self._episodes: dict[int, tuple[Scene, Watch]] = {}
        self._initial: dict[int, InitialState] = {}
        self._stagings: dict[int, Staging] = {}
        self._pictures: dict[tuple[str, ...], list[np.ndarray]] = {}
        self._state: SimpleNamespace | None = None

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``."""
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is not among {self.num_slots}")
        scene = self._scene_of(task)
        staging = self._stage(scene, task, seed)
        initial = staging.initial
        joints, poses = self._start(scene, initial)
        poses[:, :3] += self._origins[slot]
        self._write(slot, joints, poses)
        self._episodes[slot] = scene, Watch(scene.bodies, scene.tracker(initial))
        self._initial[slot], self._stagings[slot] = initial, staging

    def initial_state(self, slot: int) -> np.ndarray:
        """Return the numbers that were drawn for the slot's episode, which are MuJoCo's for the same seed."""
        return self._initial[slot].numbers

    def instruction(self, slot: int) -> str:
        """Return the prompt of the slot's episode."""
        return self._episodes[slot][0].instruction_of(self._initial[slot])

    def outcome(self, slot: int) -> EpisodeOutcome:
        """Return what came of the slot's episode; in PhysX nothing of contacts, which are not told."""
        return self._episodes[slot][1].outcome()

    def perturbation(self, slot: int) -> dict[str, float]:
        """Return the numbers that were drawn for the perturbation of the slot's episode."""
        return self._stagings[slot].numbers

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with openpi's DROID keys."""
        exterior, wrist = self._render(self.cameras)
        now = self._read()
        return [
            {
                "observation/exterior_image_1_left": self._lit(slot, exterior),
                "observation/wrist_image_left": self._lit(slot, wrist),
                "observation/joint_position": now.joints[slot, self._arm].astype(np.float32),
                "observation/gripper_position": np.array([self._gripper(now, slot)], np.float32),
                "prompt": self.instruction(slot),
            }
            for slot in slots
        ]

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance the named slots by one control step, 1/15 s; the others wait."""
        results, targets = {}, {}
        for slot, action in actions.items():
            action = np.asarray(action)
            if action.shape != (ACTION_DIM,) or not np.isfinite(action).all():
                results[slot] = StepResult(
                    False,
                    ValueError(
                        f"an action is {ACTION_DIM} finite numbers (7 joint targets, gripper), not {action.shape}"
                    ),
                )
            else:
                targets[slot] = np.append(action[:7], np.clip(action[7], 0.0, 1.0) * FINGER_CLOSED)
        if targets:
            self._advance(targets)
            now = self._read()
            results |= {slot: self._settle(now, slot) for slot in targets}
        return {slot: results[slot] for slot in actions}

    def frame(self, slot: int) -> np.ndarray:
        """Return the exterior and the wrist camera side by side, uint8 (size, 2 * size, 3)."""
        return np.concatenate([self._lit(slot, one) for one in self._render(self._frame_cameras)], axis=1)

    def describe(self) -> dict[str, Any]:
        """Return versions, settings, sizes and whether it repeats to the bit, for the manifest."""
        sim = self._config.sim
        substeps = getattr(sim.physics, "num_substeps", 1) * sim.render_interval
        # What the tests show to repeat whatever the slots. PhysX repeats with as many slots; on a GPU Newton may.
        exact = self._physics == self._renderer == "newton" and str(self._sim.device) == "cpu"
        return {
            "simulator": "isaaclab",
            "versions": {name: _version(name) for name in self.libraries if _version(name)},
            "physics": self._physics,
            "renderer": self._renderer,
            "device": str(self._sim.device),
            "determinism": "exact" if exact else "statistical",
            "timestep_s": 1 / (CONTROL_HZ * substeps),
            "substeps": substeps,
            "control_hz": CONTROL_HZ,
            **self._describe_scene(),
        }

    def close(self) -> None:
        """End Isaac Lab; another simulation can be started in this process afterwards."""
        self._episodes.clear()
        self._app.close()

    def _bind(self) -> None:
        """Look up the scene's bodies and the gripper."""
        collections = [one.cfg.rigid_objects for one in self._scene.rigid_object_collections.values()]
        spawned = {
            name: body.spawn.sealed.body for collection in collections for name, body in collection.items()
        }
        self._population = list(spawned.values())
        self._contacts = self._make_contacts(
            [body.prim_path.rsplit("/", 1)[-1] for collection in collections for body in collection.values()]
        )
        names = list(spawned)
        self._collections = [
            (collection, [names.index(name) for name in collection.body_names])
            for collection in self._scene.rigid_object_collections.values()
        ]
        self._link = self._robot.body_names.index(environment.GRIPPER_LINK)

    def _scene_of(self, task: Task) -> Scene:
        return next(scene for scene in self.scenes if scene.id == task.plain_id)

    def _indices(self, scene: Scene) -> list[int]:
        """Return where the scene's bodies are among those that were spawned."""
        return [self._population.index(body) for body in scene.bodies]

    def _stage(self, scene: Scene, task: Task, seed: TrialSeed) -> Staging:
        """Return how an episode begins, as its seed draws it, and under which light it is seen."""
        return stage(scene, task.perturbation, seed.initial_state(), seed.perturbation)

    def _lit(self, slot: int, pictures: np.ndarray) -> np.ndarray:
        """Return a copy of the slot's picture, under its episode's light; environments share their lamps."""
        return lit(pictures[slot].copy(), self._stagings[slot].look.light)

    def _start(self, scene: Scene, state: InitialState) -> tuple[np.ndarray, np.ndarray]:
        """Return where an episode starts: joints, and poses (bodies, 7) with quaternions (x, y, z, w)."""
        joints = np.zeros(len(self._robot.joint_names))
        joints[self._arm] = state.joints
        poses = np.array(
            [(*environment.hideaway(index), 0, 0, 0, 1) for index in range(len(self._population))]
        )
        poses[self._indices(scene)] = state.poses[:, _WXYZ_TO_XYZW]
        return joints, poses

    def _describe_scene(self) -> dict[str, Any]:
        """Return sizes and cameras for the manifest."""
        return {
            "image_size": getattr(self._config.scene, self.cameras[0]).width,
            "frame_size": getattr(self._config.scene, self._frame_cameras[0]).width,
            "cameras": [asdict(EXTERIOR_CAMERA), asdict(WRIST_CAMERA)],
            "assets_sha256": hashlib.sha256(USD.read_bytes()).hexdigest(),
        }

    def _write(self, slot: int, joints: np.ndarray, poses: np.ndarray) -> None:
        """Put one environment's robot and bodies there, at rest; ``joints`` are its targets, too."""
        where = torch.tensor([slot], dtype=torch.int32, device=self._sim.device)
        position = self._tensor(joints[None])
        self._scene.reset(where)
        self._robot.write_joint_position_to_sim_index(position=position, env_ids=where)
        self._robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(position), env_ids=where)
        self._robot.actuators.target_command.set_position_index(value=position, env_ids=where)
        self._write_bodies(where, self._tensor(poses[None]))
        self._scene.write_data_to_sim()
        self._changed()

    def _write_bodies(self, where: torch.Tensor, poses: torch.Tensor) -> None:
        for bodies, members in self._collections:
            there = poses[:, members]
            bodies.write_body_link_pose_to_sim_index(body_poses=there, env_ids=where)
            if not self._population[members[0]].fixed:
                bodies.write_body_link_velocity_to_sim_index(
                    body_velocities=torch.zeros_like(there[..., :6]), env_ids=where
                )

    def _read_bodies(self) -> tuple[np.ndarray, np.ndarray]:
        """Return poses (environments, bodies, 7), quaternions (x, y, z, w), and velocities (..., 6) in the world."""
        poses = np.zeros((self.num_slots, len(self._population), 7))
        velocities = np.zeros((self.num_slots, len(self._population), 6))
        for bodies, members in self._collections:
            poses[:, members] = numpy_of(bodies.data.body_link_pose_w)
            if not self._population[members[0]].fixed:
                velocities[:, members] = numpy_of(bodies.data.body_link_vel_w)
        return poses, velocities

    def _advance(self, targets: Mapping[int, np.ndarray]) -> None:
        """Step the environments of these joint targets (8,); those of other episodes stay as they are."""
        moving = sorted(targets)
        self._robot.actuators.target_command.set_position_index(
            value=self._tensor(np.stack([targets[slot] for slot in moving])),
            joint_ids=self._driven,
            env_ids=torch.tensor(moving, dtype=torch.int32, device=self._sim.device),
        )
        self._scene.write_data_to_sim()
        self._stepper.step([slot for slot in self._episodes if slot not in targets])
        self._scene.update(1 / CONTROL_HZ)
        self._changed()

    def _settle(self, now: SimpleNamespace, slot: int) -> StepResult:
        scene, watch = self._episodes[slot]
        if not all(
            np.isfinite(part).all() for part in (now.poses[slot], now.velocities[slot], now.joints[slot])
        ):
            return StepResult(
                False, FloatingPointError("the simulation diverged: a position or velocity is no number")
            )
        return StepResult(watch.update(self._situation(now, slot, scene)), over=watch.over)

    def _situation(self, now: SimpleNamespace, slot: int, scene: Scene) -> Situation:
        """Return what the tracker sees."""
        bodies = self._indices(scene)
        return Situation(
            poses=now.poses[slot, bodies],
            velocities=now.velocities[slot, bodies],
            tcp=self._tcp(now, slot),
            gripper_position=self._gripper(now, slot),
            joints=now.joints[slot, self._arm],
            contacts=None if self._contacts is None else self._contacts.of(slot, bodies),
        )

    def _tcp(self, now: SimpleNamespace, slot: int) -> np.ndarray:
        """Return the midpoint between the pads."""
        link = now.links[slot, self._link]
        return link[:3] + rotation(link[3:]) @ np.array(environment.TCP)

    def _read(self) -> SimpleNamespace:
        """Return the state of all environments, in their own frames, quaternions (w, x, y, z)."""
        if self._state is None:
            poses, velocities = self._read_bodies()
            poses, links = (
                states[..., _XYZW_TO_WXYZ] for states in (poses, numpy_of(self._robot.data.body_link_pose_w))
            )
            for states in (poses, links):
                states[..., :3] -= self._origins[:, None]
            joints = numpy_of(self._robot.data.joint_pos)
            self._state = SimpleNamespace(poses=poses, velocities=velocities, links=links, joints=joints)
        return self._state

    def _gripper(self, now: SimpleNamespace, slot: int) -> float:
        return float(now.joints[slot, self._finger]) / FINGER_CLOSED

    def _render(self, cameras: tuple[str, ...]) -> list[np.ndarray]:
        """Return each camera's pictures of all environments, uint8 (slots, size, size, 3), as things are now."""
        if cameras not in self._pictures:
            if self._physics == "physx":
                self._sim.forward()  # the robot's links follow joints that were written
            if self._app.has_kit:
                self._sim.render()
            for name in cameras:
                self._scene[name].update(0.0, force_recompute=True)
            self._pictures[cameras] = [
                numpy_of(self._scene[name].data.output["rgb"], np.uint8)[..., :3] for name in cameras
            ]
        return self._pictures[cameras]

    def _changed(self) -> None:
        self._state = None
        self._pictures.clear()

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self._sim.device)

    def _make_stepper(self) -> Any:
        if self._physics == "newton":
            from headless_eval.sims.droid.isaaclab.newton import NewtonStepper

            return NewtonStepper(self._sim, self.num_slots)
        from headless_eval.sims.droid.isaaclab.physx import PhysxStepper

        return PhysxStepper(self._sim, self._scene)

    def _make_contacts(self, bodies: Sequence[str]) -> Any:
        """Return what tells the contacts of bodies with these prims; None for PhysX, which is not asked."""
        if self._physics != "newton":
            return None
        from headless_eval.sims.droid.isaaclab.newton import NewtonContacts

        return NewtonContacts(bodies, environment.ROBOT_PRIM)

    def _light_up(self) -> None:
        """Give Newton's renderer, which reads no lights from the stage, the scene's sun."""
        if self._renderer == "newton":
            from headless_eval.sims.droid.isaaclab.newton import set_sun

            set_sun(self._scene[self.cameras[0]])


def numpy_of(values: Any, dtype: Any = np.float64) -> np.ndarray:
    """Return Isaac Lab's array of the device as a NumPy array of our own."""
    tensor = values.torch if hasattr(values, "torch") else values
    return tensor.detach().cpu().numpy().astype(dtype)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
