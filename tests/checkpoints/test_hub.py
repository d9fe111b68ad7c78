"""Fetching from the hub, by huggingface_hub and from a server on this machine that stands in for the hub."""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headless_eval.checkpoints import fetch as fetching
from headless_eval.checkpoints.fetch import fetch
from headless_eval.checkpoints.locate import find_checkpoint, hub_folder, huggingface_cache, is_hub_id
from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.policies.registry import find_policy

constants = pytest.importorskip("huggingface_hub.constants")

NAME, COMMIT = "someone/small_act", "0" * 39 + "1"
FILES = {
    "config.json": b'{"type": "act"}',
    "model.safetensors": bytes(range(256)) * 400,
    "onnx/model.onnx": b"o",
}


class FakeHub(ThreadingHTTPServer):
    """A fake of the hub: one repository, its list of files, and parts of the files.

    Attributes:
        break_at: byte from which on nothing is sent of the weights; None: everything is sent.
        asked: the file and the first byte of each part asked for.
        status: the answer to a request for the list of files.
    """

    def __init__(self) -> None:
        self.break_at: int | None = None
        self.asked: list[tuple[str, int]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self):
        path = self.path.partition("?")[0]
        part = re.fullmatch(rf"/{NAME}/resolve/{COMMIT}/(.+)", path)
        if part is not None:
            self._send_part(part[1])
        elif path.startswith(f"/api/models/{NAME}"):
            self._list()
        else:  # the library asks for other things, too
            self.send_error(404)

    def log_message(self, *_):
        pass

    def _list(self):
        if self.server.status != 200:
            self.send_response(self.server.status)
            self.send_header("X-Error-Code", {401: "RepoNotFound", 403: "GatedRepo"}[self.server.status])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        siblings = [{"rfilename": name, "size": len(content)} for name, content in FILES.items()]
        about = {"id": NAME, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
        content = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_part(self, name):
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        self.server.asked.append((name, first))
        if name == "model.safetensors" and first == self.server.break_at:
            return  # closes the connection without an answer
        content = FILES[name]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : last + 1])


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(fetching, "_BLOCK", 20_000)
    with FakeHub() as fake:
        thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        # What HF_ENDPOINT sets when the library is imported.
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        template = fake.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield fake
        fake.shutdown()
        thread.join()


def test_a_fetched_repository_is_a_checkpoint(server, capsys):
    from huggingface_hub import hf_hub_download

    with pytest.raises(UserError, match=f"headless-eval fetch {NAME}"):
        find_checkpoint(NAME)
    assert main(["fetch", NAME]) == 0
    folder = find_checkpoint(NAME)
    assert str(folder) == capsys.readouterr().out.strip()
    content = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert content == {name: FILES[name] for name in ("config.json", "model.safetensors")}
    found = hf_hub_download(NAME, "config.json", local_files_only=True, cache_dir=huggingface_cache())
    assert found == str(folder / "config.json")
    server.asked.clear()
    assert fetch(NAME) == folder
    assert server.asked == []


def test_a_download_that_broke_off_is_continued(server):
    server.break_at = 60_000
    with pytest.raises(
        UserError, match=r"copying model.safetensors broke off .*the same command continues it"
    ):
        fetch(NAME)
    with pytest.raises(UserError, match="no checkpoint at"):
        find_checkpoint(NAME)
    server.break_at = None
    server.asked.clear()
    folder = fetch(NAME)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert server.asked[0] == ("model.safetensors", 60_000)


@pytest.mark.parametrize(
    ("status", "message"), [(401, "the hub has no someone/small_act"), (403, "accept them")]
)
def test_repositories_that_are_not_open_are_named(status, message, server):
    server.status = status
    with pytest.raises(UserError, match=message):
        fetch(NAME)


def test_a_cache_whose_reference_is_no_name(server):
    assert main(["fetch", NAME]) == 0
    main_file = hub_folder(NAME) / "refs" / "main"
    assert find_checkpoint(NAME).parent.name == "snapshots"
    main_file.write_text("../../..")
    assert find_checkpoint(NAME).parent.name == "snapshots"


def test_a_hub_whose_commit_is_no_name(server, monkeypatch):
    monkeypatch.setattr(f"{__name__}.COMMIT", "../../elsewhere")
    with pytest.raises(
        UserError, match=r"the hub gives '\.\./\.\./elsewhere' as its newest commit, which is not a"
    ):
        fetch(NAME)


def test_a_hub_that_cannot_be_reached(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=f"cannot list {NAME} of"):
        fetch(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        fetch(NAME)


def test_without_its_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"headless-eval\[fetch\]"):
        fetch(NAME)


def test_hub_ids_are_told_from_addresses_and_folders():
    assert is_hub_id("lerobot/pi05_base")
    assert not any(map(is_hub_id, ("gs://a/b", "pi05_base", "./a/b", "/a/b", "a/b/c", "~/a")))
    with pytest.raises(UserError, match=r"if it is a hub id, write --checkpoint lerobot/smolvla_base"):
        find_policy("lerobot/smolvla_base")
