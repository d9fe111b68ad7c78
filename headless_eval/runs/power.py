"""What ``run --power`` tells before anything runs: the episodes that a drop of the success rate needs."""

from headless_eval.config.run import RunConfig
from headless_eval.report.power import ALPHA, POWER, detectable_drop, pairs_needed
from headless_eval.report.tables import format_points
from headless_eval.runs.tasks import tasks_of
from headless_eval.shared.terminal import Listing, new_console
from headless_eval.shared.text import plural

GAINED = (0.0, 0.01, 0.02, 0.05, 0.10)
"""Shares of the episodes that a variant may gain; before a run they can only be assumed."""


def print_power(config: RunConfig) -> int:
    """Print how many episodes of each variant show a drop, and which drop the run's number of episodes shows.

    Args:
        config: the settings of the run; ``power`` is the drop.

    Returns:
        The exit status, 0.

    Raises:
        UserError: the suite or a task does not exist.
    """
    drop = config.power or 0.0
    tasks = len(tasks_of(config))
    pairs = tasks * config.episodes
    compared = max(1, len(config.variants) - 1)
    level = ALPHA / compared
    rows = []
    for gained in GAINED:
        needed = pairs_needed(drop, gained, level)
        seen = detectable_drop(pairs, gained, 1.0, level)
        rows.append(
            [
                f"{100 * gained:.0f} %",
                "not possible" if needed is None else f"{needed:,}",
                "–" if needed is None else f"{-(-needed // tasks):,}",
                "–" if seen is None else format_points(-seen),
            ]
        )
    console = new_console()
    console.print(
        f"Episodes of each variant, paired with the baseline's, that show a drop of {100 * drop:g} points with "
        f"{100 * POWER:.0f} % power at a level of {level:.2g} ({plural(compared, 'variant')} compared, "
        f"{plural(tasks, 'task')}):",
        highlight=False,
        soft_wrap=True,
    )
    header = ("gained", "episodes", "--episodes", f"{pairs} show")
    legend = {
        "gained": "Gained: episodes that only the variant succeeds in, assumed; after a run `report --detect` knows "
        "them.",
        "--episodes": "--episodes: for each task.",
        header[
            3
        ]: f"{pairs} show: the smallest drop, in points, that this run's {plural(pairs, 'episode')} of each "
        "variant would show.",
    }
    console.print(Listing(header, rows, 0, legend=legend))
    return 0
