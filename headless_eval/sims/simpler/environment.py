"""One episode of a SimplerEnv task in a SAPIEN scene of its own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import sapien

from headless_eval.sims.simpler import objects, success
from headless_eval.sims.simpler.assets import Assets
from headless_eval.sims.simpler.controllers import Controller, GoogleController, WidowXController
from headless_eval.sims.simpler.images import background, overlaid
from headless_eval.sims.simpler.objects import Body
from headless_eval.sims.simpler.placement import SWITCH_AFTER, Start, start_of
from headless_eval.sims.simpler.robots import (
    GOOGLE_ROBOT,
    WIDOWX,
    WIDOWX_AT_SINK,
    RobotBody,
    RobotModel,
)

_DROP_HEIGHT = 1.37  # metres: half a metre above the tables
_AWAY = (-10.0, 0.0, 0.0)  # where the robot waits while objects settle
_STILL = (1e-3, 1e-2)  # m/s and rad/s, of all objects together
_NEAR, _FAR = 0.01, 10.0  # metres, what the camera sees
_CABINET_FLOOR = 2  # which collision shape of a drawer is its floor


@dataclass(frozen=True)
class Kind:
    """What tasks have in common.

    Args:
        robot: whose numbers.
        controller: what drives it.
        lights: of the scene.
        room: what the table is part of; None: a cabinet stands there.
        contact_offset: metres at which PhysX begins to look for contacts.
        shiny: whether the robot's surfaces reflect a little.
    """

    robot: RobotModel
    controller: Callable[[RobotBody], Controller]
    lights: objects.Lights
    room: str | None
    contact_offset: float
    shiny: bool = True


_BRIDGE = Kind(WIDOWX, WidowXController, objects.TABLE_LIGHTS, "bridge_table_1_v1", 0.005)
_SINK = Kind(WIDOWX_AT_SINK, WidowXController, objects.SINK_LIGHTS, "bridge_table_1_v2", 0.005)
_CAN = Kind(GOOGLE_ROBOT, GoogleController, objects.TABLE_LIGHTS, "google_pick_coke_can_1_v4", 0.02)
_NEAR_OBJECTS = Kind(GOOGLE_ROBOT, GoogleController, objects.TABLE_LIGHTS, "google_pick_coke_can_1_v4", 0.005)
_DRAWER = Kind(GOOGLE_ROBOT, GoogleController, objects.CABINET_LIGHTS, None, 0.02, shiny=False)
_APPLE = Kind(GOOGLE_ROBOT, GoogleController, objects.CABINET_LIGHTS, None, 0.005, shiny=False)

KINDS = {
    "widowx_carrot_on_plate": _BRIDGE,
    "widowx_spoon_on_towel": _BRIDGE,
    "widowx_stack_cube": _BRIDGE,
    "widowx_put_eggplant_in_basket": _SINK,
    **{f"google_robot_pick_{pose}_coke_can": _CAN for pose in ("horizontal", "vertical", "standing")},
    "google_robot_move_near_v0": _NEAR_OBJECTS,
    "google_robot_open_drawer": _DRAWER,
    "google_robot_close_drawer": _DRAWER,
    "google_robot_place_apple_in_closed_top_drawer": _APPLE,
}


@dataclass(frozen=True)
class Scenery:
    """Where everything that moves is.

    Args:
        qpos: positions of the robot's joints.
        poses: of the objects: position (m) and orientation (w, x, y, z), (objects, 7).
    """

    qpos: np.ndarray
    poses: np.ndarray


class Environment:
    """An episode.

    Args:
        assets: where the data files are.
        task: its name, such as ``widowx_stack_cube``.
        start: what to start from, see ``placement.start_of``.

    Attributes:
        start: what it started from.
        robot: the robot.
        objects: the objects that can be moved, by model.
        cabinet: SAPIEN's articulation of the cabinet; None in scenes without a cabinet.
        steps: control steps so far.

    Raises:
        UserError: a file of the assets is missing.
    """

    def __init__(self, assets: Assets, task: str, start: Start) -> None:
        self.task, self.kind, self.start = task, KINDS[task], start
        self.steps = 0
        kind = self.kind
        self.scene = _new_scene(kind)
        objects.light(self.scene, kind.lights)
        widowx = kind.robot is not GOOGLE_ROBOT
        self.robot = RobotBody(
            self.scene, kind.robot, assets.robot(None if widowx else start.colouring), kind.shiny
        )
        self.robot.articulation.set_pose(sapien.Pose(_AWAY))
        self.cabinet = None
        if kind.room is not None:
            objects.add_room(self.scene, assets, kind.room)
        else:
            self.cabinet = objects.add_cabinet(self.scene, assets, start.drawer, start.open_at)
        if kind is _SINK:
            objects.add_sink(self.scene, assets)
        self.objects: dict[str, Body] = {}
        self._drop(assets)
        self.robot.articulation.set_pose(
            sapien.Pose([*start.robot_xy, kind.robot.height], list(start.robot_rotation))
        )
        self.robot.rest()
        self.controller = kind.controller(self.robot)
        self._camera = self._mount()
        self._background = background(assets.photograph(start.overlay), kind.robot.camera.size)
        self.first = {name: np.array(body.pose.p, np.float64) for name, body in self.objects.items()}
        # A box turned like a vector: that is how SimplerEnv measures.
        self.halves = {
            name: _turned(body.box, np.array(body.pose.q, np.float64)) for name, body in self.objects.items()
        }
        self._lift = success.Lift(next(iter(self.first.values()))[2]) if kind is _CAN else None
        self._in_drawer = 0
        self._second = False

    @property
    def instruction(self) -> str:
        """Return what the robot is asked to do now."""
        second = self.start.next_instruction
        return second if second and self._second else self.start.instruction

    def step(self, action: np.ndarray) -> bool:
        """Advance by a control step; return whether the task's predicate holds then.

        Raises:
            ValueError: the action is not seven finite numbers.
            RuntimeError: the action cannot be planned.
            FloatingPointError: the simulation diverged.
        """
        action = np.asarray(action, np.float64)
        if action.shape != (7,) or not np.isfinite(action).all():  # PhysX would take the process down
            raise ValueError("an action of this suite is seven finite numbers")
        # A step that is taken when SWITCH_AFTER are done is the second subtask's.
        self._second = self.steps >= SWITCH_AFTER
        self.controller.begin(action)
        for step in range(self.kind.robot.physics_steps):
            self.controller.aim(step)
            self.robot.compensate()
            self.scene.step()
        self.steps += 1
        if not np.isfinite(self.robot.qpos).all():
            raise FloatingPointError("the simulation diverged: a joint's position is no number")
        return self.evaluate()

    @property
    def pose(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the tool's position (m) and orientation (w, x, y, z) in the base's frame, and how far it is closed.

        The last is 0 for open and 1 for closed; Google's fingers may close further.
        """
        robot = self.robot
        tool, limits = robot.tool_in_base, robot.finger_limits
        fingers = robot.qpos[robot.fingers]
        if self.kind.robot is GOOGLE_ROBOT:
            closed = float(np.mean(fingers / limits[:, 1]))
        else:
            closed = float(np.mean((limits[:, 1] - fingers) / (limits[:, 1] - limits[:, 0])))
        return np.array(tool.p, np.float64), np.array(tool.q, np.float64), max(closed, 0.0)

    def picture(self) -> np.ndarray:
        """Return what the policy's camera sees, the photograph behind it; uint8 (height, width, 3)."""
        colour, shown = self.rendering()
        return overlaid(colour, shown, self._background)

    def rendering(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what is simulated, float32 (height, width, 3), and where it hides the photograph, bool."""
        colour, ids = self._render()
        shown = {self._id(link.entity) for link in self.robot.articulation.links}
        if self.cabinet is not None:
            shown |= {self._id(link.entity) for link in self.cabinet.links}
        hidden = ("dummy_sink_target_plane",)
        shown |= {self._id(body.entity) for name, body in self.objects.items() if name not in hidden}
        return colour, np.isin(ids, list(shown))

    @property
    def scenery(self) -> Scenery:
        """Return where everything that moves is now."""
        assert self.cabinet is None, "the cabinet's joints are not part of it"
        poses = [np.concatenate([body.pose.p, body.pose.q]) for body in self.objects.values()]
        return Scenery(self.robot.qpos, np.stack(poses))

    def arrange(self, scenery: Scenery) -> None:
        """Put everything where it was, to draw it; what moved on is lost."""
        self.robot.articulation.set_qpos(scenery.qpos)
        for body, pose in zip(self.objects.values(), scenery.poses, strict=True):
            body.place(sapien.Pose(pose[:3], pose[3:]))

    def evaluate(self) -> bool:
        """Return whether the predicate holds after the last physics step, and take note of it."""
        if self._lift is not None:
            can = self.only
            return self._lift.update(self._grasped(can), self._touches(can, ()), float(can.pose.p[2]))
        if self.cabinet is not None:
            position = float(self.cabinet.qpos[self._drawer])
            if self.start.next_instruction:
                self._in_drawer += self._touches_floor(self.only)
                return self._second and position >= success.DRAWER_NOT_SHUT and self._in_drawer >= 1
            if self.start.open_at:
                return position <= success.DRAWER_CLOSED
            return position >= success.DRAWER_OPEN
        source, target = (
            self.start.objects[number].model for number in (self.start.source, self.start.target)
        )
        if self.kind is _NEAR_OBJECTS:
            now = {name: np.array(body.pose.p, np.float64) for name, body in self.objects.items()}
            return all(success.near(self.first, now, source, target, self.halves).values())
        offset = self.objects[source].centre - self.objects[target].centre
        gap = 0.06 if self.kind is _SINK else 0.02
        if not success.on_target(offset, self.halves[source], self.halves[target], gap):
            return False
        free = self.task in ("widowx_spoon_on_towel", "widowx_put_eggplant_in_basket")
        return free or not self._touches(self.objects[source], (target,))

    @property
    def only(self) -> Body:
        """Return the object of a task that has one."""
        (body,) = self.objects.values()
        return body

    @property
    def _drawer(self) -> int:
        assert self.cabinet is not None
        names = [joint.name for joint in self.cabinet.active_joints]
        return names.index(f"{self.start.drawer}_drawer_joint")

    # --- contacts ---

    def _impulses(self, body: Body) -> Iterator[tuple[sapien.Entity, int, np.ndarray]]:
        """Yield what touches a body: the entity, which of its shapes, and the impulse that it takes, in N s."""
        for contact in self.scene.get_contacts():
            entities = [one.entity for one in contact.bodies]
            for mine, other, sign in ((0, 1, -1.0), (1, 0, 1.0)):
                if entities[mine] == body.entity:
                    # An impulse is told as the first body takes it.
                    total = sign * np.sum([point.impulse for point in contact.points], axis=0)
                    shapes = contact.bodies[other].collision_shapes
                    yield entities[other], shapes.index(contact.shapes[other]), total

    def _touches(self, body: Body, allowed: tuple[str, ...]) -> bool:
        """Return whether a body touches anything but the robot and these objects."""
        robot = {self._id(link.entity) for link in self.robot.articulation.links}
        return any(
            self._id(other) not in robot
            and other.name not in allowed
            and float(np.linalg.norm(impulse)) > success.IMPULSE
            for other, _, impulse in self._impulses(body)
        )

    def _touches_floor(self, body: Body) -> bool:
        assert self.cabinet is not None
        drawer = next(
            link for link in self.cabinet.links if link.name == f"{self.start.drawer}_drawer"
        ).entity
        return any(
            other == drawer and shape == _CABINET_FLOOR and float(np.linalg.norm(impulse)) > success.IMPULSE
            for other, shape, impulse in self._impulses(body)
        )

    def _grasped(self, body: Body) -> bool:
        totals: dict[str, np.ndarray] = {}
        for other, _, impulse in self._impulses(body):
            totals[other.name] = totals.get(other.name, np.zeros(3)) + impulse
        fingers = []
        for side in ("left", "right"):
            links = [self.robot.links[f"link_finger{tip}_{side}"] for tip in ("_tip", "")]
            fingers.append(
                [
                    (
                        link.entity_pose.to_transformation_matrix()[:3, 1].astype(np.float64),
                        totals.get(link.name, np.zeros(3)),
                    )
                    for link in links
                ]
            )
        return success.grasps(fingers)

    # --- setting up ---

    def _drop(self, assets: Assets) -> None:
        """Let the objects fall and settle, upright at first."""
        for placed in self.start.objects:
            body = objects.add_object(self.scene, assets, placed)
            body.place(sapien.Pose([*placed.xy, _DROP_HEIGHT], list(placed.rotation)))
            body.physics.set_locked_motion_axes([False, False, False, True, True, False])
            self.objects[placed.model] = body
        if not self.objects:
            return
        self._settle(0.5)
        for body in self.objects.values():
            body.physics.set_locked_motion_axes([False] * 6)
            body.stop()
        self._settle(0.5)
        speeds = np.sum([body.speeds for body in self.objects.values()], axis=0)
        if speeds[0] > _STILL[0] or speeds[1] > _STILL[1]:
            self._settle(1.5)

    def _settle(self, seconds: float) -> None:
        for _ in range(int(self.kind.robot.physics_hz * seconds)):
            self.scene.step()

    def _mount(self) -> sapien.render.RenderCameraComponent:
        camera = self.kind.robot.camera
        width, height = camera.size
        mounted = self.scene.add_mounted_camera(
            "camera",
            self.robot.links[camera.link].entity,
            sapien.Pose(list(camera.position), list(camera.rotation)),
            width,
            height,
            1.0,
            _NEAR,
            _FAR,
        )
        mounted.set_perspective_parameters(_NEAR, _FAR, camera.focal, camera.focal, *camera.centre, 0.0)
        return mounted

    def _render(self) -> tuple[np.ndarray, np.ndarray]:
        """Return colours, float32 (height, width, 3), and what each pixel belongs to, (height, width)."""
        self.scene.update_render()
        self._camera.take_picture()
        return self._camera.get_picture("Color")[..., :3], self._camera.get_picture("Segmentation")[..., 1]

    @staticmethod
    def _id(entity: sapien.Entity) -> int:
        return int(entity.per_scene_id)


def _new_scene(kind: Kind) -> sapien.Scene:
    """Return an empty scene. PhysX's settings are the process's: what is built from now on takes these."""
    physx = sapien.physx
    physx.set_scene_config(gravity=[0, 0, -9.81], enable_pcm=False, enable_tgs=True)
    physx.set_body_config(solver_position_iterations=25, solver_velocity_iterations=1)
    physx.set_shape_config(contact_offset=kind.contact_offset)
    physx.set_default_material(1.0, 1.0, 0.0)
    scene = sapien.Scene()
    scene.set_timestep(1.0 / kind.robot.physics_hz)
    return scene


def check_assets(assets: Assets, task: str) -> None:
    """Look for the files that episodes of a task may need.

    Raises:
        UserError: one of them is missing.
    """
    kind = KINDS[task]
    for number in range(60):  # the longest grid, and enough draws to meet everything
        start = start_of(task, number, number)
        assets.photograph(start.overlay)
        assets.robot(None if kind.robot is not GOOGLE_ROBOT else start.colouring)
        for placed in start.objects:
            assets.collision(placed.model)
            assets.surface(placed.model)
    if kind.room is not None:
        assets.stage(kind.room)
    if kind is _SINK:
        assets.surface("sink")


def keep_shaders() -> sapien.Scene:
    """Return an empty scene with a camera: as long as there is one, shaders are not compiled for every new scene."""
    scene = sapien.Scene()
    scene.add_camera("keeper", 8, 8, 1.0, _NEAR, _FAR)
    return scene


def _turned(vector: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    return np.array(sapien.Pose(q=quaternion).to_transformation_matrix()[:3, :3], np.float64) @ vector
