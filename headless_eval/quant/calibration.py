"""What goes into a model's linear layers, seen on real observations: what methods choose their factors by."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.quant.activations import leaves_of
from headless_eval.shared.files import replacing

_FORMAT = "headless-eval calibration 1"
_TOKENS = 128
_SEED = 0


@dataclass(frozen=True)
class LayerInputs:
    """What one linear layer was given.

    Args:
        largest: the largest magnitude of each channel over all tokens, float32 (in,).
        tokens: some tokens, drawn evenly from all, bfloat16 (up to 128, in).
    """

    largest: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Calibration:
    """The inputs of a model's linear layers, and where they are from.

    Args:
        layers: by the layer's name.
        facts: what they were recorded with: ``fingerprint`` of the weights, policy, suite, seed, observations.
    """

    layers: Mapping[str, LayerInputs]
    facts: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        tensors = {}
        for name, inputs in self.layers.items():
            tensors[f"{name}.largest"] = inputs.largest.cpu().contiguous()
            tensors[f"{name}.tokens"] = inputs.tokens.cpu().contiguous()
        with replacing(path, "wb") as file:
            file.write(save(tensors, metadata={"format": _FORMAT, "facts": json.dumps(dict(self.facts))}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote; runs no code.

        Raises:
            UserError: there is no such file, or it is something else.
        """
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"cannot read the calibration {path} ({error}): make one with calibrate"
            ) from None
        if metadata.get("format") != _FORMAT:
            raise UserError(f"{path} is no calibration: make one with headless-eval calibrate")
        try:
            layers = {
                name.removesuffix(".largest"): LayerInputs(
                    tensor, tensors[f"{name.removesuffix('.largest')}.tokens"]
                )
                for name, tensor in tensors.items()
                if name.endswith(".largest")
            }
            facts = json.loads(metadata["facts"])
        except (KeyError, ValueError):
            raise UserError(f"{path} is damaged: make it again with headless-eval calibrate") from None
        return cls(layers, facts)

    def sha256(self) -> str:
        """Return the SHA-256 of what was seen, whatever file it is in."""
        digest = hashlib.sha256()
        for name, inputs in sorted(self.layers.items()):
            for tensor in (inputs.largest, inputs.tokens):
                digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def check(self, fingerprint: str | None, where: str) -> None:
        """Compare the weights it was recorded with to those it is to be used with.

        Args:
            fingerprint: of the weights, as ``LocalPolicy.fingerprint`` says.
            where: the calibration's file, for the message.

        Raises:
            UserError: they are others.
        """
        recorded = self.facts.get("fingerprint")
        if recorded != fingerprint:
            raise UserError(
                f"the calibration {where} was recorded with other weights ({str(recorded)[:12]}, these are "
                f"{str(fingerprint)[:12]}): make one with headless-eval calibrate, or leave --calibration out"
            )


class Recorder:
    """Records the inputs of a model's linear layers while it is entered; the model stays as it is.

    Tokens are drawn evenly from all there are, by numbers from a generator with a fixed seed: the same calls
    in the same order give the same calibration.
    """

    def __init__(self, model: nn.Module, tokens: int = _TOKENS) -> None:
        self._layers = {
            names[0]: _Seen(tokens) for names, module in leaves_of(model) if isinstance(module, nn.Linear)
        }
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, seen in self._layers.items():
            module = self._model.get_submodule(name)
            self._hooks.append(
                module.register_forward_pre_hook(lambda _module, args, seen=seen: seen.add(args[0]))
            )
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def calibration(self, **facts: Any) -> Calibration:
        """Return what has been seen so far; layers that were not called are left out.

        Raises:
            UserError: none was called.
        """
        if self._layers and not any(seen.called for seen in self._layers.values()):
            raise UserError(
                "no linear layer was called while recording: engines other than eager do without modules; let the "
                "policy record (record_inputs), or load it with engine='eager'"
            )
        layers = {name: seen.inputs() for name, seen in self._layers.items() if seen.called}
        return Calibration(layers, {name: str(value) for name, value in facts.items()})


class _Seen:
    """What one layer has seen."""

    def __init__(self, tokens: int) -> None:
        self._number = tokens
        self._generator = torch.Generator().manual_seed(_SEED)
        self._largest: Tensor | None = None
        self._tokens = torch.empty(0)
        self._draws = torch.empty(0)

    @property
    def called(self) -> bool:
        return self._largest is not None

    @torch.inference_mode()
    def add(self, x: Tensor) -> None:
        rows = x.detach().reshape(-1, x.shape[-1])
        largest = rows.abs().amax(dim=0).float().cpu()
        self._largest = largest if self._largest is None else torch.maximum(self._largest, largest)
        # Of all draws the largest stay: every token has the same chance.
        draws = torch.rand(len(rows), generator=self._generator)
        chosen = draws.topk(min(self._number, len(draws))).indices
        if len(self._draws) == self._number:
            chosen = chosen[draws[chosen] > self._draws.min()]
        if not len(chosen):
            return
        tokens = rows[chosen.to(rows.device)].to("cpu", torch.bfloat16)
        tokens = torch.cat([self._tokens, tokens]) if len(self._draws) else tokens
        draws = torch.cat([self._draws, draws[chosen]])
        kept = draws.topk(min(self._number, len(draws))).indices
        self._tokens, self._draws = tokens[kept], draws[kept]

    def inputs(self) -> LayerInputs:
        assert self._largest is not None
        # Out of inference mode, whose tensors nothing else may change.
        return LayerInputs(self._largest.clone(), self._tokens.clone())
