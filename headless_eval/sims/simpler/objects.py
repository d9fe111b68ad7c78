"""What stands in a scene besides the robot: objects, rooms, the cabinet, lights; built as SAPIEN 2 does."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import sapien

from headless_eval.errors import UserError
from headless_eval.shared.untrusted import read_json
from headless_eval.sims.simpler.assets import Assets
from headless_eval.sims.simpler.placement import Placed
from headless_eval.sims.simpler.robots import materials

_TABLES = (
    "custom/info_pick_custom_baked_tex_v1.json",
    "custom/info_pick_custom_v0.json",
    "custom/info_pick_custom_baked_tex_v0.json",
    "custom/info_bridge_custom_v0.json",
    "custom/info_bridge_custom_baked_tex_v0.json",
)

# SAPIEN 3 splits a mesh into its convex parts by shared vertex numbers, SAPIEN 2 by shared positions. It matters for
# these: the spoon would be one hull, twice as heavy, and would lie tilted by 6 degrees.
_SPLIT_BY_POSITION = ("bridge_spoon_generated_modified", "baked_opened_redbull_can")

# Where SAPIEN 3's hulls weigh otherwise than SAPIEN 2's, by up to 0.2 %: mass (kg) and centre of mass (m) there.
_WEIGHTS = {
    "baked_opened_7up_can": (0.01964578778, (5.43519709e-05, -0.00252134609, -0.000434952177)),
    "baked_opened_coke_can": (0.0199575033, (7.77053647e-05, -0.00783845875, 0.000634123571)),
    "baked_opened_redbull_can": (0.01690243371, (1.38370251e-05, 0.000885069312, -2.67127762e-05)),
    "baked_sponge": (0.03485905752, (6.33363525e-05, 0.00276030274, -3.36325429e-05)),
    "blue_plastic_bottle": (0.02853430808, (0.0012224504, 0.000667486805, 0.00289955619)),
    "bridge_carrot_generated_modified": (0.05472691357, (0.00680288067, -0.000209795136, 0.000570481468)),
    "opened_coke_can": (0.0199575033, (7.77053647e-05, -0.00783845875, 0.000634123571)),
}

_DAMPING = 0.1
_FRICTION = 0.5
# Rooms have y up; where their origin lies in a scene.
_ROOMS = {
    "bridge_table_1_v1": (2.0634, 2.8313, 0.0),
    "bridge_table_1_v2": (2.0634, 2.8313, 0.0),
    "google_pick_coke_can_1_v4": (1.6616, 3.0337, 0.0),
}
_CABINET = "custom/mk_station_recolor.urdf"
_CABINET_PLACE = (-0.295, 0.0, 0.017)
_SINK_PLACE = (-0.16, 0.13, 0.88)

Vector = tuple[float, float, float]
Lights = tuple[float, tuple[tuple[Vector, float], ...]]
TABLE_LIGHTS: Lights = (0.3, (((0, 0, -1), 2.2), ((-1, -0.5, -1), 0.7), ((1, 1, -1), 0.7)))
SINK_LIGHTS: Lights = (0.3, (((0, 0, -1), 0.3),))
_STEEP = math.radians(75.0)
CABINET_LIGHTS: Lights = (1.0, (((-math.cos(_STEEP), 0, -math.sin(_STEEP)), 1.0),))


class Body:
    """An object of a scene.

    Args:
        name: its model.
        entity: SAPIEN's.
        box: half of its bounding box along its own axes, in metres.
    """

    def __init__(self, name: str, entity: sapien.Entity, box: np.ndarray) -> None:
        self.name, self.entity, self.box = name, entity, box
        self.physics = entity.find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)

    @property
    def pose(self) -> sapien.Pose:
        """Return where it is."""
        return self.entity.pose

    @property
    def centre(self) -> np.ndarray:
        """Return its centre of mass in the world, float64 (3,)."""
        return np.array((self.entity.pose * self.physics.cmass_local_pose).p, np.float64)

    def place(self, pose: sapien.Pose) -> None:
        """Put it somewhere, at rest."""
        self.entity.set_pose(pose)
        self.stop()

    def stop(self) -> None:
        """Take its velocity."""
        self.physics.set_linear_velocity([0, 0, 0])
        self.physics.set_angular_velocity([0, 0, 0])

    @property
    def speeds(self) -> tuple[float, float]:
        """Return its speed in m/s and its angular speed in rad/s."""
        return (
            float(np.linalg.norm(self.physics.linear_velocity)),
            float(np.linalg.norm(self.physics.angular_velocity)),
        )


def light(scene: sapien.Scene, lights: Lights) -> None:
    """Set a scene's lights; none of them casts shadows."""
    ambient, directed = lights
    scene.set_ambient_light([ambient] * 3)
    for direction, strength in directed:
        scene.add_directional_light(list(direction), [strength] * 3, shadow=False)


def add_object(scene: sapien.Scene, assets: Assets, placed: Placed) -> Body:
    """Build an object; where it is put is up to the caller.

    Raises:
        UserError: one of its files is missing, or nothing is known of the model.
    """
    box, density = _measures(assets, placed.model)
    material = sapien.physx.PhysxMaterial(_FRICTION, _FRICTION, 0.0)
    builder = scene.create_actor_builder()
    path = assets.collision(placed.model)
    density = density if placed.density is None else placed.density
    if placed.model not in _SPLIT_BY_POSITION:
        builder.add_multiple_convex_collisions_from_file(str(path), material=material, density=density)
    builder.add_visual_from_file(str(assets.surface(placed.model)))
    entity = builder.build_entity()
    entity.name = placed.model
    body = entity.find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)
    if placed.model in _SPLIT_BY_POSITION:
        for points in _parts(path):
            shape = sapien.physx.PhysxCollisionShapeConvexMesh(points, [1, 1, 1], material)
            shape.set_density(density)
            body.attach(shape)
    if placed.model in _WEIGHTS:
        mass, centre = _WEIGHTS[placed.model]
        inertia = body.inertia * (mass / body.mass)
        body.set_mass(mass)
        body.set_cmass_local_pose(sapien.Pose(list(centre), body.cmass_local_pose.q))
        body.set_inertia(inertia)
    body.set_linear_damping(_DAMPING)
    body.set_angular_damping(_DAMPING)
    scene.add_entity(entity)
    _glow([entity])
    return Body(placed.model, entity, box)


def add_sink(scene: sapien.Scene, assets: Assets) -> sapien.Entity:
    """Build the sink with the yellow basket, which nothing moves.

    Raises:
        UserError: one of its files is missing.
    """
    builder = scene.create_actor_builder()
    material = sapien.physx.PhysxMaterial(_FRICTION, _FRICTION, 0.0)
    builder.add_multiple_convex_collisions_from_file(str(assets.collision("sink")), material=material)
    builder.add_visual_from_file(str(assets.surface("sink")))
    builder.set_initial_pose(sapien.Pose(_SINK_PLACE))
    entity = builder.build_kinematic(name="sink")
    _glow([entity])
    return entity


def add_room(scene: sapien.Scene, assets: Assets, name: str) -> sapien.Entity:
    """Build a room, of which the photograph shows all but where the table is.

    Raises:
        UserError: its file is missing.
    """
    builder = scene.create_actor_builder()
    pose = sapien.Pose(list(_ROOMS[name]), [math.sqrt(0.5), math.sqrt(0.5), 0, 0])
    path = str(assets.stage(name))
    builder.add_nonconvex_collision_from_file(path, pose)
    builder.add_visual_from_file(path, pose)
    return builder.build_static(name="room")


def add_cabinet(
    scene: sapien.Scene, assets: Assets, drawer: str, open_at: float
) -> sapien.physx.PhysxArticulation:
    """Build the cabinet with one drawer open by so many metres.

    Raises:
        UserError: its file is missing.
    """
    loader = scene.create_urdf_loader()
    loader.fix_root_link = True
    loader.load_multiple_collisions_from_file = True
    cabinet = loader.load(str(assets.path(_CABINET)))
    cabinet.set_name("cabinet")
    cabinet.set_pose(sapien.Pose(list(_CABINET_PLACE)))
    for joint in cabinet.active_joints:
        joint.set_friction(0.05)
        joint.set_drive_properties(0.0, 1.0)
    cabinet.set_qpos(
        [open_at if joint.name == f"{drawer}_drawer_joint" else 0.0 for joint in cabinet.active_joints]
    )
    return cabinet


def _measures(assets: Assets, model: str) -> tuple[np.ndarray, float]:
    for table in _TABLES:
        known = _table(assets.path(table))
        if model in known:
            box = known[model]["bbox"]
            half = (np.array(box["max"]) - np.array(box["min"])) / 2
            return half * known[model].get("scales", [1.0])[0], float(known[model].get("density", 1000.0))
    raise KeyError(f"no table of the assets has the model {model}")


@cache
def _table(path: Path) -> dict[str, dict]:
    return read_json(path)


@cache
def _parts(path: Path) -> Sequence[np.ndarray]:
    """Return the vertices of each connected part of a mesh, vertices at one position taken as one."""
    points: list[list[float]] = []
    faces: list[list[int]] = []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            points.append([float(word) for word in words[:3]])
        elif kind == "f":
            faces.append([int(word.split("/")[0]) - 1 for word in words])
    merged, number = np.unique(np.array(points, np.float32), axis=0, return_inverse=True)
    owner = list(range(len(merged)))

    def root(vertex: int) -> int:
        while owner[vertex] != vertex:
            owner[vertex] = owner[owner[vertex]]
            vertex = owner[vertex]
        return vertex

    for face in faces:
        first = root(int(number.flat[face[0]]))
        for vertex in face[1:]:
            owner[root(int(number.flat[vertex]))] = first
    used = sorted({int(number.flat[vertex]) for face in faces for vertex in face})
    groups: dict[int, list[int]] = {}
    for vertex in used:
        groups.setdefault(root(vertex), []).append(vertex)
    if not groups:
        raise UserError(f"{path} holds no mesh: copy the assets again")
    return tuple(merged[group] for group in groups.values())


def _glow(entities: Sequence[sapien.Entity]) -> None:
    """Show emissive textures: SAPIEN 3 takes glTF's missing factor as black, SAPIEN 2 as white."""
    for material in materials(entities):
        if material.emission_texture is not None:
            material.emission = [1.0, 1.0, 1.0, 1.0]
