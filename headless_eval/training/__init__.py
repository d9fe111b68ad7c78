"""Training of the bundled policies: demonstrations of scripted experts, and flow matching on them."""

from headless_eval.config.train import TrainConfig


def cli_main(settings: TrainConfig) -> int:
    """Train as ``headless-eval train`` does; returns the exit status."""
    from headless_eval.training import act, train

    act.run(settings) if settings.policy == act.NAME else train.run(settings)
    return 0
