"""The command ``export``: a table of trials, a LeRobot dataset, or a recording for Rerun."""

from headless_eval.config.results import ExportConfig
from headless_eval.export.table import export as export_table


def export(settings: ExportConfig) -> int:
    """Write what the settings ask for, and print where it is; returns the exit status, 0.

    Raises:
        UserError: as of ``export.table.export`` and ``export_lerobot`` and ``export_rerun``.
    """
    if settings.rerun is not None:
        from headless_eval.export.rerun import export_rerun  # imports torch

        variant = next(iter(settings.configuration), None)
        print(export_rerun(settings.directories[0], settings.rerun, variant, settings.episode))
        return 0
    if settings.lerobot is None:
        print(export_table(settings.directories, settings.output, settings.format))
        return 0
    from headless_eval.export.lerobot import export_lerobot  # imports torch

    print(
        export_lerobot(
            settings.directories[0], settings.lerobot, settings.configuration, settings.dataset_version
        )
    )
    return 0
