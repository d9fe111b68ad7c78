"""A connection to a policy's server: how it is made, and what happens when it breaks."""

import ipaddress
import logging
import os
import socket
from contextlib import ExitStack, suppress
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from headless_eval.errors import LostConnection, StopRun, UserError
from headless_eval.policies.remote.wire import LARGEST, BadMessage, unpack
from headless_eval.shared import consent
from headless_eval.shared.program import install

_log = logging.getLogger(__name__)

SCHEMES = ("ws", "wss")
API_KEY = "OPENPI_API_KEY"
"""The environment variable whose value is sent as openpi's API key; a manifest never holds it."""

_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts: doubled each time
_HANDSHAKE = 10.0  # seconds
# The kernel of the server's machine answers these probes also while the server computes, so they end no long
# inference; they do end the wait for a machine that is gone. Seconds until the first, between two, and their number.
_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


class ServerError(RuntimeError):
    """The policy's server answered with an error; its traceback is a note of this exception."""


class Connection:
    """An open connection; ``connect`` makes one.

    Args:
        address: of the server.
        timeout: seconds that the handshake and the server's metadata may take.

    Attributes:
        metadata: the server's first message.

    Raises:
        OSError: the server cannot be reached.
        websockets.exceptions.WebSocketException: the server does not speak the protocol, or closed the connection.
        BadMessage: the first message is no dict.
        UserError: the package websockets is missing.
    """

    def __init__(self, address: str, timeout: float) -> None:
        client = _websockets().sync.client
        key = os.environ.get(API_KEY)
        self._address = address
        self._open = ExitStack()
        made = client.connect(
            address,
            compression=None,
            max_size=LARGEST,
            additional_headers={"Authorization": f"Api-Key {key}"} if key else None,
            open_timeout=timeout,
            # A server that computes in its only thread answers no ping, however long it takes.
            ping_interval=None,
            close_timeout=1,
            proxy=None if _is_here(address) else True,
        )
        self._socket = self._open.enter_context(made)
        try:
            _probe(self._socket.socket)
            self.metadata = unpack(self._socket.recv(timeout=timeout))
            if not isinstance(self.metadata, dict):
                raise BadMessage("its first message is not the metadata of a policy")
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes) -> dict[str, Any]:
        """Send a request and return the reply; waits as long as the server is there.

        Raises:
            LostConnection: the connection broke.
            ServerError: the server answered with an error.
            BadMessage: the reply is malformed.
        """
        exceptions = _websockets().exceptions
        try:
            self._socket.send(request)
            reply = self._socket.recv()
        except (exceptions.WebSocketException, OSError) as error:
            self.close()
            raise LostConnection(f"the connection to {self._address} broke ({error})") from error
        except (
            BaseException
        ):  # an interrupt: the reply still to come must not pass for that of a later request
            self.close()
            raise
        if isinstance(reply, str):
            lines = reply.strip().splitlines() or ["no reason given"]
            failure = ServerError(f"the server {self._address} failed: {lines[-1]}")
            failure.add_note(f"What the server says:\n{reply}")
            raise failure
        answer = unpack(reply)
        if not isinstance(answer, dict):
            raise BadMessage(f"the reply of {self._address} is no dict")
        return answer

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with suppress(OSError):
            self._open.close()


def connect(address: str, patience: float) -> Connection:
    """Return a new connection; if the server cannot be reached, try again with growing pauses.

    Args:
        address: of the server.
        patience: seconds after which to give up.

    Raises:
        StopRun: the server could not be reached for so long.
        UserError: the server refuses the connection, does not speak the protocol, or websockets is missing; or a run's
            folder named the address, and the user has neither used nor trusted it, see ``consent``.
    """
    consent.check_address(address)
    exceptions = _websockets().exceptions
    deadline, pause, told = monotonic() + patience, _PAUSE, False
    while True:
        try:
            return Connection(address, max(_HANDSHAKE, deadline - monotonic()))
        except BadMessage as error:
            raise UserError(f"{address} is no policy server of openpi's protocol: {error}") from error
        except exceptions.InvalidStatus as error:
            status = error.response.status_code
            if status < 500:
                hint = f"; its API key comes from the variable {API_KEY}" if status in (401, 403) else ""
                raise UserError(f"{address} refuses the connection (HTTP {status}){hint}") from error
            reason = f"HTTP {status}"
        except exceptions.InvalidMessage as error:
            if not isinstance(error.__cause__, EOFError):  # as of a server that is being restarted
                raise UserError(
                    f"{address} is no websocket server ({error}): check address and port"
                ) from error
            reason = str(error)
        except (exceptions.WebSocketException, OSError) as error:
            reason = str(error) or type(error).__name__
        if monotonic() + pause > deadline:
            raise StopRun(
                f"no policy server at {address} ({reason}): start it or check the address; a run that was under way "
                "goes on with --resume"
            )
        if not told and pause >= 1:
            _log.warning("waiting for the policy server at %s (%s)", address, reason)
            told = True
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def check_address(text: str) -> None:
    """Refuse an address that is malformed or holds a secret.

    Raises:
        UserError: it has no host, no valid port, or a user's name or password, which a manifest would publish.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if not parts.hostname or port == -1 or parts.fragment:
        raise UserError(f"{text!r} is no address of a policy server: write ws://HOST:PORT or wss://HOST:PORT")
    if parts.username is not None:
        raise UserError(
            f"the address of the policy server names a user: records would publish it; put a key into {API_KEY}"
        )


def _websockets() -> Any:
    try:
        import websockets.exceptions
        import websockets.sync.client
    except ImportError:
        raise UserError(
            f"policies on a server need the package websockets: run {install('headless-eval[remote]')}"
        ) from None
    return websockets


def _is_here(address: str) -> bool:
    """Return whether an address is of this machine, which no proxy reaches."""
    host = urlsplit(address).hostname or ""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _probe(stream: socket.socket) -> None:
    """Let the system notice when the server's machine is gone."""
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _PROBES.items():
            if hasattr(socket, name):
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
