"""A point in the plane, moved by its velocity."""

from headless_eval.contracts.robots import ActionGroup, Camera, Robot, StateGroup

POINT = Robot(
    name="point",
    summary="a point in the plane: 2 velocities at 10 Hz",
    cameras=(Camera("observation/image", "base_0_rgb"),),
    state=(
        StateGroup("observation/position", ("x", "y"), "m"),
        StateGroup("observation/goal", ("x", "y"), "m"),
    ),
    actions=(ActionGroup("velocity", ("x", "y"), "m/s", relative=False),),
    control_hz=10.0,
    open_loop_horizon=4,
    prompt="go to the goal",
)
