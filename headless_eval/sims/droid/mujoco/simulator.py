"""Simulator of the DROID robot's table-top scenes in MuJoCo."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, ClassVar

import mujoco
import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import EpisodeOutcome, StepResult, Task
from headless_eval.errors import UserError
from headless_eval.sims import divergence, gl
from headless_eval.sims.droid.bodies import Body
from headless_eval.sims.droid.look import PLAIN, Look, lit
from headless_eval.sims.droid.mujoco.contacts import Contacts
from headless_eval.sims.droid.mujoco.model import TIMESTEP, build_model, robot_sha256
from headless_eval.sims.droid.mujoco.steadying import Restlessness, steady_model
from headless_eval.sims.droid.outcomes import UNITS, Watch
from headless_eval.sims.droid.perturbation import Staging, stage
from headless_eval.sims.droid.placement import Placed
from headless_eval.sims.droid.scenes import SCENES
from headless_eval.sims.droid.tabletop import (
    CONTROL_HZ,
    EXTERIOR_CAMERA,
    FINGER_CLOSED,
    WRIST_CAMERA,
    InitialState,
    Scene,
    Situation,
    Tracker,
)
from headless_eval.sims.droid.tasks import TASKS

SUBSTEPS = round(1 / (CONTROL_HZ * TIMESTEP))
ARM_JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
ACTION_DIM = 8
_OPTION = mujoco.MjvOption()


class BodyIndices:
    """Where a body's pose and velocity lie in a scene's data."""

    def __init__(self, model: mujoco.MjModel, body: Body):
        self._mocap = int(model.body(body.name).mocapid[0]) if body.fixed else None
        if not body.fixed:
            joint = model.joint(body.name)
            self._qpos, self._dof = int(joint.qposadr[0]), int(joint.dofadr[0])

    def put(self, data: mujoco.MjData, pose: np.ndarray) -> None:
        """Put the body there, (x, y, z, qw, qx, qy, qz)."""
        if self._mocap is None:
            data.qpos[self._qpos : self._qpos + 7] = pose
        else:
            data.mocap_pos[self._mocap], data.mocap_quat[self._mocap] = pose[:3], pose[3:]

    def pose(self, data: mujoco.MjData) -> np.ndarray:
        """Return a copy of its pose (7,)."""
        if self._mocap is None:
            return data.qpos[self._qpos : self._qpos + 7].copy()
        return np.concatenate([data.mocap_pos[self._mocap], data.mocap_quat[self._mocap]])

    def velocity(self, data: mujoco.MjData) -> np.ndarray:
        """Return a copy of its velocity (6,): linear in the world's axes, angular in its own."""
        if self._mocap is None:
            return data.qvel[self._dof : self._dof + 6].copy()
        return np.zeros(6)


class SceneModel:
    """A scene's compiled model, the indices used in every step, and its renderers.

    Args:
        scene: to compile.
        look: how it looks.
        bodies: the scene's bodies, in its order; their colours may be others.
        strangers: further bodies, and where they start.
    """

    def __init__(
        self,
        scene: Scene,
        look: Look = PLAIN,
        bodies: Sequence[Body] | None = None,
        strangers: Sequence[Placed] = (),
    ):
        divergence.keep_quiet()
        self.scene, self.look, self.strangers = scene, look, strangers
        known = scene.bodies if bodies is None else bodies
        self.model = build_model(scene, look, (*known, *(one.body for one in strangers)))
        model = self.model
        self.arm_qpos = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self.arm_dof = np.array([model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self.finger_qpos = int(model.joint("finger_joint").qposadr[0])
        self.bodies = [BodyIndices(model, body) for body in scene.bodies]
        self.tcp_site = model.site("tcp").id
        self.cameras = {name: model.camera(name).id for name in (EXTERIOR_CAMERA.name, WRIST_CAMERA.name)}
        self.contacts = Contacts(model, [body.name for body in scene.bodies])
        self.steady = steady_model(model)
        self._renderers: dict[int, mujoco.Renderer] = {}

    def staged(self, staging: Staging) -> "SceneModel":
        """Return the scene's model as an episode is staged, which this one's renderers draw; this one if it is plain.

        Compiling it takes some milliseconds; nothing of it is shared with other episodes.
        """
        if staging.is_plain:
            return self
        made = SceneModel(self.scene, staging.look, staging.bodies, staging.strangers)
        made.share_renderers(self)
        # Clipping planes are multiples of the extent, which walls and further bodies would make larger.
        made.model.stat.extent, made.model.stat.center = self.model.stat.extent, self.model.stat.center
        return made

    def share_renderers(self, other: "SceneModel") -> None:
        """Let the renderers of another model draw this one, too: a context has but the robot's meshes and the sky."""
        self._renderers = other._renderers

    def renderer(self, size: int) -> mujoco.Renderer:
        """Return the renderer of square images of this size (pixels), created on first use."""
        if size not in self._renderers:
            try:
                self._renderers[size] = mujoco.Renderer(self.model, size, size)
            except Exception as error:
                # The type of the exception for missing OpenGL depends on the backend.
                raise gl.failure(error) from error
        return self._renderers[size]

    @property
    def has_drawn(self) -> bool:
        """Return whether a GL context exists."""
        return bool(self._renderers)

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()


class Slot:
    """One episode: a scene's state, advanced control step by control step."""

    def __init__(self, scene_model: SceneModel):
        self.scene_model = scene_model
        self.data = mujoco.MjData(scene_model.model)
        self.instruction = scene_model.scene.instruction
        self.initial: InitialState | None = None
        self.tracker: Tracker | None = None
        self._restless = Restlessness()
        self._watch: Watch | None = None

    def reset(self, state: InitialState) -> None:
        """Put the robot and the bodies into their initial state, everything at rest."""
        indices, data, scene = self.scene_model, self.data, self.scene_model.scene
        self.initial = state
        mujoco.mj_resetData(indices.model, data)
        data.qpos[indices.arm_qpos] = state.joints
        data.ctrl[:7] = state.joints
        for body, pose in zip(indices.bodies, state.poses, strict=True):
            body.put(data, pose)
        for one in indices.strangers:
            BodyIndices(indices.model, one.body).put(data, one.pose)
        mujoco.mj_forward(indices.model, data)
        self.instruction = scene.instruction_of(state)
        self.tracker = scene.tracker(state)
        self._restless = Restlessness()
        self._watch = Watch(scene.bodies, self.tracker)

    def step(self, action: np.ndarray) -> bool:
        """Hold one action, joint targets (7, radians) and gripper (0 open, 1 closed), for a control step.

        Returns:
            Whether the task is solved.

        Raises:
            ValueError: the action is not a finite (8,) vector.
            FloatingPointError: the simulation diverged.
            RuntimeError: no episode was started.
        """
        if self._watch is None:
            raise RuntimeError("no episode was started")
        action = np.asarray(action)
        if action.shape != (ACTION_DIM,) or not np.isfinite(action).all():
            raise ValueError(
                f"an action is {ACTION_DIM} finite numbers (7 joint targets, gripper), not {action.shape}"
            )
        indices, data = self.scene_model, self.data
        data.ctrl[:7] = action[:7]
        data.ctrl[7] = np.clip(action[7], 0.0, 1.0) * FINGER_CLOSED
        model = indices.steady if self._restless.needs_steadying else indices.model
        mujoco.mj_step(model, data, nstep=SUBSTEPS)
        divergence.check(data)
        now = self.situation()
        self._restless.update(now)
        return self._watch.update(now)

    def outcome(self) -> EpisodeOutcome:
        """Return what came of the episode so far.

        Raises:
            RuntimeError: no episode was started.
        """
        if self._watch is None:
            raise RuntimeError("no episode was started")
        return self._watch.outcome()

    @property
    def over(self) -> bool:
        """Return whether the episode is lost for good."""
        return self.tracker is not None and self.tracker.over

    def situation(self) -> Situation:
        """Return what the tracker sees."""
        indices, data = self.scene_model, self.data
        return Situation(
            poses=np.array([body.pose(data) for body in indices.bodies]),
            velocities=np.array([body.velocity(data) for body in indices.bodies]),
            tcp=data.site_xpos[indices.tcp_site].copy(),
            gripper_position=self.gripper_position,
            joints=self.joint_position.copy(),
            contacts=indices.contacts.of(data),
        )

    @property
    def joint_position(self) -> np.ndarray:
        """Arm joint positions, (7,) radians."""
        return self.data.qpos[self.scene_model.arm_qpos]

    @property
    def gripper_position(self) -> float:
        """Gripper position from 0 (open) to 1 (closed)."""
        return float(self.data.qpos[self.scene_model.finger_qpos]) / FINGER_CLOSED

    def render(self, camera: str, size: int) -> np.ndarray:
        """Return a camera's image, uint8 (size, size, 3)."""
        indices = self.scene_model
        renderer = indices.renderer(size)
        view = mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, indices.cameras[camera]
        # Not the renderer's own update, which knows the plain scene's model alone.
        mujoco.mjv_updateScene(
            indices.model, self.data, _OPTION, None, view, mujoco.mjtCatBit.mjCAT_ALL, renderer.scene
        )
        return lit(renderer.render(), indices.look.light)

    def observe(self, size: int) -> dict[str, Any]:
        """Return an observation with openpi's DROID keys."""
        # MuJoCo's step leaves body positions one physics step behind; the images must show the new state.
        mujoco.mj_kinematics(self.scene_model.model, self.data)
        mujoco.mj_camlight(self.scene_model.model, self.data)
        return {
            "observation/exterior_image_1_left": self.render(EXTERIOR_CAMERA.name, size),
            "observation/wrist_image_left": self.render(WRIST_CAMERA.name, size),
            "observation/joint_position": self.joint_position.astype(np.float32),
            "observation/gripper_position": np.array([self.gripper_position], np.float32),
            "prompt": self.instruction,
        }


class DroidMujoco:
    """Suite ``droid`` in MuJoCo, every slot in this process; another suite of scenes derives its own class.

    Args:
        num_slots: number of independent episodes at once.
        image_size: side of the policy's images in pixels.
        frame_size: side of each camera's image in a video frame, in pixels.

    Raises:
        UserError: the number of slots is less than 1.
    """

    suite = "droid"
    scenes: ClassVar[Sequence[Scene]] = SCENES
    tasks = TASKS
    control_hz = CONTROL_HZ
    libraries = ("mujoco",)
    metrics = UNITS

    def __init__(self, num_slots: int = 1, image_size: int = 224, frame_size: int = 224):
        if num_slots < 1:
            raise UserError(f"the number of slots must be at least 1, not {num_slots}")
        self.num_slots = num_slots
        self._image_size = image_size
        self._frame_size = frame_size
        self._models: dict[int, SceneModel] = {}
        self._slots: dict[int, Slot] = {}
        self._stagings: dict[int, Staging] = {}
        self._idle: dict[int, list[Slot]] = {}
        # Physics releases the GIL, so slots step in parallel.
        self._pool = ThreadPoolExecutor(max_workers=min(num_slots, 8), thread_name_prefix="physics")

    def reset(self, slot: int, task: Task, seed: TrialSeed) -> None:
        """Start an episode of ``task`` in ``slot``."""
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is not among {self.num_slots}")
        if slot in self._slots:
            previous = self._slots.pop(slot)
            if self._stagings[slot].is_plain:
                self._idle.setdefault(previous.scene_model.scene.id, []).append(previous)
        plain = self._scene_model(task.plain_id)
        staging = stage(plain.scene, task.perturbation, seed.initial_state(), seed.perturbation)
        idle = self._idle.get(plain.scene.id) if staging.is_plain else None
        episode = idle.pop() if idle else Slot(plain.staged(staging))
        episode.reset(staging.initial)
        self._slots[slot], self._stagings[slot] = episode, staging

    def initial_state(self, slot: int) -> np.ndarray:
        """Return the numbers that were drawn for what moves in the slot's episode."""
        return self._stagings[slot].state

    def perturbation(self, slot: int) -> dict[str, float]:
        """Return the numbers that were drawn for the perturbation of the slot's episode."""
        return self._stagings[slot].numbers

    def instruction(self, slot: int) -> str:
        """Return the prompt of the slot's episode."""
        return self._slots[slot].instruction

    def observe(self, slots: Sequence[int]) -> list[dict[str, Any]]:
        """Return the observations of these slots, with openpi's DROID keys."""
        return [self._slots[slot].observe(self._image_size) for slot in slots]

    def step(self, actions: Mapping[int, np.ndarray]) -> dict[int, StepResult]:
        """Advance the named slots by one control step, 1/15 s."""
        results = self._pool.map(lambda item: self._step_one(*item), actions.items())
        return dict(zip(actions, results, strict=True))

    def outcome(self, slot: int) -> EpisodeOutcome:
        """Return what came of the slot's episode."""
        return self._slots[slot].outcome()

    def frame(self, slot: int) -> np.ndarray:
        """Return the exterior and the wrist camera side by side, uint8 (size, 2 * size, 3)."""
        episode = self._slots[slot]
        mujoco.mj_kinematics(episode.scene_model.model, episode.data)
        mujoco.mj_camlight(episode.scene_model.model, episode.data)
        cameras = (EXTERIOR_CAMERA.name, WRIST_CAMERA.name)
        return np.concatenate([episode.render(name, self._frame_size) for name in cameras], axis=1)

    def describe(self) -> dict[str, Any]:
        """Return versions, time steps and sizes for the manifest."""
        return {
            "simulator": "mujoco",
            "mujoco": mujoco.__version__,
            "assets_sha256": robot_sha256(),
            "timestep_s": TIMESTEP,
            "substeps": SUBSTEPS,
            "control_hz": CONTROL_HZ,
            "gl_renderer": self._gl_renderer(),
            **gl.described(),
            "image_size": self._image_size,
            "frame_size": self._frame_size,
            "cameras": [asdict(EXTERIOR_CAMERA), asdict(WRIST_CAMERA)],
        }

    def close(self) -> None:
        """Free the GL contexts and the threads."""
        self._pool.shutdown()
        for scene_model in self._models.values():
            scene_model.close()
        self._models.clear()
        self._slots.clear()
        self._stagings.clear()
        self._idle.clear()

    def _gl_renderer(self) -> str | None:
        """Return OpenGL's name of the renderer; None before the first image."""
        if not any(scene_model.has_drawn for scene_model in self._models.values()):
            return None
        return gl.renderer_name()

    def _scene_model(self, task_id: int) -> SceneModel:
        if task_id not in self._models:
            scene = next(scene for scene in self.scenes if scene.id == task_id)
            self._models[task_id] = SceneModel(scene)
        return self._models[task_id]

    def _step_one(self, slot: int, action: np.ndarray) -> StepResult:
        try:
            episode = self._slots[slot]
            return StepResult(episode.step(action), over=episode.over)
        except Exception as error:
            return StepResult(False, error)
