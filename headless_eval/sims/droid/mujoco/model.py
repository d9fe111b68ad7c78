"""MuJoCo model of a scene, built from the scene's description and the robot's MJCF."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

import mujoco
import numpy as np

from headless_eval.sims.droid.bodies import Body, Shape
from headless_eval.sims.droid.geometry import look_at
from headless_eval.sims.droid.look import PLAIN, Look
from headless_eval.sims.droid.tabletop import (
    FLOOR_Z,
    SKY,
    TABLE,
    Camera,
    Scene,
)

TIMESTEP = 1 / 240

_GEOM_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
}
_OBJECT_SOLREF = (0.012, 1.0)
_OBJECT_SOLIMP = (0.95, 0.99, 0.001, 0.5, 2.0)


def robot_mjcf() -> str:
    """Return the robot's MJCF text."""
    return resources.files("headless_eval.sims.droid").joinpath("assets/panda_2f85.xml").read_text("utf-8")


def robot_sha256() -> str:
    """Return the SHA-256 of the robot's MJCF text."""
    return hashlib.sha256(robot_mjcf().encode()).hexdigest()


def build_model(scene: Scene, look: Look = PLAIN, bodies: Sequence[Body] | None = None) -> mujoco.MjModel:
    """Compile a scene: robot, table, bodies, cameras, lights.

    Args:
        scene: to compile.
        look: how it looks; nothing that moves depends on it.
        bodies: instead of the scene's, which they begin with: in other colours, with further ones after them.
    """
    spec = mujoco.MjSpec.from_string(robot_mjcf())
    spec.modelname = f"droid_{scene.key}"
    option = spec.option
    option.timestep = TIMESTEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10
    option.iterations, option.ls_iterations = 100, 50
    _add_background(spec, look)
    _add_shape(spec.worldbody, replace(TABLE, rgb=look.table), friction=0.8, group=2)
    for shape in look.decoration:
        _add_shape(spec.worldbody, shape, friction=0.8, group=2)
    for body in scene.bodies if bodies is None else bodies:
        _add_body(spec, body)
    for camera in (look.exterior, look.wrist):
        _add_camera(spec, camera)
    return spec.compile()


def _add_background(spec: mujoco.MjSpec, look: Look) -> None:
    visual = spec.visual
    visual.headlight.ambient = [0.45, 0.45, 0.45]
    visual.headlight.diffuse = [0.25, 0.25, 0.25]
    visual.headlight.specular = [0, 0, 0]
    visual.quality.offsamples = 4
    visual.quality.shadowsize = 0
    visual.quality.numslices, visual.quality.numstacks = 16, 8
    visual.map.znear, visual.map.zfar = 0.01, 20
    visual.global_.offwidth, visual.global_.offheight = 1280, 720
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=SKY[0],
        rgb2=SKY[1],
        width=64,
        height=384,
    )
    spec.worldbody.add_light(
        pos=[0.3, -0.6, 2.0], dir=look.light_direction, diffuse=[0.5, 0.5, 0.5], specular=[0.1, 0.1, 0.1],
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=False,
    )  # fmt: skip
    spec.worldbody.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3, 3, 0.1], pos=[0, 0, FLOOR_Z],
        rgba=[*look.floor, 1], contype=1, conaffinity=3, group=2,
    )  # fmt: skip


def _add_shape(body: mujoco.MjsBody, shape: Shape, friction: float, group: int, mass: float = 0.0) -> None:
    body.add_geom(
        type=_GEOM_TYPES[shape.kind],
        size=[*shape.size, 0.0, 0.0][:3],
        pos=shape.pos,
        quat=shape.quat,
        rgba=[*shape.rgb, 1.0],
        mass=mass,
        friction=[friction, 0.01, 0.0005],
        condim=4,
        solref=_OBJECT_SOLREF,
        solimp=_OBJECT_SOLIMP,
        contype=1 if shape.collides else 0,
        conaffinity=3 if shape.collides else 0,
        group=group,
    )


def _add_body(spec: mujoco.MjSpec, description: Body) -> None:
    # A mocap body stands still, but its pose is part of the data, not of the model.
    body = spec.worldbody.add_body(name=description.name, mocap=description.fixed)
    if not description.fixed:
        body.add_freejoint(name=description.name)
    solid = [shape for shape in description.shapes if shape.collides]
    for shape in description.shapes:
        # Colliding shapes share the mass evenly; MuJoCo derives the inertia.
        mass = description.mass / len(solid) if shape.collides else 0.0
        _add_shape(body, shape, description.friction, group=2, mass=mass)


def _add_camera(spec: mujoco.MjSpec, camera: Camera) -> None:
    parent = spec.worldbody if camera.parent is None else spec.body(camera.parent)
    axes = look_at(np.array(camera.pos), np.array(camera.target), np.array(camera.up))
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.flatten())
    parent.add_camera(name=camera.name, pos=camera.pos, quat=quat, fovy=camera.fovy)
