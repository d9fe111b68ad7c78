"""Policies in this process: loading, warm-up, precisions, batched inference, timing."""

import hashlib
import inspect
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.contracts.compatibility import Declared
from headless_eval.contracts.robots import ROBOTS
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.policies.adapter import Adapter
from headless_eval.policies.batching import Batching, Timing, one_thread
from headless_eval.policies.device import check_device
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.registry import DEFAULT, check_engine, list_policies, open_policy
from headless_eval.quant import Calibration, Recorder
from headless_eval.quant.hashing import add_tensor
from headless_eval.quant.methods import Method
from headless_eval.quant.model import ModelHandle, find_model
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
        policy: a name of ``list_policies()``, or a folder with ``config.toml``, weights (``model.safetensors`` or
            its shards), ``assets/<asset_id>/norm_stats.json`` and ``tokenizer.model``; or the place of your own, as
            ``module:attribute`` or ``./file.py:attribute``: a class or function that returns an object with ``infer``.
        checkpoint: a checkpoint instead of ``policy``: a folder of openpi (JAX or PyTorch), LeRobot or headless-eval,
            an address in openpi's cache (``gs://...``), or a hub id in Hugging Face's cache.
        max_batch: the fixed size of batches; by default 4 on a CPU and 8 on a GPU (see ``LocalPolicy``).
        options: further options by name, the fields of ``policies.registry.LoadOptions``:

    Options:
        config: the checkpoint's configuration by name; ``headless-eval list`` shows all names.
        config_file: the checkpoint's configuration as a TOML or JSON file, instead of ``config``; by default
            ``config.toml`` in the folder, or LeRobot's ``config.json``.
        tokenizer: SentencePiece model; by default ``tokenizer.model`` beside the weights, or PaliGemma's in
            openpi's cache (``$OPENPI_DATA_HOME``).
        device: ``cpu``, ``cuda`` or ``cuda:0``.
        dtype: type of the weights: float32, bfloat16 or float16.
        flow_steps: Euler steps of flow matching; by default the configuration's.
        engine: inference engine: ``auto``, ``eager``, ``compiled`` or ``fused``; results differ in the last bits.
        execution: ``simulated`` rounds to a precision's values, ``native`` computes in its types (fused engine).
        robot: the name of the policy's robot (``contracts.robots.ROBOTS``), if neither the configuration nor the
            checkpoint names it.
        policy_args: arguments of a policy of your own: a dict, or words such as ``scale=0.5``.

    Raises:
        UserError: the policy, configuration, robot or device does not exist; a file is missing or not valid; both a
            policy and a checkpoint are given; or the policy is for another robot than the named robot.
    """
    chosen = LoadOptions(**options)
    check_device(chosen.device)
    check_engine(chosen.engine, chosen.execution)
    if max_batch is not None and max_batch < 1:
        raise UserError(f"max_batch is {max_batch}; it must be 1 or more")
    loaded, name = open_policy(policy, checkpoint, chosen)
    return LocalPolicy(loaded.policy, name, max_batch=max_batch, origin=loaded.origin)


class LocalPolicy:
    """A policy of a family of this package, or any object with ``infer(obs)``, behind one interface.

    Results do not depend on the number of observations per call. A matrix product rounds differently for another number
    of rows, so the policy is always called with batches of one fixed size, padded by repetition. On a CPU several
    batches are inferred at a time, each with a single thread, so that results do not depend on the number of cores.
    Before the first inference a test checks that a row of a batch does not depend on the other rows; if it does, the
    batch size is 1.

    Batches are for policies whose reply depends only on observation and noise: policies that declare ``stateless``, or
    do not declare it but take noise as an argument (``noise_shape``). Other policies infer one observation after
    another, in order, on the caller's thread. A policy that keeps a history of an episode learns from ``reset`` which
    episodes begin, and from ``infer_batch`` which episode an observation belongs to, if both have an argument
    ``slots``. A policy with a plain ``reset()`` cannot distinguish episodes and is used for one episode at a time
    (``max_slots``).

    Args:
        policy: follows ``contracts.policy``, or has ``infer(obs) -> {"actions": ...}`` with openpi's keys; ``reset()``
            and ``infer_batch(list of obs, noise)`` are called if they exist. Observations share a batch if their
            prompts are equal, because all rows of a batch are padded to the longest prompt; or, if the policy has
            ``batch_key(obs)`` or prepared inputs with a ``batch_key``, if these keys are equal.
        name: the policy's name.
        module: the policy's torch model; by default every ``nn.Module`` among the policy's attributes.
        noise_shape: (horizon, action_dim) of the ``noise`` argument of ``infer``; by default the policy's attribute of
            that name. None: the policy takes no noise.
        max_batch: the fixed size of batches; by default 4 on a CPU and 8 on a GPU. 1 is fastest for a single
            observation. Results depend on it in the last bits.
        threads: number of batches inferred at a time on a CPU.
        origin: what a run's manifest says of the policy's code, if it is not this package's; JSON types only.

    Attributes:
        calibration: the calibration for methods that need it, or None.
        packdir: the folder that caches the packed weights of methods; None disables the cache.
        determinism: ``"checked"`` if two replies to an observation from one seed were the same, ``"not given"`` if they
            differed, None if they were not compared.
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
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self._adapter = Adapter(policy, name, noise_shape)
        self.policy = policy
        self.name = name
        self._origin = dict(origin or {})
        self._model = find_model(policy, module)
        self.module: nn.Module | None = getattr(self._model, "module", None)
        self.config = getattr(policy, "config", None)
        self.noise_shape = self._adapter.noise_shape
        self.calibration: Calibration | None = None
        self.packdir: Path | None = None
        self.warmup_seconds: float | None = None
        self.determinism: str | None = None
        self._on_cpu = self.device.type == "cpu"
        self._batching = Batching(
            self._adapter, name, on_cpu=self._on_cpu, max_batch=max_batch, threads=threads
        )
        if self._model is not None:
            self._batching.no_gradients = self._model.inference
        self._precision = Precision()
        self._settings: dict[str, str | int | float] = {}
        self._handle: ModelHandle | None = None
        self._activations_unproven = False
        self._closed = False

    # What it is

    @property
    def device(self) -> torch.device:
        """Return the torch model's device; the CPU for a policy without one."""
        first = next(self.module.parameters(), None) if self.module is not None else None
        return torch.device("cpu") if first is None else first.device

    @property
    def has_model(self) -> bool:
        """Return whether the policy holds a model, of torch or of JAX, that precisions apply to."""
        return self._model is not None

    @property
    def module_sizes(self) -> dict[str, int]:
        """Return how many numbers the weights of each of the model's modules hold, without those of its children."""
        return {} if self._model is None else self._model.module_sizes

    @property
    def robot(self) -> str | None:
        """Return the name of the policy's robot; None if the policy does not declare it."""
        return self._adapter.robot

    @property
    def declared(self) -> Declared:
        """Return what the policy declares of its interface, to compare it with a suite's.

        Raises:
            UserError: the policy's ``requires`` has an unknown key.
        """
        return self._adapter.declared

    @property
    def libraries(self) -> tuple[str, ...]:
        """Return the distributions whose versions actions can depend on."""
        computes = () if self._model is None else self._model.libraries
        return tuple(dict.fromkeys(("torch", *computes, *getattr(self.policy, "libraries", ()))))

    @property
    def open_loop_horizon(self) -> int:
        """Return the number of actions of a chunk to execute before replanning."""
        return self._adapter.open_loop_horizon

    @property
    def stateless(self) -> bool:
        """Return whether a reply depends only on the observation and its noise."""
        return self._adapter.stateless

    @property
    def draws(self) -> bool:
        """Return whether replies may depend on the process's random generators."""
        return self._adapter.draws

    @property
    def max_slots(self) -> int | None:
        """Return the maximal number of episodes at a time; None: any number."""
        return self._adapter.max_slots

    @property
    def batch(self) -> int:
        """Return the fixed size of batches; it is halved when the GPU's memory does not suffice."""
        return self._batching.size

    @property
    def image_size(self) -> int:
        """Return the side in pixels of the model's images; 224 if the policy does not declare it."""
        return self._adapter.image_size

    def fingerprint(self) -> str | None:
        """Return the SHA-256 of the model's unquantized weights and buffers, at any precision.

        The hash covers names, types, shapes and bytes, sorted by name. None for a policy without a model.
        """
        if self._model is None:
            return None
        digest = hashlib.sha256()
        for label, tensor in sorted(self._model.state(), key=lambda item: item[0]):
            add_tensor(digest, label, tensor)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the description of the policy for a run's manifest; JSON types only."""
        model = self._model
        return {
            "name": self.name,
            "class": f"{type(self.policy).__module__}.{type(self.policy).__qualname__}",
            "config": getattr(self.config, "name", None),
            "parameters": 0 if model is None else model.num_parameters,
            "fingerprint": self.fingerprint(),
            "device": "cpu" if model is None else model.device,
            "dtype": None if model is None else ", ".join(model.dtypes) or None,
            "noise_shape": None if self.noise_shape is None else list(self.noise_shape),
            "open_loop_horizon": self.open_loop_horizon,
            "batch": self._batching.size,
            "threads": self._batching.threads,
            **self._origin,
            **self._describe_policy(),
            **({} if self.calibration is None else {"calibration_sha256": self.calibration.sha256()}),
            **({} if self.determinism is None else {"determinism": self.determinism}),
            "warmup_s": self.warmup_seconds,
        }

    @property
    def engine(self) -> str | None:
        """Return the name of the engine at the present precision; None for a policy without engines."""
        name = getattr(self.policy, "engine_name", None)
        return None if name is None else str(name)

    # Precision

    @property
    def precision(self) -> Precision:
        """Return the present precision."""
        return self._precision

    @property
    def variant(self) -> Variant:
        """Return the present variant: precision and settings."""
        return Variant(self._precision, dict(self._settings))

    def set_precision(self, precision: Precision | Method | str) -> float:
        """Put the model into a precision, starting from the unquantized weights; resets the timing.

        Args:
            precision: a precision, a method, or a text that ``Precision.parse`` reads: ``"int8_both"``,
                ``"duquant_w4a8"``.

        Returns:
            The time that this took, in seconds.

        Raises:
            UserError: the policy holds no model, the scope matches no module, or the text is not a precision. In
                the first two cases the policy is then at float32.
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
        if self._model is None:
            raise UserError(
                f"policy {self.name!r} holds no torch model, nor one in JAX, so it cannot be put into "
                f"{precision.name}: run it at float32 only (--dtypes float32)"
            )
        self._precision = precision
        try:
            if not getattr(self.policy, "rounds_itself", False):
                self._handle = self._model.enter(
                    precision, calibration=self.calibration, packdir=self.packdir
                )
                self._activations_unproven = bool(self._handle.hooked)
                if precision.change is not None:
                    self._batching.check_again()
            self.renew_engine()
        except BaseException:
            self._restore()
            raise

    def set_variant(self, variant: Variant) -> float:
        """Put the policy into a variant: its precision, its settings, and all other settings as loaded.

        The possible settings are the arguments of the policy's ``configure``, if it has this method.

        Returns:
            The time that this took, in seconds.

        Raises:
            UserError: the policy does not have the setting, the value is not valid, or an error of ``set_precision``
                occurs. The policy is then at float32, with its earlier settings.
        """
        begin = time.perf_counter()
        precision = variant.precision
        if dict(variant.settings) != self._settings:
            self.set_precision(Precision())
            self._configure(dict(variant.settings))
        self.set_precision(precision if isinstance(precision, Precision) else precision.name)
        return time.perf_counter() - begin

    def _configure(self, settings: dict[str, str | int | float]) -> None:
        self.check_settings(settings)
        configure = getattr(self.policy, "configure", None)
        if callable(configure):
            configure(**settings)
        self._settings = settings

    def check_settings(self, names: Iterable[str]) -> None:
        """Refuse settings of variants that the policy does not have.

        Raises:
            UserError: the policy's ``configure`` has no argument of one of the names.
        """
        configure = getattr(self.policy, "configure", None)
        known = list(inspect.signature(configure).parameters) if callable(configure) else []
        for name in names:
            if name not in known:
                raise unknown(f"setting of policy {self.name}", name, known)

    def _restore(self) -> None:
        if self._precision.dtype == "float32":
            return
        if self._handle is not None:
            self._handle.restore()
        if self._precision.change is not None:
            self._batching.check_as_before()
        self._handle, self._precision, self._activations_unproven = None, Precision(), False
        self.renew_engine()

    @contextmanager
    def kept_trainable(self) -> Iterator[None]:
        """Infer under ``no_grad`` within the block, not in inference mode; to the same bits.

        Tensors made in inference mode can never be trained with, and a model may keep some, such as a table of
        positions that it makes when it is first called. Policies of a family keep none, and their engines need it.
        """
        if self._adapter.is_of_family or self.module is None:
            yield
            return
        before, self._batching.no_gradients = self._batching.no_gradients, torch.no_grad
        try:
            yield
        finally:
            self._batching.no_gradients = before

    def renew_engine(self) -> None:
        """Let the policy rebuild its engine for the present weights, if it has one."""
        renew = getattr(self.policy, "renew_engine", None)
        if callable(renew):
            renew(self._precision, self._handle)

    def _describe_policy(self) -> dict[str, Any]:
        """Return the policy's own description."""
        describe = getattr(self.policy, "describe", None)
        return dict(describe()) if callable(describe) else {}

    def describe_precision(self) -> dict[str, Any]:
        """Return the modules that the precision was applied to, for a run's manifest; JSON types only.

        ``unfired`` lists the modules whose outputs should be quantized, but which no inference has called so far.
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
        """Yield the model's present parameters by name, in the basis in which they were loaded.

        Methods keep weights in another basis; here the difference from the unquantized weights is the rounding error.
        """
        if self._model is not None:
            yield from self._model.effective_parameters()

    @property
    def packed_bytes(self) -> dict[str, int]:
        """Return the bytes of the weights that a method has packed, by module; includes scales and rotations."""
        layers = {} if self._handle is None else self._handle.layers
        return {name: layer.nbytes for name, layer in layers.items() if layer.packed is not None}

    @property
    def stored_bytes(self) -> int:
        """Return the size in bytes of the model's stored parameters, packed if the method packs them."""
        return 0 if self._model is None else self._model.stored_bytes

    def record_inputs(
        self, observations: Sequence[dict[str, Any]], noises: Sequence[np.ndarray | None], **facts: Any
    ) -> Calibration:
        """Infer observations one by one at float32; return statistics of the inputs of the model's linear layers.

        Args:
            observations: observations with the policy's keys.
            noises: noise of each observation, float32 of ``noise_shape``; None for policies without noise.
            facts: further facts for the calibration's file; the fingerprint of the weights is added.

        Raises:
            UserError: the policy holds no torch model.
        """

        def infer() -> None:
            for obs, noise in zip(observations, noises, strict=True):
                self._adapter.infer(self._adapter.prepare(obs), noise, 0)
            self.reset()

        return self.record_calls(infer, **facts)

    def record_calls(self, call: Callable[[], Any], **facts: Any) -> Calibration:
        """Return statistics of the inputs of the model's linear layers at float32 while ``call`` infers.

        Raises:
            UserError: the policy holds no torch model.
        """
        module = self.calibratable()
        self.set_precision(Precision())
        with (
            self.computing(),
            self.computed_by_module(),
            Recorder(module) as recorder,
            self._batching.no_gradients(),
        ):
            call()
        return recorder.calibration(fingerprint=self.fingerprint(), **facts)

    def calibratable(self) -> nn.Module:
        """Return the model whose linear layers' inputs a calibration records.

        Raises:
            UserError: the policy holds no torch model.
        """
        if self.module is None:
            raise UserError(f"policy {self.name!r} holds no torch model: there is nothing to calibrate")
        return self.module

    # For measuring

    @property
    def has_measurable_model(self) -> bool:
        """Return whether ``sample`` and ``action_scales`` can be called: the policy has methods of these names."""
        return self.module is not None and all(
            callable(getattr(self.policy, name, None)) for name in ("sample", "action_scales")
        )

    def sample(self, inputs: Any, **settings: Any) -> Tensor:
        """Return the output of the model, computed by the present engine, without input and output transforms.

        A policy that does not offer this is asked for replies to observations, each the first of an episode of its own:
        in one batch of exactly their number if it can be batched, else one after another on the caller's thread.

        Args:
            inputs: the model's inputs on its device, whose form depends on the policy; or an object with
                ``observations`` and ``noise``.
            settings: settings of this inference, such as ``flow_steps``.

        Returns:
            Actions in the model's own units, float32 (number, horizon, action_dim).
        """
        if self.has_measurable_model:
            result: Tensor = self.policy.sample(inputs, **settings)
            return result
        adapter, number = self._adapter, len(inputs.observations)
        noises = [None] * number if inputs.noise is None else list(inputs.noise)
        adapter.reset(None)
        prepared = [adapter.prepare(observation) for observation in inputs.observations]
        with self._batching.no_gradients():
            if adapter.can_batch:
                replies = adapter.infer_batch(prepared, inputs.noise, range(number))
                actions = [_actions_of(reply) for reply in replies]
            else:
                actions = []
                for slot, (one, noise) in enumerate(zip(prepared, noises, strict=True)):
                    slot = 0 if adapter.max_slots == 1 else slot
                    adapter.reset([slot], [0])
                    actions.append(_actions_of(adapter.infer(one, noise, slot)))
        return torch.stack([chunk[None] if chunk.ndim == 1 else chunk for chunk in actions])

    def action_scales(self, observations: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Return scale and offset that normalise actions: (actions - offset) / scale, as in training.

        Returns:
            The scale, (action_dims,), and the offset, (number, 1, action_dims), both in the robot's units.
        """
        scale, offset = self.policy.action_scales(observations)
        return scale, offset

    def computed_by_module(self) -> AbstractContextManager[None]:
        """Make the policy compute by calling its model's modules, whatever its engine, so that hooks are called."""
        by_module = getattr(self.policy, "computed_by_module", None)
        return by_module() if callable(by_module) else nullcontext()

    def computing(self) -> AbstractContextManager[None]:
        """Use inference's number of threads within the block: on a CPU one thread per operation."""
        return one_thread() if self._on_cpu else nullcontext()

    def _prove_activations(self) -> None:
        """Raise an error if an inference called none of the hooks."""
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
        """Infer a full batch on every thread, so that later inferences are not slowed by first-time costs.

        The random state and the timing stay unchanged, and the policy is reset afterwards.

        Args:
            obs: the observation to infer; by default an example with black images of the policy's robot.

        Returns:
            The time that this took, in seconds; ``describe`` returns it too.

        Raises:
            UserError: the policy has no example observation, or activations are quantized and no hook was called.
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
        with self._batching.untimed(), self._generators_kept():
            number = self._batching.threads * self._batching.size
            self._infer_all([obs] * number, [noise] * number, [0] * number)
        self.reset()
        self.warmup_seconds = time.perf_counter() - begin
        return self.warmup_seconds

    def _generators_kept(self) -> AbstractContextManager[None]:
        """Keep the state of torch's generators, which all threads share: only the main thread may turn it back."""
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()
        return torch.random.fork_rng(devices=[] if self._on_cpu else [self.device])

    def reset(self, slots: Sequence[int] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Tell the policy that episodes begin.

        Args:
            slots: the slots of these episodes; None: all slots.
            seeds: the seed of each episode, 0 to 2**32 - 1. A policy that neither takes noise nor declares that it is
                stateless then draws from random generators of Python, NumPy and torch with this seed, one set a slot.
                None: it draws from the process's generators as they are.

        Raises:
            UserError: the number of slots is above ``max_slots``.
        """
        self._adapter.reset(slots, seeds)

    def infer(self, obs: dict[str, Any], noise: Any = None) -> dict[str, Any]:
        """Return the reply to one observation; see ``infer_batch``.

        Args:
            obs: an observation with the policy's keys.
            noise: float32 of ``noise_shape``, for repeatable actions. None: drawn from torch's default generator, so
                that actions differ from call to call unless ``torch.manual_seed`` is used.
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
            observations: any number of observations.
            noise: float32 (number, *noise_shape), the noise that flow matching starts from; with the same noise,
                actions are the same to the last bit. None: drawn from torch's default generator, one observation after
                another, so that actions differ from call to call unless ``torch.manual_seed`` is used.
            slots: the slot of each observation's episode, as given to ``reset``; None: all belong to the same episode.
                Only policies with a history use it.

        Returns:
            dicts with ``actions``, float32 (horizon, action_dims), and ``policy_timing`` with ``infer_ms``.

        Raises:
            UserError: activations are quantized and no hook was called; the policy's reply has no actions; or the
                number of slots is above ``max_slots``.
            ValueError: the noise has the wrong shape, or the policy takes no noise.
            TypeError: a single observation is given instead of several.
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
        """Return the time of the inferences at the present precision."""
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


def _actions_of(reply: Mapping[str, Any]) -> Tensor:
    """Return a copy of a reply's actions, float32 on the CPU: a policy may reuse the memory of its replies."""
    actions = reply["actions"]
    if isinstance(actions, Tensor):
        return actions.detach().to("cpu", torch.float32, copy=True)
    return torch.from_numpy(np.array(actions, np.float32))
