"""The commands about checkpoints, which know of no settings themselves."""

from headless_eval.config.checkpoints import ConvertConfig, DoctorConfig, FetchConfig
from headless_eval.errors import UserError


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
        settings.suite,
        settings.policy_args,
        settings.simulator,
        settings.seconds,
    )


def convert(settings: ConvertConfig) -> int:
    """Write a checkpoint in another format; returns the exit status, 0."""
    from headless_eval.checkpoints.locate import find_checkpoint
    from headless_eval.policies.registry import find_family

    source = find_checkpoint(settings.source)
    family = find_family(source, settings.config, settings.config_file)
    config = family.read_config(source, settings.config, settings.config_file, settings.robot)
    write = getattr(family, "convert", None)
    if write is None:
        raise UserError(f"checkpoints such as {source.name} can be written in no other format")
    for line in write(source, settings.target, config, settings.tokenizer, settings.to, settings.dtype):
        print(line)
    return 0


def fetch(settings: FetchConfig) -> int:
    """Download a checkpoint into openpi's or Hugging Face's cache; returns the exit status, 0."""
    from headless_eval.checkpoints.fetch import fetch

    print(fetch(settings.address))
    return 0
