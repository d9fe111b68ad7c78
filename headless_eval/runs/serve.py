"""The command ``serve``: a policy of this process for clients of openpi's websocket protocol."""

import asyncio
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from time import perf_counter
from typing import Any

from headless_eval.config.serve import ServeConfig
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy, load_policy
from headless_eval.policies.options import LoadOptions
from headless_eval.policies.remote.policy import NOISE, OURS
from headless_eval.policies.remote.wire import LARGEST, BadMessage, pack, unpack
from headless_eval.runs.calibrate import saved_calibration
from headless_eval.shared.program import install
from headless_eval.shared.text import plural

_BUSY = 1013  # "try again later"
_FAILED = 1011  # "internal error"


def serve(config: ServeConfig) -> int:
    """Load a policy, and answer requests until Ctrl-C or SIGTERM; returns the exit status, 0.

    Raises:
        UserError: the policy cannot be loaded or put into the precision, or the address cannot be listened at.
    """
    _websockets()
    options = asdict(LoadOptions.of(config, dtype="float32"))  # the command's dtype is a precision
    # Requests come one at a time, so that a larger batch would only hold copies.
    with load_policy(config.policy, checkpoint=config.checkpoint, max_batch=1, **options) as policy:
        policy.calibration = saved_calibration(policy, None, config.calibration)
        policy.set_precision(config.precision)
        if policy.robot is not None:
            policy.warmup()
        server = PolicyServer(policy)
        asyncio.run(_serve_until_interrupted(server, config))
    print(f"ended: {plural(server.answered, 'request')}, {plural(server.connections, 'connection')}")
    return 0


async def _serve_until_interrupted(server: "PolicyServer", config: ServeConfig) -> None:
    stop = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def tell(port: int) -> None:
        host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"ws://{host}:{port}"
        print(f"{server.policy.name} at {config.precision.name} on {address}; Ctrl-C ends it", flush=True)

    await server.run(config.host, config.port, tell, stop)


class PolicyServer:
    """Answers requests of openpi's websocket protocol with a policy, one request after another.

    Args:
        policy: at the precision to serve. A policy with a history that cannot tell episodes apart has one connection
            at a time; a second one is closed with code 1013.

    Attributes:
        policy: as given.
        metadata: the first message of every connection.
        answered: number of requests that were answered with actions.
        connections: number of connections so far.
    """

    def __init__(self, policy: LocalPolicy) -> None:
        self.policy = policy
        self.metadata = {
            "server": OURS,
            "policy": policy.name,
            "precision": policy.precision.name,
            "robot": policy.robot,
            "open_loop_horizon": policy.open_loop_horizon,
            "image_size": policy.image_size,
            "noise_shape": None if policy.noise_shape is None else list(policy.noise_shape),
            "fingerprint": policy.fingerprint(),
            "engine": policy.engine,
        }
        self.answered = self.connections = 0
        self._taken: set[int] = set()

    async def run(self, host: str, port: int, listening: Callable[[int], None], stop: asyncio.Event) -> None:
        """Answer requests until ``stop`` is set.

        Args:
            host: the address to listen at.
            port: the port; 0: a free one.
            listening: called with the port when connections are accepted.
            stop: ends the server; open connections are closed.

        Raises:
            UserError: the address cannot be listened at.
        """
        # A thread of its own: the connections stay alive during an inference.
        with ThreadPoolExecutor(1, "policy") as thread:
            self._compute = _in_thread(thread)
            try:
                listener = await _websockets().asyncio.server.serve(
                    self._talk,
                    host,
                    port,
                    origins=[None],  # no web page: browsers let any page connect to this machine
                    compression=None,
                    max_size=LARGEST,
                    process_request=_answer_health_check,
                )
            except OSError as error:
                raise UserError(
                    f"cannot listen at {host}, port {port} ({error.strerror or error}): choose another with --host "
                    "or --port"
                ) from None
            async with listener:
                listening(next(iter(listener.sockets)).getsockname()[1])
                await stop.wait()

    async def _talk(self, connection: Any) -> None:
        """Answer the requests of one connection, which is an episode in a slot of its own."""
        closed = _websockets().exceptions.ConnectionClosed
        slot = next(number for number in range(len(self._taken) + 1) if number not in self._taken)
        if self.policy.max_slots is not None and slot >= self.policy.max_slots:
            await connection.close(_BUSY, "the policy keeps one history: one connection at a time")
            return
        self._taken.add(slot)
        self.connections += 1
        try:
            await self._compute(self.policy.reset, [slot])
            await connection.send(pack(self.metadata))
            async for message in connection:
                reply = await self._compute(self._answer, message, slot)
                await connection.send(reply)
                if isinstance(reply, str):
                    await connection.close(_FAILED, "internal error; what happened is in the frame before")
        except closed:
            pass
        finally:
            self._taken.discard(slot)

    def _answer(self, message: bytes | str, slot: int) -> bytes | str:
        """Return the reply to a request; where it fails, a text that says why, which clients take for an error."""
        began = perf_counter()
        try:
            request = unpack(message)
            if not isinstance(request, dict):
                raise BadMessage("a request has to be a dict: an observation with openpi's keys")
            noise = None if self.policy.noise_shape is None else request.pop(NOISE, None)
            (reply,) = self.policy.infer_batch([request], None if noise is None else noise[None], [slot])
            self.answered += 1
            return pack({**reply, "server_timing": {"infer_ms": 1e3 * (perf_counter() - began)}})
        except (UserError, BadMessage) as error:
            return str(error)
        except Exception:
            text = traceback.format_exc()
            print(text, file=sys.stderr, flush=True)
            return text


def _in_thread(thread: ThreadPoolExecutor) -> Callable[..., Any]:
    loop = asyncio.get_running_loop()

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        return loop.run_in_executor(thread, function, *arguments)

    return call


def _answer_health_check(connection: Any, request: Any) -> Any:
    return connection.respond(200, "OK\n") if request.path == "/healthz" else None


def _websockets() -> Any:
    try:
        import websockets.asyncio.server
        import websockets.exceptions
    except ImportError:
        raise UserError(
            f"serve needs the package websockets: run {install('headless-eval[remote]')}"
        ) from None
    return websockets
