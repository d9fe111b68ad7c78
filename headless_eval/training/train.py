"""Training loop: flow matching from scratch on demonstrations, resumable."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from headless_eval.config.train import TrainConfig
from headless_eval.errors import UserError
from headless_eval.policies.device import check_device
from headless_eval.policies.paligemma.tokenizer import Tokenizer
from headless_eval.policies.trained_on import write_trained_on
from headless_eval.shared.suggest import unknown
from headless_eval.shared.terminal import new_console
from headless_eval.training.dataset import Demonstrations
from headless_eval.training.export import instruction_tokens
from headless_eval.training.recipes import TRAINABLE, Config, make_recipe
from headless_eval.training.sources import SOURCES

_WARM_UP = 500
_EMA_DECAY = 0.999
_WEIGHT_DECAY = 0.01
_CLIP = 1.0
_STATE_NOISE = 0.02  # of a standard deviation
_SAVE_EVERY = 2000
_REPORT_EVERY = 200


class Trainer:
    """The state of a training run: weights, their moving average, the optimizer's moments and the step."""

    def __init__(self, settings: TrainConfig, config: Config, data: Demonstrations, tokens: Tensor):
        device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        self.settings, self.data, self.device = settings, data, device
        self.recipe = make_recipe(config, data, settings.seed)
        self.model: Any = self.recipe.new_model().to(device)
        self.average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            betas=(0.9, 0.95),
            fused=device.type == "cuda",
        )
        self.generator = torch.Generator(device).manual_seed(settings.seed)
        self.step = 0
        self.seconds = 0.0
        self.curve: list[dict[str, float]] = []
        # Tokens and mask of each scene's instruction: (scenes, slots, 2).
        self.tokens = tokens.to(device)
        compiled = not settings.no_compile and device.type == "cuda"
        self._loss: Any = torch.compile(self._raw_loss) if compiled else self._raw_loss

    def _raw_loss(
        self,
        views: list[Tensor],
        tokens: Tensor,
        state: Tensor,
        actions: Tensor,
        valid: Tensor,
        noise: Tensor,
        at: Tensor,
    ) -> Tensor:
        repeats = self.settings.flow_samples
        masks = [torch.ones(len(state), dtype=torch.bool, device=state.device) for _ in views]
        with torch.autocast(state.device.type, torch.bfloat16, enabled=state.device.type == "cuda"):
            error = self.model.flow_matching_loss(
                views, masks, tokens[..., 0], tokens[..., 1].bool(), state, actions, noise, at, repeats
            )
        weight = valid.repeat_interleave(repeats, dim=0)[..., None].float()
        return (error * weight).sum() / (weight.sum() * error.shape[-1])

    def train_step(self, progress: float) -> Tensor:
        """Take one step; ``progress`` from 0 to 1 sets the learning rate. Returns the loss, on the device."""
        data, generator, batch = self.data, self.generator, self.settings.batch
        rows = torch.randint(len(data), (batch,), generator=generator, device=self.device)
        views = data.pictures(rows, generator)
        state = self.recipe.states(rows)
        state = state + _STATE_NOISE * torch.randn(state.shape, generator=generator, device=self.device)
        actions = self.recipe.chunks(rows)
        draws = batch * self.settings.flow_samples
        noise = torch.randn((draws, *actions.shape[1:]), generator=generator, device=self.device)
        at = self.recipe.times(draws, self.step, generator)
        tokens = self.tokens[data.scene[rows] - 1]
        rate = self.settings.learning_rate * min(1.0, (self.step + 1) / _WARM_UP)
        rate *= 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._loss(list(views), tokens, state, actions, data.valid[rows], noise, at)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self.step += 1
        decay = min(_EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            parameters = [p.detach() for p in self.model.parameters()]
            torch._foreach_lerp_(list(self.average.values()), parameters, 1 - decay)
        return loss.detach()

    def save(self, path: Path) -> None:
        """Write the whole state of the training, to be continued by ``load``."""
        arrays = {"random": self.generator.get_state().cpu()}
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.model.named_parameters()}
        for name, value in self.model.state_dict().items():
            arrays[f"model.{name}"] = value
        for name, value in self.average.items():
            arrays[f"average.{name}"] = value
        for parameter, moments in self.optimizer.state.items():
            for key in ("exp_avg", "exp_avg_sq", "step"):
                arrays[f"{key}.{names[parameter]}"] = moments[key]
        part = path.with_suffix(".part")
        clock = {"step": str(self.step), "seconds": str(self.seconds), "curve": json.dumps(self.curve)}
        save_file({name: value.contiguous().clone() for name, value in arrays.items()}, part, clock)
        part.replace(path)

    def load(self, path: Path) -> None:
        """Continue from the state that ``save`` wrote."""
        with safe_open(path, framework="pt") as stored:
            clock = stored.metadata()
        arrays = load_file(path)
        self.step, self.seconds = int(clock["step"]), float(clock["seconds"])
        self.curve = json.loads(clock["curve"])
        self.generator.set_state(arrays["random"])
        self.model.load_state_dict({name: arrays[f"model.{name}"] for name in self.model.state_dict()})
        for name, parameter in self.model.named_parameters():
            self.average[name].copy_(arrays[f"average.{name}"])
            moments = {key: arrays[f"{key}.{name}"] for key in ("exp_avg", "exp_avg_sq", "step")}
            self.optimizer.state[parameter] = {
                key: value if key == "step" else value.to(self.device) for key, value in moments.items()
            }
            if self.device.type == "cuda":
                self.optimizer.state[parameter]["step"] = moments["step"].to(self.device)

    def export(self, folder: Path, tokenizer: Tokenizer) -> None:
        """Write the policy's folder, with the moving average of the weights."""
        model = self.recipe.new_model()
        state = self.model.state_dict()
        model.load_state_dict({name: self.average.get(name, state[name]).cpu().float() for name in state})
        self.recipe.save(folder, model, tokenizer)


def fit(trainer: Trainer, console: Console, save: Callable[[], None]) -> None:
    """Train to the end of the schedule; call ``save`` every 2000 steps and at the end."""
    settings = trainer.settings
    begun = time.monotonic() - trainer.seconds
    limit = settings.minutes * 60 if settings.minutes else None
    recent: list[Tensor] = []
    while True:
        trainer.seconds = time.monotonic() - begun
        progress = trainer.seconds / limit if limit else trainer.step / settings.steps
        if progress >= 1:
            break
        recent.append(trainer.train_step(progress))
        if trainer.step % _REPORT_EVERY == 0:
            loss = float(torch.stack(recent).mean())
            recent.clear()
            trainer.curve.append({"step": trainer.step, "seconds": trainer.seconds, "loss": loss})
            left = trainer.seconds * (1 / max(progress, 1e-9) - 1)
            console.print(
                f"step {trainer.step}  loss {loss:.4f}  {trainer.seconds:.0f} s elapsed, {left:.0f} s left",
                highlight=False,
            )
        if trainer.step % _SAVE_EVERY == 0:
            save()
    save()


def _claim(settings: TrainConfig) -> None:
    """Write the settings that fix a training into its folder, or refuse the folder of another training.

    Raises:
        UserError: the folder holds a training with other settings, or cannot be written.
    """
    path = settings.results / "settings.json"
    wanted = json.dumps(
        {name: getattr(settings, name) for name in ("policy", "seed", "batch", "flow_samples")}
    )
    try:
        settings.results.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text() != wanted:
            raise UserError(
                f"{settings.results} holds a training with {path.read_text()}, not {wanted}: name another --results"
            )
        path.write_text(wanted)
    except OSError as error:
        raise UserError(f"cannot write to --results {settings.results}: {error.strerror}") from None


def run(settings: TrainConfig) -> Path:
    """Collect demonstrations, train, and return the folder of the finished policy.

    Raises:
        UserError: the policy is unknown, the device does not exist, the folder holds another training or cannot be
            written, or demonstrations cannot be collected.
    """
    if settings.policy not in TRAINABLE:
        raise unknown("policy to train", settings.policy, TRAINABLE)
    check_device(settings.device, "--device cpu")
    _claim(settings)
    console = new_console()
    config = TRAINABLE[settings.policy]
    source = SOURCES[config.observation]
    paths = source.collect(
        settings.results / "demonstrations",
        settings.episodes,
        settings.seed,
        config.model.action_horizon,
        config.model.siglip.image_size,
        settings.workers,
    )
    tokenizer, tokens = instruction_tokens(
        config,
        [task.instruction for task in source.tasks],
        settings.results / "tokenizer.model",
    )
    relative = config.delta_actions_mask is not None
    data = Demonstrations(paths, torch.device(settings.device), relative)
    number = len(source.tasks) * settings.episodes
    console.print(f"{len(data)} observations from {number} demonstrations", highlight=False)
    trainer = Trainer(settings, config, data, tokens)
    checkpoint = settings.results / "training.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
        console.print(f"continuing from step {trainer.step}", highlight=False)
    folder = settings.results / "policy"

    def save() -> None:
        trainer.save(checkpoint)
        trainer.export(folder, tokenizer)
        write_trained_on(folder, source.trained_on)

    fit(trainer, console, save)
    (settings.results / "loss.json").write_text(json.dumps(trainer.curve, indent=1))
    console.print(f"policy written to {folder}", highlight=False)
    return folder
