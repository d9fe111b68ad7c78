"""Optimisation common to all policies that are trained here: AdamW, a schedule, a moving average, resumption."""

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headless_eval.config.train import TrainConfig
from headless_eval.errors import UserError
from headless_eval.policies.trained_on import TrainedOn, write_trained_on
from headless_eval.shared.files import replaced, replacing
from headless_eval.shared.untrusted import parse_json

_EMA_DECAY = 0.999
_WEIGHT_DECAY = 0.01
_CLIP = 1.0
_SAVE_EVERY = 2000
_REPORT_EVERY = 200


class Trainer(ABC):
    """The state of a training run: weights, their moving average, the optimizer's moments and the step.

    Args:
        settings: of the training.
        model: what is trained, on the CPU.
    """

    warm_up = 500
    """Steps in which the learning rate rises."""

    def __init__(self, settings: TrainConfig, model: nn.Module) -> None:
        device = torch.device(settings.device)
        self.settings, self.device = settings, device
        self.model: Any = model.to(device)
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
        compiled = not settings.no_compile and device.type == "cuda"
        self._loss: Any = torch.compile(self.loss) if compiled else self.loss

    @abstractmethod
    def draw(self) -> tuple[Any, ...]:
        """Draw a batch by ``generator``; return the arguments of ``loss``."""

    @abstractmethod
    def loss(self, *batch: Any) -> Tensor:
        """Return the loss of a batch, on the device."""

    def train_step(self, progress: float) -> Tensor:
        """Take one step; ``progress`` from 0 to 1 sets the learning rate. Returns the loss, on the device."""
        batch = self.draw()
        rate = self.settings.learning_rate * min(1.0, (self.step + 1) / self.warm_up)
        rate *= 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss: Tensor = self._loss(*batch)
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
        clock = {"step": str(self.step), "seconds": str(self.seconds), "curve": json.dumps(self.curve)}
        with replaced(path) as file:
            save_file({name: value.contiguous().clone() for name, value in arrays.items()}, file, clock)

    def load(self, path: Path) -> None:
        """Continue from the state that ``save`` wrote."""
        with safe_open(path, framework="pt") as stored:
            clock = stored.metadata()
        arrays = load_file(path)
        self.step, self.seconds = int(clock["step"]), float(clock["seconds"])
        self.curve = parse_json(clock["curve"])
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

    def averaged(self) -> dict[str, Tensor]:
        """Return the model's state with the moving average of its weights, float32 on the CPU."""
        state = self.model.state_dict()
        return {name: self.average.get(name, state[name]).cpu().float() for name in state}


def train(trainer: Trainer, export: Callable[[Path], None], trained_on: TrainedOn, console: Console) -> Path:
    """Train to the end of the schedule, from the step that the folder of results holds; return the policy's folder.

    Args:
        trainer: at its first step.
        export: writes the policy's folder.
        trained_on: the tasks, which the policy's folder states.
        console: for progress.
    """
    results = trainer.settings.results
    checkpoint, folder = results / "training.safetensors", results / "policy"
    if checkpoint.exists():
        trainer.load(checkpoint)
        console.print(f"continuing from step {trainer.step}", highlight=False)

    def save() -> None:
        trainer.save(checkpoint)
        export(folder)
        write_trained_on(folder, trained_on)

    fit(trainer, console, save)
    with replacing(results / "loss.json") as file:
        json.dump(trainer.curve, file, indent=1)
    console.print(f"policy written to {folder}", highlight=False)
    return folder


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


def claim(settings: TrainConfig) -> None:
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
        with replacing(path) as file:
            file.write(wanted)
    except OSError as error:
        raise UserError(f"cannot write to --results {settings.results}: {error.strerror}") from None
