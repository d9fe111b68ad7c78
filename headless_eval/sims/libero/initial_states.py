"""Initial states of a LIBERO task: pickled arrays, read with an allow-list so that no code is executed."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from headless_eval.errors import UserError
from headless_eval.shared.text import printable

# The parts of a pickled float array, by their names in NumPy 1 and 2.
_ALLOWED: list[Any] = [
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),  # type: ignore[attr-defined]
    (np._core.multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),  # type: ignore[attr-defined]
    np.ndarray,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


def read_initial_states(path: Path) -> np.ndarray:
    """Return the states of a file, float64 (states, 1 + positions + velocities): time, qpos, qvel.

    Raises:
        UserError: the file is missing, or its content is not a finite array of this kind.
    """
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            states = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"LIBERO's initial states {path} are missing: reinstall hf-libero==0.1.4") from None
    except Exception as error:  # whatever a damaged or malicious file makes the reader raise
        reason = " ".join(printable(str(error)).split())[:200]
        raise UserError(
            f"{path} holds no initial states that can be read without running code from it ({reason})"
        ) from None
    if not isinstance(states, np.ndarray) or states.dtype.kind != "f" or states.ndim != 2 or states.size == 0:
        what = getattr(states, "dtype", type(states).__name__)
        raise UserError(f"{path} holds {what}, not initial states (an array of numbers, a row a state)")
    if not np.isfinite(states).all():
        raise UserError(f"the initial states in {path} are not all finite")
    return states.astype(np.float64)
