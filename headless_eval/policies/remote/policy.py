"""A policy on a server: observations go there, action chunks come back."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from headless_eval.contracts.robots import IMAGE_SIZE, ROBOTS
from headless_eval.policies.remote.connection import Connection, connect
from headless_eval.policies.remote.wire import pack, plain

NOISE = "noise"
"""The key of an observation under which servers of headless-eval take the noise that flow matching starts from."""
OURS = "headless-eval"
"""The metadata's ``server`` on servers of headless-eval."""


class RemotePolicy:
    """A policy on a server of openpi's websocket protocol, asked for one observation at a time.

    Every episode has a connection of its own, made when the episode begins: the protocol has no reset, and a server
    that keeps a history keeps one for each connection. A connection that breaks ends its episode as an error.

    Args:
        address: ``ws://host:port`` or ``wss://host:port``.
        robot: the name of the policy's robot, if the server does not say it.
        first_patience: seconds to wait for the server at first.
        patience: seconds to wait for the server when a connection has to be made anew, such as while it is restarted.

    Attributes:
        metadata: the server's first message. ``robot``, ``open_loop_horizon`` and ``image_size`` are taken from it if
            it has them; ``noise_shape``, too, from a server of headless-eval.

    Raises:
        UserError: there is no such server.
    """

    stateless = False
    elsewhere = True
    """Whether it is computed elsewhere, so that its replies have to be compared to know whether they repeat."""

    def __init__(
        self, address: str, robot: str | None = None, *, first_patience: float = 10.0, patience: float = 120.0
    ) -> None:
        self._address, self._patience = address, patience
        self._idle: list[Connection] = [connect(address, first_patience)]
        self._connections: dict[int, Connection] = {}
        self._failed: dict[int, Exception] = {}  # by the slot of the episode that cannot go on
        weakref.finalize(self, _close, self._idle, self._connections)
        self.metadata: dict[str, Any] = self._idle[0].metadata
        told = self.metadata.get("robot")
        self.robot: str | None = told if isinstance(told, str) and told in ROBOTS else robot
        self.open_loop_horizon = _positive(self.metadata.get("open_loop_horizon"))
        self.image_size = _positive(self.metadata.get("image_size")) or IMAGE_SIZE
        self.noise_shape = _shape(self.metadata)

    def infer(self, obs: dict[str, Any], noise: np.ndarray | None = None) -> dict[str, Any]:
        """Return the server's reply to one observation, as for slot 0; errors as of ``infer_batch``."""
        return self.infer_batch([obs], None if noise is None else np.asarray(noise)[None], [0])[0]

    def infer_batch(
        self,
        observations: Sequence[dict[str, Any]],
        noise: np.ndarray | None = None,
        slots: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the server's reply to each observation, one after another; arguments as of ``contracts.policy``.

        Raises:
            StopRun: the server was gone when the episode began, and did not come back.
            LostConnection: the connection broke; so for the rest of the episode, which ``reset`` ends.
            ServerError: the server answered with an error; so for the rest of the episode.
            BadMessage: an observation cannot be sent, or a reply is malformed.
        """
        replies = []
        for index, (obs, slot) in enumerate(zip(observations, slots or [0] * len(observations), strict=True)):
            request = pack(obs if noise is None else {**obs, NOISE: np.asarray(noise[index], np.float32)})
            replies.append(self._ask(slot, request))
        return replies

    def _ask(self, slot: int, request: bytes) -> dict[str, Any]:
        # An episode that failed must not go on on a new connection, which knows nothing of the episode.
        if slot in self._failed:
            raise self._failed[slot]
        if slot not in self._connections:
            self._connections[slot] = self._connect()
        try:
            return self._connections[slot].ask(request)
        except BaseException as error:
            self._connections.pop(slot).close()
            if isinstance(error, Exception):
                self._failed[slot] = error
            raise

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Begin new episodes in these slots, each on a new connection; None: end all episodes.

        Raises:
            StopRun: the server is gone and did not come back.
        """
        for slot in {*self._connections, *self._failed} if slots is None else slots:
            if slot in self._connections:
                self._connections.pop(slot).close()
            self._failed.pop(slot, None)
        for slot in slots or ():
            self._connections[slot] = self._connect()

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of the server."""
        return {"remote": {"metadata": plain(self.metadata)}}

    def _connect(self) -> Connection:
        return self._idle.pop() if self._idle else connect(self._address, self._patience)


def _close(idle: list[Connection], connections: dict[int, Connection]) -> None:
    for connection in (*idle, *connections.values()):
        connection.close()


def _positive(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


def _shape(metadata: dict[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of the noise that a server of headless-eval takes."""
    shape = metadata.get("noise_shape")
    if metadata.get("server") != OURS or not isinstance(shape, list) or not all(map(_positive, shape)):
        return None
    return tuple(shape)
