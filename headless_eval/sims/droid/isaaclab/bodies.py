"""Spawns the scenes' bodies in Isaac Lab: writes their shapes as USD, for every physics engine.

Colliding shapes are written twice, to collide and to be drawn: Newton hides the colliders of a body that also has
shapes which are only drawn. The ``mjc:`` and ``newton:`` attributes are those that Newton's solver reads; other
engines skip them.
"""

import math
from collections.abc import Iterable
from typing import Any

import isaaclab.sim as sim_utils
from isaaclab.sim.utils import clone
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade, Vt

from headless_eval.sims.droid.bodies import Body, Shape
from headless_eval.sims.droid.isaaclab.robot_usd import linear
from headless_eval.sims.droid.isaaclab.scene import SURROUNDINGS, BodyCfg
from headless_eval.sims.droid.scenes import SCENES
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

_BODIES: dict[str, Body] = {body.name: body for scene in SCENES for body in scene.bodies}


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
    if cfg.body == SURROUNDINGS:
        _write_shapes(stage, prim_path, (TABLE, FLOOR), _SURROUNDINGS_FRICTION)
    else:
        body = _BODIES[cfg.body]
        UsdPhysics.RigidBodyAPI.Apply(root.GetPrim())
        _write_shapes(stage, prim_path, body.shapes, body.friction, body.mass)
    return root.GetPrim()


def _write_shapes(
    stage: Usd.Stage, path: str, shapes: Iterable[Shape], friction: float, mass: float = 0.0
) -> None:
    shapes = tuple(shapes)
    material = _write_material(stage, f"{path}/material", friction)
    solid = sum(shape.collides for shape in shapes)
    for index, shape in enumerate(shapes):
        drawn = _write_shape(stage, f"{path}/drawn_{index}", shape)
        drawn.CreateDisplayColorAttr([Gf.Vec3f(*linear(shape.rgb))])
        if not shape.collides:
            continue
        write = _write_prism if shape.kind == "cylinder" else _write_shape
        collider = write(stage, f"{path}/solid_{index}", shape)
        collider.CreatePurposeAttr(UsdGeom.Tokens.guide)
        prim = collider.GetPrim()
        UsdPhysics.CollisionAPI.Apply(prim)
        if mass:  # colliding shapes share it evenly; the inertia follows
            UsdPhysics.MassAPI.Apply(prim).CreateMassAttr(mass / solid)
        UsdShade.MaterialBindingAPI.Apply(prim).Bind(
            material, UsdShade.Tokens.weakerThanDescendants, "physics"
        )
        _uniform(prim, "mjc:condim", Sdf.ValueTypeNames.Int, _CONDIM)
        _uniform(prim, "mjc:solref", Sdf.ValueTypeNames.DoubleArray, Vt.DoubleArray(_SOLREF))
        _uniform(prim, "mjc:solimp", Sdf.ValueTypeNames.DoubleArray, Vt.DoubleArray(_SOLIMP))
        _uniform(prim, "newton:contactGap", Sdf.ValueTypeNames.Float, 0.0)


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


def _write_prism(stage: Usd.Stage, path: str, shape: Shape) -> Any:
    """Write a cylinder as a convex mesh of as much volume.

    Newton finds one point of contact only where a cylinder touches a box or another, on which things rock for ever.
    """
    radius, half = shape.size
    turn = 2 * math.pi / _PRISM_SIDES
    radius *= math.sqrt(turn / math.sin(turn))
    circle = [(radius * math.cos(turn * i), radius * math.sin(turn * i)) for i in range(_PRISM_SIDES)]
    sides = [
        (i, (i + 1) % _PRISM_SIDES, (i + 1) % _PRISM_SIDES + _PRISM_SIDES, i + _PRISM_SIDES)
        for i in range(_PRISM_SIDES)
    ]
    faces = [
        tuple(range(_PRISM_SIDES))[::-1],
        *sides,
        tuple(range(_PRISM_SIDES, 2 * _PRISM_SIDES)),
    ]
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr([Gf.Vec3f(x, y, z) for z in (-half, half) for x, y in circle])
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
