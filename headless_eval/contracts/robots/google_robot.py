"""Fractal's robot: Google's mobile manipulator, commanded by changes of its tool's pose (Brohan et al., 2022)."""

from headless_eval.contracts.robots import ROBOTS, ActionGroup, Camera, Robot, StateGroup

GOOGLE_ROBOT = ROBOTS.add(
    "google_robot",
    Robot(
        name="google_robot",
        summary="Google's mobile manipulator: changes of the tool's pose (m, rad) and of the gripper at 3 Hz",
        cameras=(Camera("observation/image", "base_0_rgb"),),
        # The tool's pose in the frame of the robot's base; unlike the WidowX's, its quaternion ends with w.
        state=(
            StateGroup(
                "observation/state",
                ("x", "y", "z", "quaternion_x", "quaternion_y", "quaternion_z", "quaternion_w", "closedness"),
                ("m", "m", "m", "1", "1", "1", "1", "0 open, 1 closed"),
            ),
        ),
        actions=(
            ActionGroup(
                "arm",
                ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z"),  # the rotation as axis times angle
                ("m", "m", "m", "rad", "rad", "rad"),
                relative=False,
            ),
            # A change of what the gripper was told last: 0 leaves it, whereas the WidowX's 0 is half open.
            ActionGroup("gripper", ("gripper",), "-1 opens, 1 closes", relative=False),
        ),
        control_hz=3.0,
        open_loop_horizon=2,
        prompt="pick coke can",
        example="open_pi_zero_fractal",
    ),
)
