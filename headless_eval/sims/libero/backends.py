"""Start of the LIBERO suites' simulator; imports LIBERO only when a simulator is started."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.sims.libero.suites import LiberoSettings


def start(suite: str, settings: LiberoSettings, *, tasks: Sequence[Task], **options: Any) -> Simulator:
    """Return the simulator of a LIBERO suite.

    Args:
        suite: the suite's name.
        settings: the folder of assets; by default ``$LIBERO_ASSETS``, then the package's own folder.
        tasks: the run's tasks.
        options: further arguments of ``Libero``.

    Raises:
        UserError: LIBERO, its assets or OpenGL are missing.
    """
    from headless_eval.sims.libero import package

    loaded = package.load(chosen_assets(settings.libero_assets), settings.render)
    from headless_eval.sims.libero.simulator import Libero

    return Libero(loaded, suite, **options)


def chosen_assets(flag: Path | None) -> Path | None:
    """Return the folder of assets chosen by flag or by ``$LIBERO_ASSETS``; None if both are unset."""
    variable = os.environ.get("LIBERO_ASSETS")
    return flag if flag is not None or not variable else Path(variable)


libero_spatial = partial(start, "libero_spatial")
libero_object = partial(start, "libero_object")
libero_goal = partial(start, "libero_goal")
libero_10 = partial(start, "libero_10")
libero_90 = partial(start, "libero_90")
