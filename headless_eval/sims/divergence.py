"""Divergence of MuJoCo simulations: MuJoCo resets a diverged state, counts a warning and prints it."""

import mujoco

_DIVERGED = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)


def keep_quiet() -> None:
    """Suppress MuJoCo's printed warnings in the whole process; ``check`` raises an error for them instead."""
    mujoco.set_mju_user_warning(lambda message: None)


def check(data: mujoco.MjData) -> None:
    """Raise an error if the simulation has diverged since its data were reset.

    Raises:
        FloatingPointError: the simulation has diverged.
    """
    if any(data.warning[kind].number for kind in _DIVERGED):
        raise FloatingPointError(
            "the simulation diverged: a position, velocity or acceleration is not a number"
        )
