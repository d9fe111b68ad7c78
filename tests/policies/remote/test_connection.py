from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import perf_counter

import pytest
from remote_cases import free_port

from headless_eval.cli.main import main
from headless_eval.errors import StopRun, UserError
from headless_eval.policies.remote.connection import API_KEY, check_address, connect

SHORT = ["--tasks", "1", "--episodes", "2", "--videos", "none", "--quiet"]


def test_nobody_there_is_told_in_a_line(capsys):
    began = perf_counter()
    with pytest.raises(StopRun, match=r"no policy server at ws://127.0.0.1:\d+ \(.*refused"):
        connect(f"ws://127.0.0.1:{free_port()}", 0.1)
    assert perf_counter() - began < 2
    for address, message in (
        ("ws://", "no address"),
        ("ws://host:port", "no address"),
        ("ws://user:secret@host", "names a user"),
    ):
        with pytest.raises(UserError, match=message):
            check_address(address)
    assert main(["run", "--policy", "ws://me:secret@127.0.0.1:1", *SHORT]) == 2
    assert "secret" not in capsys.readouterr().err


def test_other_servers_are_told_apart():
    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(HTTPStatus.UNAUTHORIZED if self.headers["Authorization"] else HTTPStatus.OK)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server, pytest.MonkeyPatch.context() as patch:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"ws://127.0.0.1:{server.server_port}"
        with pytest.raises(UserError, match=r"refuses the connection \(HTTP 200\)"):
            connect(address, 1)
        patch.setenv(API_KEY, "secret")
        with pytest.raises(UserError, match=rf"HTTP 401\).*{API_KEY}") as told:
            connect(address, 1)
        assert "secret" not in str(told.value)
        server.shutdown()
        thread.join()
