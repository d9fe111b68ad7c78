"""Push-T's robot: a disc in a plane that is commanded where to go (Florence et al., 2021; Chi et al., 2023)."""

from headless_eval.contracts.robots import ROBOTS, ActionGroup, Camera, Robot, StateGroup

PUSHT = ROBOTS.add(
    "pusht",
    Robot(
        name="pusht",
        summary="a disc that pushes in a plane: its target position in pixels of a 512-pixel field at 10 Hz",
        cameras=(Camera("observation/image", "base_0_rgb"),),
        state=(StateGroup("observation/state", ("x", "y"), "px"),),
        actions=(ActionGroup("disc", ("x", "y"), "px", relative=True, hold="observation/state"),),
        control_hz=10.0,
        open_loop_horizon=8,
        prompt="push the T onto the green T",
    ),
)
