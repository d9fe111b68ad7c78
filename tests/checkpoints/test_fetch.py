"""Fetching, from fsspec's memory filesystem: what is copied, what is kept, what is continued."""

import sys

import fsspec
import pytest

from headless_eval.checkpoints import fetch as fetching
from headless_eval.checkpoints.fetch import fetch
from headless_eval.cli.main import main
from headless_eval.errors import UserError

ADDRESS = "memory://bucket/checkpoints/mine"
FILES = {
    "params/d/large": bytes(range(256)) * 40,
    "params/manifest.ocdbt": b"m",
    "assets/droid/norm_stats.json": b"{}",
}


@pytest.fixture(autouse=True)
def remote(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "_BLOCK", 1000)
    filesystem = fsspec.filesystem("memory")
    for name, content in FILES.items():
        filesystem.pipe(f"/bucket/checkpoints/mine/{name}", content)
    yield filesystem
    filesystem.rm("/bucket", recursive=True)


@pytest.fixture
def reads(monkeypatch, remote):
    seen = []
    cat_file = type(remote).cat_file

    def count(self, path, start=None, end=None, **settings):
        seen.append((path.rsplit("/", 1)[-1], start, end))
        return cat_file(self, path, start=start, end=end, **settings)

    monkeypatch.setattr(type(remote), "cat_file", count)
    return seen


def _content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_copied_into_openpis_layout(tmp_path):
    where = fetch(ADDRESS)
    assert where == tmp_path / "cache" / "bucket" / "checkpoints" / "mine"
    assert _content(where) == FILES


def test_what_is_there_is_kept(reads):
    fetch(ADDRESS)
    assert reads
    reads.clear()
    fetch(ADDRESS)
    assert reads == []


def test_a_copy_that_broke_off_is_continued(monkeypatch, remote, reads, tmp_path):
    cat_file = type(remote).cat_file

    def break_off(self, path, start=None, end=None, **settings):
        if start == 3000:
            raise OSError("connection lost")
        return cat_file(self, path, start=start, end=end, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(type(remote), "cat_file", break_off)
        with pytest.raises(UserError, match=r"connection lost.*the same command continues it"):
            fetch(ADDRESS)
    folder = tmp_path / "cache" / "bucket" / "checkpoints" / "mine"
    assert (folder / "params" / "d" / "large.partial").stat().st_size == 3000
    assert not (folder / "params" / "d" / "large").exists()
    reads.clear()
    assert _content(fetch(ADDRESS)) == FILES
    assert reads[0] == ("large", 3000, 4000)
    assert {name for name, _, _ in reads} == {"large"}


def test_files_of_another_length_are_copied_anew(tmp_path):
    where = fetch(ADDRESS)
    (where / "params" / "d" / "large").write_bytes(b"short")
    assert _content(fetch(ADDRESS)) == FILES


def test_a_single_file(tmp_path):
    where = fetch(f"{ADDRESS}/params/manifest.ocdbt")
    assert where.read_bytes() == b"m"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("checkpoints", "is no address"),
        ("gs://", "is no address"),
        ("memory://bucket/other", "nothing at"),
        ("nonsense://bucket/other", "cannot read from"),
    ],
)
def test_addresses_without_anything(address, message):
    with pytest.raises(UserError, match=message) as caught:
        fetch(address)
    assert "\n" not in str(caught.value)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"gcsfs.*pip install 'headless-eval\[fetch\]'"):
        fetch("gs://bucket/other")


def test_from_a_local_folder(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_bytes(b"abc")
    assert (fetch(f"file://{tmp_path}/source") / "a").read_bytes() == b"abc"


def test_command(capsys, tmp_path):
    assert main(["fetch", ADDRESS]) == 0
    assert str(tmp_path / "cache" / "bucket") in capsys.readouterr().out.replace("\n", "")
    assert main(["fetch", "nowhere"]) == 2
