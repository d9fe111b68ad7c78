"""DROID's robot: a Franka Panda with a Robotiq gripper, commanded by joint positions (Khazatsky et al., 2024)."""

from headless_eval.contracts.robots import OPEN_OR_CLOSED, ROBOTS, ActionGroup, Camera, Robot, StateGroup

_JOINTS = tuple(f"joint_{number}" for number in range(1, 8))

DROID = ROBOTS.add(
    "droid",
    Robot(
        name="droid",
        summary="Franka Panda with a Robotiq gripper: 7 joint positions and a gripper at 15 Hz",
        cameras=(
            Camera("observation/exterior_image_1_left", "base_0_rgb"),
            Camera("observation/wrist_image_left", "left_wrist_0_rgb"),
        ),
        state=(
            StateGroup("observation/joint_position", _JOINTS, "rad"),
            StateGroup("observation/gripper_position", ("gripper",), OPEN_OR_CLOSED),
        ),
        actions=(
            ActionGroup("arm", _JOINTS, "rad", relative=True, hold="observation/joint_position"),
            ActionGroup(
                "gripper", ("gripper",), OPEN_OR_CLOSED, relative=False, hold="observation/gripper_position"
            ),
        ),
        control_hz=15.0,
        open_loop_horizon=8,
        prompt="put the cube in the bowl",
        example="pi05_droid_jointpos_polaris",
    ),
)
