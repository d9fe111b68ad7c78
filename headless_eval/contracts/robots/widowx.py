"""BridgeData's robot: a WidowX 250 S commanded by changes of its tool's pose (Walke et al., 2023)."""

from headless_eval.contracts.robots import ROBOTS, ActionGroup, Camera, Robot, StateGroup

WIDOWX = ROBOTS.add(
    "widowx",
    Robot(
        name="widowx",
        summary="WidowX 250 S: changes of the tool's pose in metres and radians, and a gripper at 5 Hz",
        cameras=(Camera("observation/image", "base_0_rgb"),),
        # The tool's pose in the frame of the robot's base.
        state=(
            StateGroup(
                "observation/state",
                ("x", "y", "z", "quaternion_w", "quaternion_x", "quaternion_y", "quaternion_z", "openness"),
                ("m", "m", "m", "1", "1", "1", "1", "0 closed, 1 open"),
            ),
        ),
        actions=(
            ActionGroup(
                "arm",
                ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z"),  # the rotation as axis times angle
                ("m", "m", "m", "rad", "rad", "rad"),
                relative=False,
            ),
            ActionGroup("gripper", ("gripper",), "-1 closed, 1 open", relative=False),
        ),
        control_hz=5.0,
        open_loop_horizon=4,
        prompt="put carrot on plate",
        example="open_pi_zero_bridge",
    ),
)
