"""Training by flow matching, from scratch on demonstrations; resumable."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headless_eval.config.train import TrainConfig
from headless_eval.policies.device import check_device
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import new_console
from headless_eval.training import act
from headless_eval.training.dataset import Demonstrations
from headless_eval.training.export import instruction_tokens
from headless_eval.training.recipes import TRAINABLE, Config, make_recipe
from headless_eval.training.sources import find_source
from headless_eval.training.trainer import Trainer, claim, train

_STATE_NOISE = 0.02  # of a standard deviation


class FlowTrainer(Trainer):
    """Training of a π0 or an open-pi-zero by flow matching."""

    def __init__(self, settings: TrainConfig, config: Config, data: Demonstrations, tokens: Tensor):
        torch.manual_seed(settings.seed)
        self.data = data
        self.recipe = make_recipe(config, data, settings.seed)
        super().__init__(settings, self.recipe.new_model())
        # Tokens and mask of each instruction's sentences: (instructions, sentences, slots, 2).
        self.tokens = tokens.to(self.device)

    def loss(
        self,
        views: list[Tensor],
        tokens: Tensor,
        state: Tensor,
        actions: Tensor,
        valid: Tensor,
        noise: Tensor,
        at: Tensor,
    ) -> Tensor:
        """Return the flow-matching loss over valid entries of the chunks."""
        repeats = self.settings.flow_samples
        masks = [torch.ones(len(state), dtype=torch.bool, device=state.device) for _ in views]
        with torch.autocast(state.device.type, torch.bfloat16, enabled=state.device.type == "cuda"):
            error = self.model.flow_matching_loss(
                views, masks, tokens[..., 0], tokens[..., 1].bool(), state, actions, noise, at, repeats
            )
        weight = valid.repeat_interleave(repeats, dim=0)[..., None].float()
        return (error * weight).sum() / (weight.sum() * error.shape[-1])

    def draw(self) -> tuple[Any, ...]:
        """Draw observations, the state's noise, the flow's noise and its times."""
        data, generator, batch = self.data, self.generator, self.settings.batch
        rows = torch.randint(len(data), (batch,), generator=generator, device=self.device)
        views = data.pictures(rows, generator)
        state = self.recipe.states(rows)
        state = state + _STATE_NOISE * torch.randn(state.shape, generator=generator, device=self.device)
        actions = self.recipe.chunks(rows)
        draws = batch * self.settings.flow_samples
        noise = torch.randn((draws, *actions.shape[1:]), generator=generator, device=self.device)
        at = self.recipe.times(draws, self.step, generator)
        tokens = self.tokens[data.scene[rows] - 1, self._sentences()]
        return list(views), tokens, state, actions, data.valid[rows], noise, at

    def _sentences(self) -> Tensor | int:
        """Draw which of its instruction's sentences each observation of a batch comes with."""
        number = self.tokens.shape[1]
        if number == 1:  # nothing to draw, and so nothing taken from the generator
            return 0
        return torch.randint(number, (self.settings.batch,), generator=self.generator, device=self.device)

    def export(self, folder: Path, tokenizer: Tokenizer) -> None:
        """Write the policy's folder, with the moving average of the weights."""
        model = self.recipe.new_model()
        model.load_state_dict(self.averaged())
        self.recipe.save(folder, model, tokenizer)


def run(settings: TrainConfig) -> Path:
    """Collect demonstrations, train, and return the folder of the finished policy.

    Raises:
        UserError: the policy is unknown, the device does not exist, the folder holds another training or cannot be
            written, or demonstrations cannot be collected.
    """
    if settings.policy not in TRAINABLE:
        raise unknown("policy to train", settings.policy, [*TRAINABLE, act.NAME])
    check_device(settings.device, "--device cpu")
    claim(settings)
    console = new_console()
    config = TRAINABLE[settings.policy]
    source = find_source(config)
    episodes = settings.episodes or source.episodes
    paths = source.collect(
        settings.results / "demonstrations",
        episodes,
        settings.seed,
        config.model.action_horizon,
        config.model.siglip.image_size,
        settings.workers,
    )
    tokenizer, tokens = instruction_tokens(
        config,
        source.sentences(settings.seed),
        settings.results / "tokenizer.model",
    )
    relative = config.delta_actions_mask is not None
    data = Demonstrations(paths, torch.device(settings.device), relative)
    number = len(source.scenes) * episodes
    console.print(f"{len(data)} observations from {number} demonstrations", highlight=False)
    trainer = FlowTrainer(settings, config, data, tokens)
    return train(trainer, partial(trainer.export, tokenizer=tokenizer), source.trained_on, console)
