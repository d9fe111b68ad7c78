"""The published scenes and RTX, as far as that goes without Isaac Sim.

Stand-ins with the names and types of the published prims run in Newton and in PhysX; configurations of what needs
Isaac Sim are built and checked against the installed Isaac Lab.
"""

import numpy as np
import pytest

pytest.importorskip("isaaclab", reason="Isaac Lab is not installed here: scripts/test_isaaclab.sh sets it up")

from published_standins import BOX, write_robot, write_scene

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.errors import UserError
from headless_eval.sims.droid.success import REST_STEPS
from headless_eval.sims.droid.suites import DroidSettings
from headless_eval.sims.droid.tasks import TASKS
from headless_eval.sims.registry import find_suite, find_tasks

pytestmark = pytest.mark.isaaclab


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    from headless_eval.sims.droid.isaaclab.published import BODIES, ROBOT_FILE

    for task, names in BODIES.items():
        write_scene(folder / f"scene{task}.usd", *names)
    write_robot(folder / ROBOT_FILE)
    return folder


@pytest.mark.parametrize(("physics", "number"), [("newton", 1), ("physx", 1), ("physx", 2), ("physx", 3)])
def test_a_scene_of_such_files_runs(assets, physics, number):
    task, other = TASKS[number - 1], TASKS[number % 3]
    if physics == "physx":
        pytest.importorskip("ovphysx")
    settings = DroidSettings(sim="isaaclab", isaac_assets=assets, physics=physics, renderer="newton")
    simulator = find_suite("droid").make(settings, num_slots=2, tasks=(task,))
    try:
        for slot in range(2):
            simulator.reset(slot, task, TrialSeed(7, number, slot))
        (observation, _) = simulator.observe([0, 1])
        assert observation["observation/exterior_image_1_left"].shape == (720, 1280, 3)
        assert observation["observation/wrist_image_left"].shape == (720, 1280, 3)
        assert observation["observation/joint_position"].shape == (7,)
        assert observation["observation/gripper_position"].shape == (1,)
        assert observation["prompt"] == task.instruction
        poses = simulator._read().poses[0]
        np.testing.assert_allclose(poses[:, :3], [[0.45, -0.1, BOX["target"]], [0.5, 0.2, 0]], atol=1e-6)

        # The cube into the box of slot 1 only: it rests there, and the arm, far above, lets go.
        joints, start = simulator._start(simulator._scene_now, simulator._initial[1])
        start[0, :3] = 0.5, 0.2, 0.036
        simulator._write(1, joints, start)
        hold = np.append(observation["observation/joint_position"], 0.0)
        done = [simulator.step({0: hold, 1: hold}) for _ in range(3 * REST_STEPS)]
        assert not any(results[0].success for results in done)
        assert done[-1][1].success
        assert f"scene{number}.usd" in simulator.describe()["assets_sha256"]
        with pytest.raises(UserError, match="one scene at a time"):
            simulator.reset(0, other, TrialSeed(7, 2, 0))

        # The arm and the gripper go where they are told.
        simulator.reset(0, task, TrialSeed(7, number, 0))
        goal = hold + np.array([0.2, 0.1, -0.2, 0.2, 0.2, -0.2, 0.3, 1.0])
        for _ in range(60):
            simulator.step({0: goal})
        (observation,) = simulator.observe([0])
        np.testing.assert_allclose(observation["observation/joint_position"], goal[:7], atol=0.05)
        assert observation["observation/gripper_position"] > 0.9
    finally:
        simulator.close()


@pytest.mark.parametrize(
    ("physics", "renderer", "device", "kit"),
    [
        ("physx", "rtx", "cuda", True),
        ("newton", "rtx", "cuda", True),
        ("physx", "newton", "cpu", False),
        ("physx", "newton", "cuda", False),
    ],
)
def test_what_is_configured_is_what_the_installed_isaac_lab_takes(assets, physics, renderer, device, kit):
    from isaaclab.app import validate_launch
    from isaaclab.utils import validate

    from headless_eval.sims.droid.isaaclab.published import published_env
    from headless_eval.sims.droid.isaaclab.scene import droid_env

    for config in (
        droid_env(2, physics, renderer, device, 96, 224),
        *(published_env(assets, task, 2, physics, renderer, device) for task in (1, 2, 3)),
    ):
        validate(config)
        found, sources = validate_launch(config, {"device": device, "headless": True, "enable_cameras": True})
        assert bool(sources) == found.needs_kit == kit  # whether it asks for Isaac Sim
        assert (config.scene.env_spacing > 0) == kit
        assert physics == "newton" or config.sim.physics.enable_enhanced_determinism
        assert config.sim.dt * config.sim.render_interval == pytest.approx(1 / 15)


def test_physx_is_told_what_only_newton_reads_in_the_robots_file():
    from isaaclab.sim import SimulationContext

    from headless_eval.sims.droid.isaaclab.scene import ARM_JOINTS, GRIPPER_JOINT, droid_env, simulation

    spawn = droid_env(1, "physx", "rtx", "cuda", 96, 224).scene.robot.spawn
    SimulationContext(simulation("newton", "newton", "cpu"))  # brings the stage
    try:
        robot = spawn.func("/World/Robot", spawn)
        prims = {prim.GetName(): prim for prim in _below(robot)}
        assert prims["panda_link3"].GetAttribute("physxRigidBody:disableGravity").Get() is True
        assert prims["left_fingertip"].GetAttribute("physxRigidBody:disableGravity").Get() is True
        driven = {
            name for name, prim in prims.items() if "PhysicsDriveAPI:angular" in prim.GetAppliedSchemas()
        }
        radii = {
            name: prim.GetAttribute("physxCollision:minTorsionalPatchRadius").Get()
            for name, prim in prims.items()
            if prim.GetAttribute("physxCollision:minTorsionalPatchRadius")
        }
        modes = {
            prim.GetAttribute("physxMaterial:frictionCombineMode").Get()
            for prim in prims.values()
            if prim.GetAttribute("physxMaterial:frictionCombineMode")
        }
        gearing = {
            name: prim.GetAttribute("physxMimicJoint:rotX:gearing").Get()
            for name, prim in prims.items()
            if prim.GetAttribute("physxMimicJoint:rotX:gearing")
        }
    finally:
        SimulationContext.clear_instance()
    assert gearing == {
        "left_fingertip_joint": 1.0,
        "right_fingertip_joint": 1.0,
        "right_knuckle_joint": -1.0,
    }
    assert driven == {*ARM_JOINTS, GRIPPER_JOINT}
    # The MJCF's pads: friction="1.2 0.02 0.001", priority="1".
    assert radii == pytest.approx({"left_pad": 0.02 / 1.2, "right_pad": 0.02 / 1.2})
    assert modes == {"max"}


def test_physx_is_told_of_the_published_robot(assets):
    from isaaclab.sim import SimulationContext

    from headless_eval.sims.droid.isaaclab.published import published_env
    from headless_eval.sims.droid.isaaclab.scene import simulation

    spawn = published_env(assets, 1, 1, "physx", "rtx", "cuda").scene.robot.spawn
    SimulationContext(simulation("newton", "newton", "cpu"))
    try:
        robot = spawn.func("/World/robot", spawn)
        prims = {prim.GetName(): prim for prim in _below(robot)}
        assert prims["panda_link3"].GetAttribute("physxRigidBody:maxDepenetrationVelocity").Get() == 5.0
        assert robot.GetAttribute("physxArticulation:solverPositionIterationCount").Get() == 64
        assert robot.GetAttribute("physxArticulation:enabledSelfCollisions").Get() is False
    finally:
        SimulationContext.clear_instance()


def _below(prim):
    from pxr import Usd

    return Usd.PrimRange(prim)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: folder / "none", "is no folder"),
        (lambda folder: (folder / "scene1.usd").unlink(), "lacks scene1.usd"),
        (
            lambda folder: (folder / "franka_robotiq_2f_85_flattened.usd").unlink(),
            "lacks franka_robotiq_2f_85_flattened.usd",
        ),
        (lambda folder: write_scene(folder / "other.usd", "apple", "_24_bowl"), "lacks the prim rubiks_cube"),
        (
            lambda folder: write_scene(folder / "other.usd", "rubiks_cube", "_24_bowl", rigid=False),
            "no rigid body",
        ),
        (lambda folder: (folder / "scene1.usd").write_text("no scene"), "cannot be read as USD"),
    ],
    ids=["folder", "scene", "robot", "prim", "rigid", "damaged"],
)
def test_damaged_assets_are_one_line(assets, tmp_path, spoil, said):
    import shutil

    from headless_eval.sims.droid.isaaclab.published import published_env

    folder = shutil.copytree(assets, tmp_path / "assets")
    spoiled = spoil(folder)
    if (folder / "other.usd").exists():
        (folder / "other.usd").replace(folder / "scene1.usd")
    where = spoiled if said == "is no folder" else folder
    with pytest.raises(UserError, match=said) as caught:
        published_env(where, 1, 1, "physx", "rtx", "cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tasks", [(), ("1", "2")])
def test_one_scene_must_be_named(assets, tasks):
    suite = find_suite("droid")
    settings = DroidSettings(sim="isaaclab", isaac_assets=assets)
    with pytest.raises(UserError, match="one scene at a time"):
        suite.make(settings, num_slots=1, tasks=find_tasks(suite.load_tasks(), tasks))
