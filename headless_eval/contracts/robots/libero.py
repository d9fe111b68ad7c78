"""LIBERO's robot: a Franka Panda commanded by changes of its tool's pose (Liu et al., 2023)."""

from headless_eval.contracts.robots import ROBOTS, ActionGroup, Camera, Robot, StateGroup

_POSE = ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z")

LIBERO = ROBOTS.add(
    "libero",
    Robot(
        name="libero",
        summary="Franka Panda: changes of the tool's pose, as fractions of the largest, and a gripper at 20 Hz",
        cameras=(
            Camera("observation/image", "base_0_rgb"),
            Camera("observation/wrist_image", "left_wrist_0_rgb"),
        ),
        state=(
            StateGroup(
                "observation/state",
                (*_POSE, "finger_left", "finger_right"),
                ("m", "m", "m", "rad", "rad", "rad", "m", "m"),
            ),
        ),
        actions=(
            ActionGroup("arm", _POSE, "-1 to 1", relative=True),
            ActionGroup("gripper", ("gripper",), "-1 open, 1 closed", relative=False),
        ),
        control_hz=20.0,
        open_loop_horizon=5,
        prompt="put the bowl on the plate",
        example="pi05_libero",
    ),
)
