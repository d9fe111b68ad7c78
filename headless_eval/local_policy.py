"""A policy in this process: warmed up, put into a precision, asked for actions, and timed."""

import hashlib
import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.policies.adapter import Adapter
from headless_eval.policies.batching import Batching, Timing, one_thread
from headless_eval.policies.device import check_device
from headless_eval.policies.registry import (
    DEFAULT,
    LoadOptions,
    check_engine,
    list_policies,
    open_policy,
)
from headless_eval.quant import Calibration, Handle, Recorder, quantize_
from headless_eval.quant.hashing import add_tensor
from headless_eval.quant.methods import Method
from headless_eval.quant.precision import Precision
from headless_eval.shared.suggest import unknown

__all__ = ["LocalPolicy", "Timing", "list_policies", "load_policy"]


def load_policy(
    policy: str | Path = DEFAULT,
    *,
    checkpoint: str | Path | None = None,
    max_batch: int | None = None,
    **options: Any,
) -> "LocalPolicy":
    """Load a policy into this process.

    Args:
        policy: one of ``list_policies()``, or a folder with ``config.toml``, weights (``model.safetensors`` or
            its shards), ``assets/<asset_id>/norm_stats.json`` and ``tokenizer.model``.
        checkpoint: a folder with weights and statistics, instead of ``policy``: openpi's (JAX or PyTorch), LeRobot's
            or ours; or the address of one in openpi's cache (``gs://...``), or a hub id in Hugging Face's.
        max_batch: the fixed size of batches; by default 4 on a CPU and 8 on a GPU (see ``LocalPolicy``).
        options: further options by name, the fields of ``policies.registry.LoadOptions``:

    Options:
        config: its configuration by name, one of those that ``headless-eval list`` shows.
        config_file: its configuration as a TOML or JSON file, instead of ``config``; by default ``config.toml``
            in the folder, or LeRobot's ``config.json``.
        tokenizer: SentencePiece model; by default ``tokenizer.model`` beside the weights, or PaliGemma's in
            openpi's cache (``$OPENPI_DATA_HOME``).
        device: ``cpu``, ``cuda`` or ``cuda:0``.
        dtype: what the weights are kept in: float32, bfloat16 or float16.
        flow_steps: Euler steps of flow matching; by default the configuration's.
        engine: what computes: ``auto``, ``eager``, ``compiled`` or ``fused``; results differ in the last bits.
        execution: ``simulated`` rounds to a precision's values, ``native`` computes with its types (fused engine).
        robot: the name of the robot that the policy is for, one of ``contracts.robots.ROBOTS``, where neither a
            configuration nor the checkpoint tells.

    Raises:
        UserError: there is no such policy, configuration, robot or device; a file is missing or does not fit; both a
            policy and a checkpoint are given; the policy is for another robot than the one named.
    """
    chosen = LoadOptions(**options)
    check_device(chosen.device)
    check_engine(chosen.engine, chosen.execution)
    if max_batch is not None and max_batch < 1:
        raise UserError(f"max_batch is {max_batch}; it must be 1 or more")
    loaded, name = open_policy(policy, checkpoint, chosen)
    return LocalPolicy(loaded, name, max_batch=max_batch)


class LocalPolicy:
    """A policy of ours, or any object with ``infer(obs)``, behind one interface.

    No result depends on how many observations are asked for at once. A matrix product rounds differently for
    another number of rows, so a policy is always called with batches of one fixed size, filled up by repetition,
    and, on a CPU, several of them at a time, each computed with a single thread, so that nothing depends on the
    number of cores. That a row of a batch does not depend on the others is tried out before the first inference;
    where it does, batches have one.

    This is for policies whose reply depends on observation and noise alone: those that say so (``stateless``), or
    say nothing but take their noise as an argument (``noise_shape``). Others are asked for one observation after
    another, in order, on the caller's thread. A policy that keeps a history of an episode is told in ``reset`` which
    episodes begin, and in ``infer_batch`` which episode an observation is of, if both have an argument ``slots``.
    With a plain ``reset()`` it cannot tell episodes apart and is used for one at a time (``max_slots``).

    Args:
        policy: follows ``contracts.policy``, or has ``infer(obs) -> {"actions": ...}`` with openpi's keys; ``reset()``
            and ``infer_batch(list of obs, noise)`` are called if they are there. Observations share a batch if their
            prompts are equal (what a prompt's length changes, changes for the whole batch), or, where the policy has
            ``batch_key(obs)``, if that is; what a policy prepares has a ``batch_key``.
        name: what to call it.
        module: its torch model; by default every ``nn.Module`` among the policy's attributes.
        noise_shape: (horizon, action_dim) of the ``noise`` argument that its ``infer`` takes; by default the
            policy's attribute of that name. None: it takes none.
        max_batch: the fixed size of batches; by default 4 on a CPU and 8 on a GPU. 1 is fastest for a single
            observation. Results depend on it, in the last bits.
        threads: how many batches are inferred at a time on a CPU.

    Attributes:
        calibration: for the precisions that are methods and need one; None.
        packdir: where the packed weights of methods are kept; None: nowhere.
    """

    def __init__(
        self,
        policy: Any,
        name: str,
        *,
        module: nn.Module | None = None,
        noise_shape: tuple[int, ...] | None = None,
        max_batch: int | None = None,
        threads: int = 2,
    ) -> None:
        self._adapter = Adapter(policy, name, noise_shape)
        self.policy = policy
        self.name = name
        self.module = module if module is not None else _find_module(policy)
        self.config = getattr(policy, "config", None)
        self.noise_shape = self._adapter.noise_shape
        self.calibration: Calibration | None = None
        self.packdir: Path | None = None
        self.warmup_seconds: float | None = None
        self._on_cpu = self.device.type == "cpu"
        self._batching = Batching(
            self._adapter, name, on_cpu=self._on_cpu, max_batch=max_batch, threads=threads
        )
        self._precision = Precision()
        self._settings: dict[str, str | int | float] = {}
        self._handle: Handle | None = None
        self._activations_unproven = False
        self._closed = False

    # What it is

    @property
    def device(self) -> torch.device:
        """Return where the model is; the CPU if there is none."""
        first = next(self.module.parameters(), None) if self.module is not None else None
        return torch.device("cpu") if first is None else first.device

    @property
    def robot(self) -> str | None:
        """Return the name of the robot that it is for; None where the policy does not say."""
        return self._adapter.robot

    @property
    def libraries(self) -> tuple[str, ...]:
        """Return the distributions whose versions actions can depend on."""
        return ("torch", *getattr(self.policy, "libraries", ()))

    @property
    def open_loop_horizon(self) -> int:
        """Return how many actions of a chunk to execute before asking again."""
        return self._adapter.open_loop_horizon

    @property
    def stateless(self) -> bool:
        """Return whether a reply depends on the observation and its noise alone."""
        return self._adapter.stateless

    @property
    def max_slots(self) -> int | None:
        """Return how many episodes at a time it can be used for; None: any number."""
        return self._adapter.max_slots

    @property
    def batch(self) -> int:
        """Return the fixed size of batches; it is halved where the GPU's memory does not do for it."""
        return self._batching.size

    @property
    def image_size(self) -> int:
        """Return the side in pixels of the pictures that the model sees; 224 where the policy does not say."""
        return self._adapter.image_size

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of the model's unquantized weights and buffers, whatever the precision it is in.

        It covers names, types, shapes and bytes, sorted by name. None for a policy without a torch model.
        """
        if self.module is None:
            return None
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict(keep_vars=True).items()):
            if not isinstance(tensor, Tensor):
                continue
            values = self._handle.original(tensor) if self._handle else tensor
            add_tensor(digest, f"{name} {tensor.dtype}", values)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what identifies the policy, for a run's manifest; JSON types only."""
        parameters = list(self.module.parameters()) if self.module is not None else []
        return {
            "name": self.name,
            "class": f"{type(self.policy).__module__}.{type(self.policy).__qualname__}",
            "config": getattr(self.config, "name", None),
            "parameters": sum(parameter.numel() for parameter in parameters),
            "fingerprint": self.fingerprint(),
            "device": str(self.device),
            "dtype": ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})) or None,
            "noise_shape": None if self.noise_shape is None else list(self.noise_shape),
            "open_loop_horizon": self.open_loop_horizon,
            "batch": self._batching.size,
            "threads": self._batching.threads,
            **self._describe_policy(),
            **({} if self.calibration is None else {"calibration_sha256": self.calibration.sha256()}),
            "warmup_s": self.warmup_seconds,
        }

    @property
    def engine(self) -> str | None:
        """Return the name of the engine that computes at this precision; None where the policy has no choice."""
        name = getattr(self.policy, "engine_name", None)
        return None if name is None else str(name)

    # Precision

    @property
    def precision(self) -> Precision:
        """Return the precision it computes at."""
        return self._precision

    def set_precision(self, precision: Precision | Method | str) -> float:
        """Compute at this precision from now on, starting from the unquantized weights; timing starts anew.

        Args:
            precision: it, a method, or what ``Precision.parse`` reads: ``"int8_both"``, ``"duquant_w4a8"``.

        Returns:
            How many seconds it took.

        Raises:
            UserError: the policy holds no torch model that could be quantized, or the scope matches nothing
                in it; the policy is at float32 then. Or the text names no precision.
        """
        if isinstance(precision, str):
            precision = Precision.parse(precision)
        elif isinstance(precision, Method):
            precision = Precision.of(precision)
        begin = time.perf_counter()
        self._batching.forget()
        with self.computing():
            self._restore()
            if precision.dtype != "float32":
                self._quantize(precision)
        return time.perf_counter() - begin

    def _quantize(self, precision: Precision) -> None:
        if self.module is None:
            raise UserError(
                f"policy {self.name!r} holds no torch model, so it cannot be put into {precision.name}: "
                "run it at float32 only"
            )
        self._precision = precision
        try:
            if not getattr(self.policy, "rounds_itself", False):
                self._handle = quantize_(
                    self.module, precision, calibration=self.calibration, packdir=self.packdir
                )
                self._activations_unproven = precision.activations
            self.renew_engine()
        except BaseException:
            self._restore()
            raise

    def set_variant(self, variant: Variant) -> float:
        """Compute as a variant from now on: with its settings, and all others as loaded, at its precision.

        Which settings there are is up to the policy: they are the arguments of its ``configure``, where it has one.

        Returns:
            How many seconds it took.

        Raises:
            UserError: the policy has no such setting or cannot take its value; or as of ``set_precision``. The
                policy is then at float32, with the settings as they were.
        """
        begin = time.perf_counter()
        precision = variant.precision
        if dict(variant.settings) != self._settings:
            self.set_precision(Precision())
            self._configure(dict(variant.settings))
        self.set_precision(precision if isinstance(precision, Precision) else precision.name)
        return time.perf_counter() - begin

    def _configure(self, settings: dict[str, str | int | float]) -> None:
        configure = getattr(self.policy, "configure", None)
        known = list(inspect.signature(configure).parameters) if callable(configure) else []
        for name in settings:
            if name not in known:
                raise unknown(f"setting of policy {self.name}", name, known)
        if callable(configure):
            configure(**settings)
        self._settings = settings

    def _restore(self) -> None:
        if self._precision.dtype == "float32":
            return
        if self._handle is not None:
            self._handle.restore()
        self._handle, self._precision, self._activations_unproven = None, Precision(), False
        self.renew_engine()

    def renew_engine(self) -> None:
        """Let the policy make anew what computes with the weights as they are now, where it has such a step."""
        renew = getattr(self.policy, "renew_engine", None)
        if callable(renew):
            renew(self._precision, self._handle)

    def _describe_policy(self) -> dict[str, Any]:
        """Return what the policy says of itself."""
        describe = getattr(self.policy, "describe", None)
        return dict(describe()) if callable(describe) else {}

    def describe_precision(self) -> dict[str, Any]:
        """Return what the precision was applied to, for a run's records; JSON types only.

        ``unfired`` are the modules whose outputs should be quantized, but which no inference has called so far.
        """
        if self._handle is None:
            return {"name": self._precision.name, "parameters": 0, "hooked": 0, "fired": 0, "unfired": []}
        return {
            "name": self._precision.name,
            "parameters": self._handle.num_elements,
            "hooked": len(self._handle.hooked),
            "fired": len(self._handle.fired),
            "unfired": list(self._handle.unfired),
            **({"packed_bytes": self._handle.packed_bytes} if self._handle.layers else {}),
            **({} if self.engine is None else {"engine": self.engine, "execution": self.policy.execution}),
        }

    def effective_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the model's parameters by name, as it computes with them now, all in the basis they were loaded in.

        A method's weights are in another basis; the difference of these to the unquantized ones is the error.
        """
        if self.module is None:
            return
        layers = {} if self._handle is None else self._handle.layers
        for name, parameter in self.module.named_parameters():
            layer = layers.get(name.rpartition(".")[0])
            if layer is None or self._handle is None:
                yield name, parameter
                continue
            original = self._handle.original(parameter).to(parameter.device)
            changed = layer.effective_weight(original.float()) if name.endswith(".weight") else original
            yield name, changed.to(parameter.dtype)

    @property
    def packed_bytes(self) -> dict[str, int]:
        """Return by module what the weights that a method has packed take; scales and rotations included."""
        layers = {} if self._handle is None else self._handle.layers
        return {name: layer.nbytes for name, layer in layers.items() if layer.packed is not None}

    @property
    def stored_bytes(self) -> int:
        """Return the size of the model's parameters as they would be stored: packed where a method packs them."""
        parameters = list(self.module.parameters()) if self.module is not None else []
        size = sum(parameter.nbytes for parameter in parameters)
        return (
            size if self._handle is None else size + self._handle.packed_bytes - self._handle.unpacked_bytes
        )

    def record_inputs(
        self, observations: Sequence[dict[str, Any]], noises: Sequence[np.ndarray | None], **facts: Any
    ) -> Calibration:
        """Infer observations one by one at float32, and return what goes into the model's linear layers.

        Args:
            observations: with the keys that the policy knows.
            noises: for each, float32 of ``noise_shape``; None for policies that take none.
            facts: what else the calibration says of itself; the fingerprint of the weights is added.

        Raises:
            UserError: the policy holds no torch model.
        """

        def infer() -> None:
            for obs, noise in zip(observations, noises, strict=True):
                self._adapter.infer(self._adapter.prepare(obs), noise, 0)
            self.reset()

        return self.record_calls(infer, **facts)

    def record_calls(self, call: Callable[[], Any], **facts: Any) -> Calibration:
        """Return what goes into the model's linear layers at float32 while ``call`` makes the policy infer.

        Raises:
            UserError: the policy holds no torch model.
        """
        if self.module is None:
            raise UserError(f"policy {self.name!r} holds no torch model: there is nothing to calibrate")
        self.set_precision(Precision())
        with (
            self.computing(),
            self.computed_by_module(),
            Recorder(self.module) as recorder,
            torch.inference_mode(),
        ):
            call()
        return recorder.calibration(fingerprint=self.fingerprint(), **facts)

    # For measuring

    @property
    def has_measurable_model(self) -> bool:
        """Return whether ``sample`` and ``action_scales`` can be asked: the policy has methods of these names."""
        return self.module is not None and all(
            callable(getattr(self.policy, name, None)) for name in ("sample", "action_scales")
        )

    def sample(self, inputs: Sequence[Any], **settings: Any) -> Tensor:
        """Return what the model computes, by the engine of now, without what comes before and after it.

        Args:
            inputs: of the model, on its device; what they are is up to the policy.
            settings: of this inference, such as ``flow_steps``.

        Returns:
            Actions in the model's own units, float32 (number, horizon, action_dim).
        """
        result: Tensor = self.policy.sample(inputs, **settings)
        return result

    def action_scales(self, observations: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return what makes actions comparable: their spread in training, and what to subtract before dividing by it.

        Returns:
            The scale, (action_dims,), and the offset, (number, 1, action_dims), both in the robot's units.
        """
        scale, offset = self.policy.action_scales(observations)
        return scale, offset

    def computed_by_module(self) -> AbstractContextManager[None]:
        """Let the policy compute by calling its model, whatever its engine, so that hooks see every output."""
        by_module = getattr(self.policy, "computed_by_module", None)
        return by_module() if callable(by_module) else nullcontext()

    def computing(self) -> AbstractContextManager[None]:
        """Compute as inference does, as long as the block lasts: on a CPU with one thread an operation."""
        return one_thread() if self._on_cpu else nullcontext()

    def _prove_activations(self) -> None:
        """Raise if an inference has been made and none of the hooks saw it."""
        if not self._activations_unproven or self._handle is None:
            return
        if not self._handle.fired:
            raise UserError(
                f"{self._precision.name} reached none of the {len(self._handle.hooked)} modules of policy "
                f"{self.name!r}: its inference does not call them; use weights_only"
            )
        self._activations_unproven = False

    # Inference

    def warmup(self, obs: dict[str, Any] | None = None) -> float:
        """Infer a full batch on every thread, so that what comes later is not slowed by first times.

        Neither the random state nor the timing is touched, and the policy is reset afterwards.

        Args:
            obs: what to infer; by default black images with the keys that the policy's configuration names.

        Returns:
            How many seconds it took; ``describe`` says so too.

        Raises:
            UserError: there is no observation to use; or activations are quantized and none was reached.
        """
        if obs is None:
            robot = self._adapter.robot_to_show
            if robot is None:
                raise UserError(
                    f"policy {self.name!r} does not say what it observes: pass warmup an observation"
                )
            obs = ROBOTS.find(robot).example_observation()
        noise = None if self.noise_shape is None else np.zeros(self.noise_shape, np.float32)
        begin = time.perf_counter()
        devices = [] if self._on_cpu else [self.device]
        with self._batching.untimed(), torch.random.fork_rng(devices=devices):
            number = self._batching.threads * self._batching.size
            self._infer_all([obs] * number, [noise] * number, [0] * number)
        self.reset()
        self.warmup_seconds = time.perf_counter() - begin
        return self.warmup_seconds

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Tell the policy that episodes begin.

        Args:
            slots: in which they begin; None: in all.

        Raises:
            UserError: there are more slots than ``max_slots``.
        """
        self._adapter.reset(slots)

    def infer(self, obs: dict[str, Any], noise: Any = None) -> dict[str, Any]:
        """Return the reply to one observation; see ``infer_batch``.

        Args:
            obs: an observation with the keys that the policy knows.
            noise: float32 of ``noise_shape``, for actions that repeat. None: drawn from torch's default generator,
                so that every call gives other actions but for ``torch.manual_seed``.
        """
        return self.infer_batch([obs], None if noise is None else np.asarray(noise)[None])[0]

    def infer_batch(
        self,
        observations: Iterable[dict[str, Any]],
        noise: Any = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return a reply to each observation, in their order.

        Args:
            observations: any number of them.
            noise: float32 (number, *noise_shape), the noise that flow matching starts from; with the same noise
                actions repeat to the last bit. None: drawn from torch's default generator, one observation after
                another, so that they differ from call to call but for ``torch.manual_seed``.
            slots: which episode each observation is of, as ``reset`` names it; None: all are of the same. It makes a
                difference to policies with a history alone.

        Returns:
            dicts with ``actions``, float32 (horizon, action_dims), and ``policy_timing`` with ``infer_ms``.

        Raises:
            UserError: activations are quantized and no module's output was reached; the policy's reply has
                no actions; there are more slots than ``max_slots``.
            ValueError: the noise does not fit.
            TypeError: what is given is one observation, not several.
        """
        if isinstance(observations, Mapping):
            raise TypeError(
                "infer_batch takes several observations: give a list of them, or call infer for one"
            )
        observations = list(observations)
        slots = [0] * len(observations) if slots is None else list(slots)
        return self._infer_all(observations, self._noises(len(observations), noise), slots)

    @property
    def timing(self) -> Timing:
        """Return how long the inferences at this precision have taken."""
        return self._batching.timing

    def _noises(self, number: int, noise: Any) -> list[np.ndarray | None]:
        if self.noise_shape is None:
            if noise is not None:
                raise ValueError(f"policy {self.name!r} takes no noise")
            return [None] * number
        if noise is None:  # One by one, so that the draws do not depend on the number.
            return [torch.randn(self.noise_shape).numpy() for _ in range(number)]
        noise = np.asarray(noise, np.float32)
        if noise.shape != (number, *self.noise_shape):
            raise ValueError(f"noise has shape {noise.shape}, not {(number, *self.noise_shape)}")
        return list(noise)

    def _infer_all(
        self,
        observations: list[dict[str, Any]],
        noises: Sequence[np.ndarray | None],
        slots: Sequence[int],
    ) -> list[dict[str, Any]]:
        if self._closed:
            raise RuntimeError(f"policy {self.name!r} is closed")
        with self.computing():
            replies = self._batching.infer(observations, noises, slots)
        if replies:
            self._prove_activations()
        return replies

    # Its end

    def close(self) -> None:
        """Restore the weights and end the threads. A second call does nothing."""
        if self._closed:
            return
        self.set_variant(Variant(Precision()))
        self._closed = True
        self._batching.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _find_module(policy: Any) -> nn.Module | None:
    """Return the torch model a policy computes with: all that it holds, so that none escapes a precision."""
    if isinstance(policy, nn.Module):
        return policy
    attributes = getattr(policy, "__dict__", {})
    modules = {name: value for name, value in attributes.items() if isinstance(value, nn.Module)}
    if len(set(modules.values())) > 1:
        return nn.ModuleDict(modules)
    if modules:
        return next(iter(modules.values()))
    for name in ("policy", "_policy"):  # wrappers, such as a recorder
        inner = attributes.get(name)
        if inner is not None and inner is not policy:
            return _find_module(inner)
    return None
