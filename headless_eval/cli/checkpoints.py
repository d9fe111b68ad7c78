"""The commands about checkpoints, which know of no settings themselves."""

from headless_eval.config.checkpoints import ConvertConfig, DoctorConfig, FetchConfig


def doctor(settings: DoctorConfig) -> int:
    """Check a checkpoint; returns the exit status."""
    from headless_eval.runs import doctor

    return doctor.doctor(
        settings.policy,
        settings.checkpoint,
        settings.config,
        settings.config_file,
        settings.tokenizer,
        settings.device,
        settings.dtype,
        settings.robot,
    )


def convert(settings: ConvertConfig) -> int:
    """Write a checkpoint in another format; returns the exit status, 0."""
    from headless_eval.checkpoints.locate import find_checkpoint
    from headless_eval.policies.pi0.convert import convert
    from headless_eval.policies.registry import find_config

    source = find_checkpoint(settings.source)
    config = find_config(source, settings.config, settings.config_file, settings.robot)
    for line in convert(source, settings.target, config, settings.tokenizer, settings.to, settings.dtype):
        print(line)
    return 0


def fetch(settings: FetchConfig) -> int:
    """Copy a checkpoint into openpi's cache; returns the exit status, 0."""
    from headless_eval.checkpoints.fetch import fetch

    print(fetch(settings.address))
    return 0
