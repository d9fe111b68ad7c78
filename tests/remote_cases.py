"""Servers of openpi's websocket protocol for tests, in threads of this process."""

import asyncio
import socket
import threading
from contextlib import contextmanager
from queue import Queue

import pytest

from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.remote.wire import pack, unpack

pytest.importorskip("websockets", reason="the extra remote is not installed")


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def serving(policy: LocalPolicy):
    """Serve a policy as ``headless-eval serve`` does; give the server and its address."""
    from headless_eval.runs.serve import PolicyServer

    server, told = PolicyServer(policy), Queue()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def run():
        try:
            loop.run_until_complete(server.run("127.0.0.1", 0, told.put, stop))
        except BaseException as error:
            told.put(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        port = told.get(timeout=10)
        assert isinstance(port, int), port
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def answering(answer, metadata=None, port=0):
    """Serve a function from a request to a reply, as other servers would; give the address.

    A reply may be bytes, a text (an error), a dict, or None, which breaks the connection without a word.
    """
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import serve

    def talk(connection):
        try:
            connection.send(pack({"server": "a test's"} | (metadata or {})))
            for message in connection:
                reply = answer(unpack(message))
                if reply is None:
                    connection.socket.close()
                    return
                connection.send(reply if isinstance(reply, bytes | str) else pack(reply))
        except ConnectionClosed:
            pass

    with serve(talk, "127.0.0.1", port, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()
