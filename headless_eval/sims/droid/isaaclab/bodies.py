"""Spawns the scenes' bodies in Isaac Lab: writes their shapes as USD, for every physics engine.

Colliding shapes are written twice, to collide and to be drawn: Newton hides the colliders of a body that also has
shapes which are only drawn. The ``mjc:`` and ``newton:`` attributes are those that Newton's solver reads; other
engines skip them.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import isaaclab.sim as sim_utils
from isaaclab.sim.utils import clone
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, Vt

from headless_eval.sims.droid.bodies import Body, Shape
from headless_eval.sims.droid.isaaclab.robot_usd import linear
from headless_eval.sims.droid.isaaclab.scene import BodyCfg
from headless_eval.sims.droid.tabletop import FLOOR, TABLE

_GEOMETRIES = {
    "box": UsdGeom.Cube,
    "cylinder": UsdGeom.Cylinder,
    "capsule": UsdGeom.Capsule,
    "sphere": UsdGeom.Sphere,
}
# The contact settings of MuJoCo's model (mujoco_model.py).
_SOLREF, _SOLIMP, _CONDIM = (0.012, 1.0), (0.95, 0.99, 0.001, 0.5, 2.0), 4
_TORSIONAL_FRICTION, _ROLLING_FRICTION = 0.01, 0.0005
_SURROUNDINGS_FRICTION = 0.8
_PRISM_SIDES = 24
_SLENDER = 3.0
"""Height of a cylinder, in diameters, from which on it collides in slices."""
_SLICE = 0.015
"""Height of a slice, in metres: less than half of that of the gripper's pads, which touch several."""
# A fixed body does not yield, but Newton still divides by its mass in a contact's softness: so heavy that it hardly
# counts beside the lighter one. (Kilograms, and kg m^2.)
_FIXED_MASS, _FIXED_INERTIA = 5.0, 0.05


@clone
def spawn_body(
    prim_path: str,
    cfg: BodyCfg,
    translation: tuple[float, float, float] | None = None,
    orientation: tuple[float, float, float, float] | None = None,
    **_: Any,
) -> Usd.Prim:
    """Write a body at a path, with an (x, y, z, w) orientation; return its prim."""
    stage = sim_utils.get_current_stage()
    root = UsdGeom.Xform.Define(stage, prim_path)
    x, y, z, w = orientation or (0.0, 0.0, 0.0, 1.0)
    root.AddTranslateOp().Set(Gf.Vec3d(*(translation or (0.0, 0.0, 0.0))))
    root.AddOrientOp().Set(Gf.Quatf(w, x, y, z))
    if cfg.sealed is None:
        _write_shapes(stage, prim_path, (TABLE, FLOOR), _SURROUNDINGS_FRICTION)
    else:
        body: Body = cfg.sealed.body
        physics = UsdPhysics.RigidBodyAPI.Apply(root.GetPrim())
        if body.fixed:
            physics.CreateKinematicEnabledAttr(True)
            mass = UsdPhysics.MassAPI.Apply(root.GetPrim())
            mass.CreateMassAttr(_FIXED_MASS)
            mass.CreateDiagonalInertiaAttr(Gf.Vec3f(_FIXED_INERTIA))
        _write_shapes(stage, prim_path, body.shapes, body.friction, 0.0 if body.fixed else body.mass)
    return root.GetPrim()


def _write_shapes(
    stage: Usd.Stage, path: str, shapes: Iterable[Shape], friction: float, mass: float = 0.0
) -> None:
    shapes = tuple(shapes)
    material = _write_material(stage, f"{path}/material", friction)
    share = mass / max(1, sum(shape.collides for shape in shapes))
    for index, shape in enumerate(shapes):
        drawn = _write_shape(stage, f"{path}/drawn_{index}", shape)
        drawn.CreateDisplayColorAttr([Gf.Vec3f(*linear(shape.rgb))])
        if not shape.collides:
            continue
        for collider, part in _write_colliders(stage, f"{path}/solid_{index}", shape):
            collider.CreatePurposeAttr(UsdGeom.Tokens.guide)
            prim = collider.GetPrim()
            UsdPhysics.CollisionAPI.Apply(prim)
            if mass:  # colliding shapes share it evenly; the inertia follows
                UsdPhysics.MassAPI.Apply(prim).CreateMassAttr(share * part)
            UsdShade.MaterialBindingAPI.Apply(prim).Bind(
                material, UsdShade.Tokens.weakerThanDescendants, "physics"
            )
            _uniform(prim, "mjc:condim", Sdf.ValueTypeNames.Int, _CONDIM)
            _uniform(prim, "mjc:solref", Sdf.ValueTypeNames.DoubleArray, Vt.DoubleArray(_SOLREF))
            _uniform(prim, "mjc:solimp", Sdf.ValueTypeNames.DoubleArray, Vt.DoubleArray(_SOLIMP))
            _uniform(prim, "newton:contactGap", Sdf.ValueTypeNames.Float, 0.0)


def _write_colliders(stage: Usd.Stage, path: str, shape: Shape) -> list[tuple[Any, float]]:
    """Write the geometries that a shape collides as; return them with their shares of its volume.

    Where a cylinder touches a box or another, Newton finds one point of contact only, on which things rock for ever:
    it is a prism. It finds one point, too, where a box touches a prism that is not quite parallel to it. That does for
    stout ones. A slender peg rocks, and the gripper's pads, of which one touches it high and the other low, turn it and
    squeeze it out; so it is in slices, and those at its ends in quarters: each has a point of its own.
    """
    if shape.kind != "cylinder":
        return [(_write_shape(stage, path, shape), 1.0)]
    parts = slices(shape)
    corners = _corners(shape.size[0])
    quarter = _PRISM_SIDES // 4
    quarters = [
        [(0.0, 0.0), *(corners[(start + index) % _PRISM_SIDES] for index in range(quarter + 1))]
        for start in range(0, _PRISM_SIDES, quarter)
    ]
    found: list[tuple[Any, float]] = []
    for index, part in enumerate(parts):
        is_end = len(parts) > 1 and index in (0, len(parts) - 1)
        bases = quarters if is_end else [corners]
        for base in bases:
            name = f"{path}_{len(found)}" if found else path
            found.append((_write_prism(stage, name, part, base), 1 / len(parts) / len(bases)))
    return found


def slices(cylinder: Shape) -> list[Shape]:
    """Return upright cylinders stacked on each other that fill a slender one; another one as it is."""
    radius, half = cylinder.size
    if half < _SLENDER * radius:
        return [cylinder]
    count = math.ceil(2 * half / _SLICE)
    x, y, z = cylinder.pos
    each = half / count
    return [
        replace(cylinder, size=(radius, each), pos=(x, y, z - half + (2 * index + 1) * each))
        for index in range(count)
    ]


def _corners(radius: float) -> list[tuple[float, float]]:
    """Return the corners of a prism's base that has the area of a circle."""
    turn = 2 * math.pi / _PRISM_SIDES
    radius *= math.sqrt(turn / math.sin(turn))
    return [(radius * math.cos(turn * i), radius * math.sin(turn * i)) for i in range(_PRISM_SIDES)]


def _write_shape(stage: Usd.Stage, path: str, shape: Shape) -> Any:
    geometry = _GEOMETRIES[shape.kind].Define(stage, path)
    scale = (1.0, 1.0, 1.0)
    if shape.kind == "box":
        geometry.CreateSizeAttr(2.0)
        scale = shape.size  # type: ignore[assignment]
    else:
        geometry.CreateRadiusAttr(shape.size[0])
        if shape.kind != "sphere":
            geometry.CreateAxisAttr("Z")
            geometry.CreateHeightAttr(2 * shape.size[1])
    _place(geometry, shape, scale)
    return geometry


def _write_prism(stage: Usd.Stage, path: str, shape: Shape, base: list[tuple[float, float]]) -> Any:
    """Write an upright prism as high as a cylinder, on a convex base whose corners go round counter-clockwise."""
    half, count = shape.size[1], len(base)
    sides = [(i, (i + 1) % count, (i + 1) % count + count, i + count) for i in range(count)]
    faces = [tuple(range(count))[::-1], *sides, tuple(range(count, 2 * count))]
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr([Gf.Vec3f(x, y, z) for z in (-half, half) for x, y in base])
    mesh.CreateFaceVertexCountsAttr([len(face) for face in faces])
    mesh.CreateFaceVertexIndicesAttr([index for face in faces for index in face])
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    UsdPhysics.MeshCollisionAPI.Apply(mesh.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)
    _place(mesh, shape)
    return mesh


def _place(geometry: Any, shape: Shape, scale: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
    geometry.AddTranslateOp().Set(Gf.Vec3d(*map(float, shape.pos)))
    geometry.AddOrientOp().Set(Gf.Quatf(*map(float, shape.quat)))
    geometry.AddScaleOp().Set(Gf.Vec3f(*map(float, scale)))


def _write_material(stage: Usd.Stage, path: str, friction: float) -> UsdShade.Material:
    material = UsdShade.Material.Define(stage, path)
    physics = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    physics.CreateStaticFrictionAttr(friction)
    physics.CreateDynamicFrictionAttr(friction)
    _uniform(material.GetPrim(), "newton:torsionalFriction", Sdf.ValueTypeNames.Float, _TORSIONAL_FRICTION)
    _uniform(material.GetPrim(), "newton:rollingFriction", Sdf.ValueTypeNames.Float, _ROLLING_FRICTION)
    return material


def _uniform(prim: Usd.Prim, name: str, kind: Any, value: Any) -> None:
    prim.CreateAttribute(name, kind, False, Sdf.VariabilityUniform).Set(value)
