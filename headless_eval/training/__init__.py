"""Training of the bundled policies: demonstrations of scripted experts, and flow matching on them."""

from headless_eval.config.train import TrainConfig


def cli_main(settings: TrainConfig) -> int:
    """Train as ``headless-eval train`` does; returns the exit status."""
    from headless_eval.training.train import run

    run(settings)
    return 0
