"""Calibration: the inputs of a model's linear layers on real observations, from which methods choose their factors."""

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
from headless_eval.quant.hashing import add_tensor
from headless_eval.shared.files import replacing
from headless_eval.shared.untrusted import convert, parse_json

_FORMAT = "headless-eval calibration 1"
_TOKENS = 128
_SEED = 0


@dataclass(frozen=True)
class LayerInputs:
    """The inputs of one linear layer, summarised.

    Args:
        largest: the largest magnitude of each channel over all tokens, float32 (in,).
        tokens: some tokens, drawn evenly from all, bfloat16 (up to 128, in).
    """

    largest: Tensor
    tokens: Tensor


@dataclass(frozen=True)
class Calibration:
    """The inputs of a model's linear layers, and how they were recorded.

    Args:
        layers: inputs by the layer's name.
        facts: the circumstances: ``fingerprint`` of the weights, policy, suite, seed, number of observations.
    """

    layers: Mapping[str, LayerInputs]
    facts: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            OSError: the file cannot be written.
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
            UserError: the file does not exist, is damaged, or is no calibration.
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
            facts = convert(parse_json(metadata["facts"]), dict[str, Any])
        except (KeyError, ValueError):
            raise UserError(f"{path} is damaged: make it again with headless-eval calibrate") from None
        return cls(layers, facts)

    def sha256(self) -> str:
        """Return the SHA-256 of the inputs; facts and file do not count."""
        digest = hashlib.sha256()
        for name, inputs in sorted(self.layers.items()):
            for tensor in (inputs.largest, inputs.tokens):
                add_tensor(digest, name, tensor)
        return digest.hexdigest()

    def check(self, fingerprint: str | None, where: str) -> None:
        """Refuse weights other than those that the calibration was recorded with.

        Args:
            fingerprint: of the weights, as ``LocalPolicy.fingerprint`` returns it.
            where: the calibration's file, for the message.

        Raises:
            UserError: the fingerprints differ.
        """
        recorded = self.facts.get("fingerprint")
        if recorded != fingerprint:
            raise UserError(
                f"the calibration {where} was recorded with other weights ({str(recorded)[:12]}, these are "
                f"{str(fingerprint)[:12]}): make one with headless-eval calibrate, or leave --calibration out"
            )


class Recorder:
    """A context manager that records the inputs of a model's linear layers; the model computes as before.

    Tokens are drawn evenly from all tokens, by numbers from a generator with a fixed seed: the same calls in the
    same order give the same calibration.
    """

    def __init__(self, model: nn.Module, tokens: int = _TOKENS) -> None:
        self._layers = {
            names[0]: _InputRecorder(tokens)
            for names, module in leaves_of(model)
            if isinstance(module, nn.Linear)
        }
        self._model = model
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, layer in self._layers.items():
            module = self._model.get_submodule(name)
            self._hooks.append(
                module.register_forward_pre_hook(lambda _module, args, layer=layer: layer.add(args[0]))
            )
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def calibration(self, **facts: Any) -> Calibration:
        """Return what has been recorded so far; layers that were not called are left out.

        Args:
            facts: the circumstances that the calibration keeps, such as ``seed=0``; they are turned into text.

        Raises:
            UserError: the model has linear layers, but not one was called.
        """
        if self._layers and not any(layer.called for layer in self._layers.values()):
            raise UserError(
                "no linear layer was called while recording: engines other than eager do without modules; let the "
                "policy record (record_inputs), or load it with engine='eager'"
            )
        layers = {name: layer.inputs() for name, layer in self._layers.items() if layer.called}
        return Calibration(layers, {name: str(value) for name, value in facts.items()})


class _InputRecorder:
    """The inputs of one layer so far: largest magnitudes, and a random sample of tokens."""

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
