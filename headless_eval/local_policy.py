"""A policy in this process: warmed up, put into a precision, asked for actions, and timed."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from headless_eval.errors import UserError
from headless_eval.policies import list_policies, load_policy
from headless_eval.precision import Precision
from headless_eval.quant import Handle, quantize_

__all__ = ["LocalPolicy", "Timing", "example_observation", "list_policies", "load_policy"]

_OPEN_LOOP_HORIZON = 8  # of policies that name none


@dataclass(frozen=True)
class Timing:
    """How long inference took: calls of the model, the observations in them, milliseconds a call."""

    calls: int
    observations: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    max_ms: float


def example_observation(kind: str) -> dict[str, Any]:
    """Return an observation with openpi's keys for warming up: black images, a robot at zero.

    Args:
        kind: ``"droid"`` or ``"libero"``.
    """
    image = np.zeros((224, 224, 3), np.uint8)
    if kind == "droid":
        return {
            "observation/exterior_image_1_left": image,
            "observation/wrist_image_left": image,
            "observation/joint_position": np.zeros(7, np.float32),
            "observation/gripper_position": np.zeros(1, np.float32),
            "prompt": "put the cube in the bowl",
        }
    return {
        "observation/image": image,
        "observation/wrist_image": image,
        "observation/state": np.zeros(8, np.float32),
        "prompt": "put the bowl on the plate",
    }


class LocalPolicy:
    """A policy of ours, or any object with ``infer(obs)``, behind one interface.

    Two things a policy may offer decide how it is called. One that takes its noise as an argument (it has a
    ``noise_shape``) gives a reply that depends on observation and noise alone: such a policy is called from
    several threads on a CPU. On a GPU, one that has ``infer_batch`` is called with batches of one fixed size,
    filled up by repetition. Everything else is called with one observation after another.

    So no result depends on how many observations are asked for at once. On a CPU, torch computes each with a
    single thread while a policy is loaded, so that none depends on the number of cores either; ``close``
    gives torch its threads back.

    Args:
        policy: has ``infer(obs) -> {"actions": ...}``, with openpi's keys; ``reset()`` is called if it is there.
        name: what to call it.
        module: its torch model; by default every ``nn.Module`` among the policy's attributes.
        noise_shape: (horizon, action_dim) of the ``noise`` argument that its ``infer`` takes; by default the
            policy's attribute of that name. None: it takes none.
        threads: how many infer at a time on a CPU.
        max_batch: the fixed size of batches where there are any.
        batched: whether to call it with batches; by default, if it can and is not on a CPU.
    """

    def __init__(
        self,
        policy: Any,
        name: str,
        *,
        module: nn.Module | None = None,
        noise_shape: tuple[int, ...] | None = None,
        threads: int = 2,
        max_batch: int = 8,
        batched: bool | None = None,
    ) -> None:
        if not callable(getattr(policy, "infer", None)):
            raise UserError(f"policy {name!r} has no infer(obs): {type(policy).__name__} is no policy")
        self.policy = policy
        self.name = name
        self.module = module if module is not None else _find_module(policy)
        self.config = getattr(policy, "config", None)
        shape = noise_shape if noise_shape is not None else getattr(policy, "noise_shape", None)
        self.noise_shape: tuple[int, ...] | None = None if shape is None else tuple(shape)
        self.warmup_seconds: float | None = None
        self._on_cpu = self.device.type == "cpu"
        if batched is None:
            batched = not self._on_cpu and callable(getattr(policy, "infer_batch", None))
        self._max_batch = max_batch if batched else None
        self._threads = threads if self._on_cpu and not batched and self.noise_shape is not None else 1
        self._pool: ThreadPoolExecutor | None = None
        self._precision = Precision()
        self._handle: Handle | None = None
        self._activations_unproven = False
        self._calls: list[tuple[float, int]] = []
        self._closed = False
        if self._on_cpu:
            _one_thread.acquire()

    # What it is

    @property
    def device(self) -> torch.device:
        """Return where the model is; the CPU if there is none."""
        first = next(self.module.parameters(), None) if self.module is not None else None
        return torch.device("cpu") if first is None else first.device

    @property
    def open_loop_horizon(self) -> int:
        """Return how many actions of a chunk to execute before asking again."""
        for source in (self.config, self.policy):
            horizon = getattr(source, "open_loop_horizon", None)
            if horizon is not None:
                return int(horizon)
        return _OPEN_LOOP_HORIZON

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
            values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(values.numpy().data)
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
            "batch": self._max_batch or 1,
            "threads": self._threads,
            "warmup_s": self.warmup_seconds,
        }

    # Precision

    @property
    def precision(self) -> Precision:
        """Return the precision it computes at."""
        return self._precision

    def set_precision(self, precision: Precision) -> float:
        """Compute at this precision from now on, starting from the unquantized weights; timing starts anew.

        Returns:
            How many seconds it took.

        Raises:
            UserError: the policy holds no torch model that could be quantized, or the scope matches nothing
                in it. The policy is at float32 then.
        """
        begin = time.perf_counter()
        if self._handle is not None:
            self._handle.restore()
        self._handle, self._precision, self._calls = None, Precision(), []
        self._activations_unproven = False
        if precision.dtype != "float32":
            if self.module is None:
                raise UserError(
                    f"policy {self.name!r} holds no torch model, so it cannot be put into {precision.name}: "
                    "run it at float32 only"
                )
            self._handle = quantize_(self.module, precision)
            self._precision = precision
            self._activations_unproven = precision.activations
        return time.perf_counter() - begin

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
        }

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
        """Infer once on every thread, or one batch, so that what comes later is not slowed by first times.

        Neither the random state nor the timing is touched, and the policy is reset afterwards.

        Args:
            obs: what to infer; by default black images with the keys that the policy's configuration names.

        Returns:
            How many seconds it took; ``describe`` says so too.

        Raises:
            UserError: there is no observation to use; or activations are quantized and none was reached.
        """
        if obs is None:
            kind = getattr(self.config, "observation", None) or getattr(self.policy, "observation", None)
            if kind is None:
                raise UserError(
                    f"policy {self.name!r} does not say what it observes: pass warmup an observation"
                )
            obs = example_observation(kind)
        noise = None if self.noise_shape is None else np.zeros(self.noise_shape, np.float32)
        calls, begin = self._calls, time.perf_counter()
        self._calls = []
        try:
            with torch.random.fork_rng(devices=[] if self._on_cpu else [self.device]):
                self._infer_all([obs] * self._threads, [noise] * self._threads)
        finally:
            self._calls = calls
        self.reset()
        self.warmup_seconds = time.perf_counter() - begin
        return self.warmup_seconds

    def reset(self) -> None:
        """Tell the policy that an episode begins."""
        reset = getattr(self.policy, "reset", None)
        if callable(reset):
            reset()

    def infer(self, obs: dict[str, Any], noise: Any = None) -> dict[str, Any]:
        """Return the reply to one observation; see ``infer_batch``.

        Args:
            obs: an observation with the keys that the policy knows.
            noise: float32 of ``noise_shape``.
        """
        return self.infer_batch([obs], None if noise is None else np.asarray(noise)[None])[0]

    def infer_batch(self, observations: Iterable[dict[str, Any]], noise: Any = None) -> list[dict[str, Any]]:
        """Return a reply to each observation, in their order.

        Args:
            observations: any number of them.
            noise: float32 (number, *noise_shape), the noise that flow matching starts from. None: drawn from
                torch's default generator, one observation after another.

        Returns:
            dicts with ``actions``, float32 (horizon, action_dims), and ``policy_timing`` with ``infer_ms``.

        Raises:
            UserError: activations are quantized and no module's output was reached; the policy's reply has
                no actions.
            ValueError: the noise does not fit.
        """
        observations = list(observations)
        return self._infer_all(observations, self._noises(len(observations), noise))

    @property
    def timing(self) -> Timing:
        """Return how long the inferences at this precision have taken."""
        calls = list(self._calls)
        if not calls:
            return Timing(0, 0, 0.0, 0.0, 0.0, 0.0)
        ms = np.array([milliseconds for milliseconds, _ in calls])
        p50, p95 = np.percentile(ms, (50, 95))
        observations = sum(number for _, number in calls)
        return Timing(len(ms), observations, float(ms.mean()), float(p50), float(p95), float(ms.max()))

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
        self, observations: list[dict[str, Any]], noises: Sequence[np.ndarray | None]
    ) -> list[dict[str, Any]]:
        if self._closed:
            raise RuntimeError(f"policy {self.name!r} is closed")
        if self._max_batch is not None:
            size = self._max_batch
            replies = []
            for start in range(0, len(observations), size):
                part = slice(start, start + size)
                replies += self._infer_chunk(observations[part], noises[part], size)
        elif self._threads > 1 and len(observations) > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(
                    self._threads, f"infer-{self.name}", initializer=torch.set_num_threads, initargs=(1,)
                )
            replies = list(self._pool.map(self._infer_one, observations, noises))
        else:
            replies = [self._infer_one(*pair) for pair in zip(observations, noises, strict=True)]
        if replies:
            self._prove_activations()
        return replies

    def _infer_one(self, obs: dict[str, Any], noise: np.ndarray | None) -> dict[str, Any]:
        arguments = {} if noise is None else {"noise": noise}
        output, ms = self._timed(lambda: self.policy.infer(obs, **arguments), 1)
        return self._reply(output, ms)

    def _infer_chunk(
        self, observations: list[dict[str, Any]], noises: Sequence[np.ndarray | None], size: int
    ) -> list[dict[str, Any]]:
        number = len(observations)
        rows = [min(row, number - 1) for row in range(size)]
        batch = [observations[row] for row in rows]
        arguments = (
            {} if noises[0] is None else {"noise": np.stack([np.asarray(noises[row]) for row in rows])}
        )
        outputs, ms = self._timed(lambda: self.policy.infer_batch(batch, **arguments), number)
        return [self._reply(output, ms) for output in outputs[:number]]

    def _timed(self, call: Callable[[], Any], number: int) -> tuple[Any, float]:
        begin = time.perf_counter()
        with torch.inference_mode():
            output = call()
        ms = 1e3 * (time.perf_counter() - begin)
        self._calls.append((ms, number))
        return output, ms

    def _reply(self, output: Any, ms: float) -> dict[str, Any]:
        if not isinstance(output, dict) or "actions" not in output:
            raise UserError(
                f"policy {self.name!r} replied without 'actions': infer has to return a dict with them"
            )
        actions = output["actions"]
        if isinstance(actions, Tensor):
            actions = actions.detach().cpu()
        actions = np.ascontiguousarray(actions, dtype=np.float32)
        if actions.ndim == 1:  # a policy without chunks
            actions = actions[None]
        return {"policy_timing": {"infer_ms": ms}, **output, "actions": actions}

    # Its end

    def close(self) -> None:
        """Restore the weights, end the threads and give torch its own back. A second call does nothing."""
        if self._closed:
            return
        self.set_precision(Precision())
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown()
        if self._on_cpu:
            _one_thread.release()

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


class _OneThread:
    """Keeps torch to one thread per operation while anybody needs it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    def acquire(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = torch.get_num_threads()
            self._users += 1
            torch.set_num_threads(1)

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_num_threads(self._before)


_one_thread = _OneThread()
