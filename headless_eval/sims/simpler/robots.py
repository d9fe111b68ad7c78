"""The two robots: their numbers, which SimplerEnv identified on real robots, and how SAPIEN builds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sapien


@dataclass(frozen=True)
class Friction:
    """What a link's surface is like; the patches are PhysX's, in metres."""

    static: float
    dynamic: float
    patch: float


@dataclass(frozen=True)
class Drive:
    """A joint's drive: stiffness and damping (N m/rad and N m s/rad, or N/m and N s/m), and the most it exerts."""

    stiffness: float
    damping: float
    force: float


@dataclass(frozen=True)
class Camera:
    """The camera that policies see through.

    Args:
        link: that it is mounted on.
        size: width and height in pixels.
        focal: focal length in pixels.
        centre: principal point in pixels.
        position: in the link's frame, in metres.
        rotation: in the link's frame (w, x, y, z); x looks ahead, z up.
    """

    link: str
    size: tuple[int, int]
    focal: float
    centre: tuple[float, float]
    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float]


@dataclass(frozen=True)
class RobotModel:
    """Everything that does not change between episodes.

    Args:
        control_hz: control steps a second.
        physics_hz: physics steps a second.
        base: link in whose frame poses are told.
        tool: link whose pose is commanded.
        arm: drives of the joints that inverse kinematics moves.
        fingers: drives of the gripper's joints.
        start: positions of all joints at first, in radians and metres.
        height: of the base above the floor, in metres.
        friction: of links that differ from the default.
        groups: collision groups of links that differ from the default.
        camera: what policies see through.
    """

    control_hz: int
    physics_hz: int
    base: str
    tool: str
    arm: Mapping[str, Drive]
    fingers: Mapping[str, Drive]
    start: Mapping[str, float]
    height: float
    friction: Mapping[str, Friction]
    camera: Camera
    groups: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)

    @property
    def physics_steps(self) -> int:
        """Return physics steps in a control step."""
        return self.physics_hz // self.control_hz


def _drives(names: tuple[str, ...], *columns: tuple[float, ...]) -> dict[str, Drive]:
    return {name: Drive(*values) for name, *values in zip(names, *columns, strict=True)}


def _looking(forward: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """Return the orientation of a camera that looks along a direction, z up."""
    ahead = np.array(forward) / np.linalg.norm(forward)
    left = np.cross([0.0, 0.0, 1.0], ahead)
    left /= np.linalg.norm(left)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([ahead, left, np.cross(ahead, left)], axis=1)
    w, x, y, z = (float(value) for value in sapien.Pose(matrix).q)
    return (w, x, y, z)


_WIDOWX_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
_WIDOWX_FINGERS = ("left_finger", "right_finger")


def _widowx(
    start: tuple[float, ...],
    height: float,
    position: tuple[float, float, float],
    rotation: tuple[float, float, float, float],
) -> RobotModel:
    return RobotModel(
        control_hz=5,
        physics_hz=500,
        base="base_link",
        tool="ee_gripper_link",
        arm=_drives(
            _WIDOWX_ARM,
            (
                1169.7891719504198,
                730.0,
                808.4601346394447,
                1229.1299089624076,
                1272.2760456418862,
                1056.3326605132252,
            ),
            (330.0, 180.0, 152.12036565582588, 309.6215302722146, 201.04998711007383, 269.51458932695414),
            (200.0, 200.0, 100.0, 100.0, 100.0, 100.0),
        ),
        fingers=_drives(_WIDOWX_FINGERS, (1000.0, 1000.0), (200.0, 200.0), (60.0, 60.0)),
        start=dict(zip((*_WIDOWX_ARM, *_WIDOWX_FINGERS), start, strict=True)),
        height=height,
        friction=dict.fromkeys(("left_finger_link", "right_finger_link"), Friction(2.0, 2.0, 0.01)),
        camera=Camera("base_link", (640, 480), 623.588, (319.501, 239.545), position, rotation),
        # Without them the fingers collide with the bar that they slide on, and the arm is 0.15 rad off.
        groups={
            "gripper_bar_link": (1, 1, 0b11, 0),
            "left_finger_link": (1, 1, 0b01, 0),
            "right_finger_link": (1, 1, 0b10, 0),
        },
    )


WIDOWX = _widowx(
    (-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398, 0.037, 0.037),
    0.870,
    (0.0, -0.16, 0.36),
    _looking((1.0, 0.553, -1.085)),
)
WIDOWX_AT_SINK = _widowx(
    (-0.2600599, -0.12875618, 0.04461369, -0.00652761, 1.7033415, -0.26983038, 0.037, 0.037),
    0.85,
    (-0.00300001, -0.21, 0.39),
    (-0.907313, 0.0782, -0.36434, -0.194741),
)

_GOOGLE_ARM = tuple(
    f"joint_{name}" for name in ("torso", "shoulder", "bicep", "elbow", "forearm", "wrist", "gripper")
)
_GOOGLE_HEAD = ("joint_head_pan", "joint_head_tilt")
_GOOGLE_FINGERS = ("joint_finger_right", "joint_finger_left")
_SIDES = ("left", "right")

GOOGLE_ROBOT = RobotModel(
    control_hz=3,
    physics_hz=513,
    base="link_base",
    tool="link_gripper_tcp",
    # The head counts as arm: inverse kinematics leaves it where it is, as nothing of the tool depends on it.
    arm=_drives(
        (*_GOOGLE_ARM, *_GOOGLE_HEAD),
        (
            *(1700.0, 1737.0471680861954, 979.975871856535, 930.0, 1212.154500274304, 432.96500923932535),
            *(468.0013365498738, 2000.0, 2000.0),
        ),
        (
            *(1059.9791902443303, 1010.4720585373592, 767.2803161582076, 680.0, 674.9946964336588),
            *(274.613381336198, 340.532560578637, 900.0, 900.0),
        ),
        (300.0, 300.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0),
    ),
    fingers=_drives(_GOOGLE_FINGERS, (200.0, 200.0), (8.0, 8.0), (60.0, 60.0)),
    start=dict(
        zip(
            (*_GOOGLE_ARM, *_GOOGLE_FINGERS, *_GOOGLE_HEAD),
            (
                *(-0.2639457174606611, 0.0831913360274175, 0.5017611504652179, 1.156859026208673),
                *(0.028583671314766423, 1.592598203487462, -1.080652960128774),
                *(0.0, 0.0, -0.00285961, 0.7851361),
            ),
            strict=True,
        )
    ),
    height=0.07905,
    friction={
        **{f"link_finger{tip}_{side}": Friction(2.0, 2.0, 0.1) for tip in ("", "_tip") for side in _SIDES},
        **{f"link_finger_nail_{side}": Friction(0.1, 0.1, 0.01) for side in _SIDES},
        "link_base": Friction(0.1, 0.0, 0.1),
        **{f"link{rear}_wheel_{side}": Friction(1.0, 0.0, 0.1) for rear in ("", "_rear") for side in _SIDES},
    },
    camera=Camera("link_camera", (640, 512), 425.0, (320.0, 256.0), (0.0, 0.0, 0.0), (0.5, 0.5, -0.5, 0.5)),
)


class RobotBody:
    """A robot in a scene, its joints in an order of our own: the arm's as the model has them, then the fingers'.

    Args:
        scene: to build it in.
        model: its numbers.
        description: its URDF.
        shiny: whether its surfaces are made to reflect a little.
    """

    def __init__(self, scene: sapien.Scene, model: RobotModel, description: Path, shiny: bool) -> None:
        loader = scene.create_urdf_loader()
        loader.fix_root_link = True
        loader.load_multiple_collisions_from_file = True
        for link, friction in model.friction.items():
            loader.set_link_material(link, friction.static, friction.dynamic, 0.0)
            loader.set_link_patch_radius(link, friction.patch)
            loader.set_link_min_patch_radius(link, friction.patch)
        self.model = model
        # Without the coupling of the WidowX's fingers that its description asks for: SAPIEN 2 knows none.
        builder = loader.load_file_as_articulation_builder(str(description))
        self.articulation = builder.build(build_mimic_joints=False)
        self.links = {link.name: link for link in self.articulation.links}
        for link, groups in model.groups.items():
            for shape in self.links[link].collision_shapes:
                shape.set_collision_groups(list(groups))
        self._names = [joint.name for joint in self.articulation.active_joints]
        self._joints = {joint.name: joint for joint in self.articulation.active_joints}
        for name, drive in {**model.arm, **model.fingers}.items():
            joint = self._joints[name]
            joint.set_drive_properties(drive.stiffness, drive.damping, drive.force, "force")
            joint.set_friction(0.0)
        if shiny:
            for material in materials(self.links.values()):
                material.specular, material.roughness = 0.9, 0.3
        self._kinematics = self.articulation.create_pinocchio_model()
        self._tool = self.articulation.links.index(self.links[model.tool])
        self._arm_mask = np.array([int(name in model.arm) for name in self._names])
        self.arm = self._places(model.arm)
        self.fingers = self._places(model.fingers)

    def _places(self, names: Mapping[str, Drive]) -> np.ndarray:
        return np.array([self._names.index(name) for name in names])

    @property
    def finger_limits(self) -> np.ndarray:
        """Return the limits of the fingers, (2, 2)."""
        return np.array(self.articulation.qlimits)[self.fingers].astype(np.float64)

    @property
    def qpos(self) -> np.ndarray:
        """Return the positions of the active joints in SAPIEN's order, float64."""
        return np.array(self.articulation.qpos, np.float64)

    @property
    def qvel(self) -> np.ndarray:
        """Return the velocities of the active joints in SAPIEN's order, float64."""
        return np.array(self.articulation.qvel, np.float64)

    def named(self, values: np.ndarray) -> dict[str, float]:
        """Return values in SAPIEN's order by the joints' names."""
        return dict(zip(self._names, (float(value) for value in values), strict=True))

    def rest(self) -> None:
        """Put all joints to the start, without velocity."""
        self.articulation.set_qpos([self.model.start[name] for name in self._names])
        self.articulation.set_qvel(np.zeros(len(self._names)))

    def aim(self, places: np.ndarray, positions: np.ndarray, velocities: np.ndarray | None = None) -> None:
        """Set the drive targets of joints, named by their places in SAPIEN's order."""
        for number, place in enumerate(places):
            joint = self._joints[self._names[place]]
            joint.set_drive_target(float(positions[number]))
            if velocities is not None:
                joint.set_drive_velocity_target(float(velocities[number]))

    def compensate(self) -> None:
        """Apply what holds the links against gravity and Coriolis forces during the next physics step."""
        self.articulation.set_qf(self.articulation.compute_passive_force())

    @property
    def tool_in_base(self) -> sapien.Pose:
        """Return the tool's pose in the frame of the robot's base."""
        return self.links[self.model.base].entity_pose.inv() * self.links[self.model.tool].entity_pose

    def solve(self, pose: sapien.Pose) -> np.ndarray | None:
        """Return positions of all joints, in SAPIEN's order, that bring the tool to a pose in the base's frame.

        Searches from where the joints are, over at most 100 iterations; None if it does not arrive.
        """
        result, success, _ = self._kinematics.compute_inverse_kinematics(
            self._tool, pose, initial_qpos=self.qpos, active_qmask=self._arm_mask, max_iterations=100
        )
        return np.array(result, np.float64) if success else None


def materials(bodies: object) -> list[sapien.render.RenderMaterial]:
    """Return the render materials of bodies, of entities or links."""
    found = []
    for body in bodies:  # type: ignore[attr-defined]
        entity = getattr(body, "entity", body)
        component = entity.find_component_by_type(sapien.render.RenderBodyComponent)
        for shape in component.render_shapes if component is not None else ():
            parts = shape.parts if hasattr(shape, "parts") else None
            found += [part.material for part in parts] if parts else [shape.material]
    return found
