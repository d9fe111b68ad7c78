"""Small stand-ins for the published DROID scenes: the same names and types of prims, boxes for shapes."""

from pathlib import Path

BOX = {"target": 0.026, "container": 0.1}  # half-lengths


def write_scene(path: Path, target: str, container: str, rigid: bool = True) -> None:
    """Write a scene: a table, a cube, and an open box 8 cm high."""
    from pxr import Gf, Usd, UsdGeom, UsdPhysics

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, "Z")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    _box(stage, "/World/table", (0.4, 0, -0.02), (0.5, 0.6, 0.02))
    half, side = BOX["target"], BOX["container"]
    walls = [((sign * side, 0, 0.04), (0.004, side, 0.04)) for sign in (-1, 1)]
    walls += [((0, sign * side, 0.04), (side, 0.004, 0.04)) for sign in (-1, 1)]
    bodies = {
        target: ((0.45, -0.1, half), [((0, 0, 0), (half, half, half))]),
        container: ((0.5, 0.2, 0.0), [((0, 0, 0.004), (side, side, 0.004)), *walls]),
    }
    for name, (position, shapes) in bodies.items():
        body = UsdGeom.Xform.Define(stage, f"/World/{name}")
        body.AddTranslateOp().Set(Gf.Vec3d(*position))
        body.AddOrientOp().Set(Gf.Quatf(1))
        if rigid:
            UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
            UsdPhysics.MassAPI.Apply(body.GetPrim()).CreateMassAttr(0.2)
        for index, (at, size) in enumerate(shapes):
            _box(stage, f"/World/{name}/shape_{index}", at, size)
    stage.GetRootLayer().Save()


def write_robot(path: Path) -> None:
    """Write a robot: seven links above each other, and a hand with two fingers."""
    from pxr import Gf, Usd, UsdGeom, UsdPhysics

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, "Z")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    root = UsdGeom.Xform.Define(stage, "/panda").GetPrim()
    stage.SetDefaultPrim(root)
    UsdPhysics.ArticulationRootAPI.Apply(root)
    heights = {}

    def link(path: str, height: float) -> str:
        body = UsdGeom.Xform.Define(stage, path)
        body.AddTranslateOp().Set(Gf.Vec3d(0, 0, height))
        UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
        mass = UsdPhysics.MassAPI.Apply(body.GetPrim())
        mass.CreateMassAttr(1.0)
        mass.CreateDiagonalInertiaAttr(Gf.Vec3f(0.01))
        UsdGeom.Cube.Define(stage, f"{path}/shape").CreateSizeAttr(0.03)
        heights[path] = height
        return path

    def join(name: str, kind, parent: str | None, child: str, axis: str | None = None) -> None:
        joint = kind.Define(stage, f"/panda/joints/{name}")
        if parent:
            joint.CreateBody0Rel().SetTargets([parent])
        joint.CreateBody1Rel().SetTargets([child])
        joint.CreateLocalPos0Attr(Gf.Vec3f(0, 0, heights[child] - heights.get(parent or "", 0.0)))
        if axis:
            joint.CreateAxisAttr(axis)
            joint.CreateLowerLimitAttr(-170.0)
            joint.CreateUpperLimitAttr(215.0)
            UsdPhysics.DriveAPI.Apply(joint.GetPrim(), "angular").CreateStiffnessAttr(10.0)

    UsdGeom.Scope.Define(stage, "/panda/joints")
    previous = link("/panda/panda_link0", 0.0)
    join("root_joint", UsdPhysics.FixedJoint, None, previous)
    for index, axis in enumerate("ZYZYZYZ", start=1):
        here = link(f"/panda/panda_link{index}", 0.1 * index)
        join(f"panda_joint{index}", UsdPhysics.RevoluteJoint, previous, here, axis)
        previous = here
    hand = "/panda/Gripper/Robotiq_2F_85"
    base = link(f"{hand}/base_link", 0.8)
    join("hand_joint", UsdPhysics.FixedJoint, previous, base)
    for name, side in (("finger_joint", "left"), ("right_finger_joint", "right")):
        join(name, UsdPhysics.RevoluteJoint, base, link(f"{hand}/{side}_inner_finger", 0.9), "X")
    stage.GetRootLayer().Save()


def _box(stage, path: str, at, half) -> None:
    from pxr import Gf, UsdGeom, UsdPhysics

    cube = UsdGeom.Cube.Define(stage, path)
    cube.CreateSizeAttr(2.0)
    cube.AddTranslateOp().Set(Gf.Vec3d(*at))
    cube.AddScaleOp().Set(Gf.Vec3f(*half))
    UsdPhysics.CollisionAPI.Apply(cube.GetPrim())
