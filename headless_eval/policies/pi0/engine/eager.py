"""The model itself as an engine: the reference for all others."""

from headless_eval.policies.paligemma.batch import BatchEngine
from headless_eval.policies.pi0.model import Pi0


class EagerEngine(BatchEngine):
    """Calls the model's modules one after another; hooks on them see every output."""

    name = "eager"

    def __init__(self, model: Pi0):
        self.sample_actions = model.sample_actions

    def close(self) -> None:
        """Do nothing: it keeps nothing."""
