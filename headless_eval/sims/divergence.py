"""What MuJoCo says of a state that has diverged: it resets the state and goes on, leaves a count, and would print."""

import mujoco

_DIVERGED = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


def keep_quiet() -> None:
    """Keep MuJoCo's warnings off the screen, in the whole process: ``check`` raises what they say."""
    mujoco.set_mju_user_warning(lambda message: None)


def check(data: mujoco.MjData) -> None:
    """Raise what has happened to a simulation since its data were reset.

    Raises:
        FloatingPointError: it has diverged.
    """
    if any(data.warning[kind].number for kind in _DIVERGED):
        raise FloatingPointError("the simulation diverged: a position, velocity or acceleration is no number")
