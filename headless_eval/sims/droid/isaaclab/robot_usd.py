"""Turns the robot's MJCF into the USD file that Isaac Lab loads, ``assets/panda_2f85.usda``.

The file ships with the package, for the converter wants a newer MuJoCo than Isaac Lab pins. After a change of the
MJCF it is built anew, from an environment of the converter's own, and a test fails until it is:

    python -m venv /tmp/converter && /tmp/converter/bin/pip install mujoco-usd-converter
    PYTHONPATH=. /tmp/converter/bin/python -m headless_eval.sims.droid.isaaclab.robot_usd
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[1] / "assets"
MJCF, USD = ASSETS / "panda_2f85.xml", ASSETS / "panda_2f85.usda"


def linear(colour: Iterable[float]) -> tuple[float, ...]:
    """Return a colour as USD keeps it, linear, of one as screens and MuJoCo take it, sRGB."""
    return tuple(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour)


def mjcf_sha256() -> str:
    """Return the hash of the MJCF file, which the USD file made of it holds as ``mjcf_sha256``."""
    return hashlib.sha256(MJCF.read_bytes()).hexdigest()


def build(target: Path = USD) -> None:
    """Convert the MJCF and write the USD file.

    Raises:
        ModuleNotFoundError: mujoco-usd-converter is not installed.
    """
    from mujoco_usd_converter import Converter
    from pxr import Usd

    with tempfile.TemporaryDirectory() as folder:
        asset = Converter(layer_structure=False).convert(str(MJCF), folder)
        stage = Usd.Stage.Open(asset.path)
        _adapt(stage)
        layer = stage.GetRootLayer()
        layer.documentation = ""  # it would name the temporary folder
        layer.customLayerData = {
            "creator": layer.customLayerData["creator"],
            "mjcf": MJCF.name,
            "mjcf_sha256": mjcf_sha256(),
        }
        target.write_text(layer.ExportToString(), encoding="utf-8")


def _adapt(stage: Any) -> None:
    """Fit the converted robot to Isaac Lab, which sets time steps and actuators itself."""
    from pxr import Sdf, UsdGeom, UsdPhysics

    root = stage.GetDefaultPrim()
    prims = list(stage.Traverse())
    for prim in prims:
        # Sites would be drawn.
        if prim.GetTypeName() in ("PhysicsScene", "MjcActuator") or "MjcSiteAPI" in prim.GetAppliedSchemas():
            stage.RemovePrim(prim.GetPath())
    for prim in (prim for prim in prims if prim.IsValid()):
        compensation = prim.GetAttribute("mjc:body:gravcomp")
        if compensation:  # Newton reads it under another name
            value = compensation.Get()
            prim.RemoveProperty(compensation.GetName())
            _uniform(prim, "mjc:gravcomp", Sdf.ValueTypeNames.Double, value)
        if prim.HasAPI(UsdPhysics.CollisionAPI):
            _draw_apart(stage, prim)
        colour = UsdGeom.PrimvarsAPI(prim).GetPrimvar("displayColor")
        if colour:
            colour.Set([linear(value) for value in colour.Get()])
        if prim.HasAPI(UsdPhysics.ArticulationRootAPI):
            # On the link it would make PhysX treat the fixed base as a loose tree of joints.
            prim.RemoveAPI(UsdPhysics.ArticulationRootAPI)
            prim.RemoveAppliedSchema("NewtonArticulationRootAPI")
            prim.RemoveProperty("newton:jointsAddMobility")
    UsdPhysics.ArticulationRootAPI.Apply(root)
    root.AddAppliedSchema("NewtonArticulationRootAPI")
    _uniform(root, "newton:selfCollisionEnabled", Sdf.ValueTypeNames.Bool, False)
    root.RemoveProperty("extentsHint")


def _draw_apart(stage: Any, collider: Any) -> None:
    """Add a copy of a colliding shape that is only drawn.

    Newton hides the colliders of a body that also has shapes which are only drawn.
    """
    from pxr import Sdf, UsdGeom

    path = collider.GetPath()
    drawn = path.GetParentPath().AppendChild(f"{path.name}_drawn")
    layer = stage.GetRootLayer()
    Sdf.CopySpec(layer, path, layer, drawn)
    copy = stage.GetPrimAtPath(drawn)
    copy.SetMetadata("apiSchemas", Sdf.TokenListOp.CreateExplicit(["MjcImageableAPI"]))
    for attribute in copy.GetProperties():
        if attribute.GetNamespace() in ("physics", "newton", "mjc") or "material" in attribute.GetName():
            copy.RemoveProperty(attribute.GetName())
    UsdGeom.Imageable(collider).CreatePurposeAttr("guide")


def _uniform(prim: Any, name: str, kind: Any, value: Any) -> None:
    from pxr import Sdf

    prim.CreateAttribute(name, kind, False, Sdf.VariabilityUniform).Set(value)


if __name__ == "__main__":
    try:
        build()
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is missing: pip install mujoco-usd-converter (see this file's first lines)"
        )
    print(USD)
