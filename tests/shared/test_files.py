"""Files are written whole or not at all."""

import os
import re
from pathlib import Path

import pytest

from headless_eval.errors import UserError
from headless_eval.shared.files import (
    Folder,
    is_inside,
    is_name,
    new_folder,
    replaced,
    replacing,
    try_folder,
)


def test_replacing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as file:
            file.write("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    with replacing(path) as file:
        file.write("new\n")
        assert path.read_text() == "old"
    assert path.read_text() == "new\n"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8_with_line_ends_as_written_and_bytes_stay(tmp_path: Path) -> None:
    with replacing(tmp_path / "text") as file:
        file.write("π\r\n")
    assert (tmp_path / "text").read_bytes() == "π\r\n".encode()
    with replacing(tmp_path / "bytes", "wb") as file:
        file.write(b"\0\xff")
    assert (tmp_path / "bytes").read_bytes() == b"\0\xff"


def test_the_check_of_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    try_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    try_folder(tmp_path / "there" / "new")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        try_folder(tmp_path / "file" / "folder")


def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(precious / "file")
    (tmp_path / "run" / "inner").symlink_to(precious)
    with Folder(tmp_path / "run") as folder:
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_TRUNC | os.O_CREAT):
            with pytest.raises(OSError, match="it is a link"):
                folder.open("link", flags)
        for make in (False, True):
            with pytest.raises(OSError, match="it is a link"):
                folder.folder("inner", make=make)
        assert list(folder.files()) == []
        assert not folder.holds("link")
        with folder.replacing("link") as file:
            file.write("new")
        assert folder.holds("link")
    assert (tmp_path / "run" / "link").read_text() == "new"
    assert (precious / "file").read_text() == "precious"


def test_what_is_no_file_is_not_opened_and_a_second_name_not_changed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("a")
    (tmp_path / "second").hardlink_to(tmp_path / "file")
    with Folder(tmp_path) as folder:
        with pytest.raises(OSError, match="no regular file"):
            folder.open("pipe")
        with pytest.raises(OSError, match="second name"):
            folder.open("second", os.O_WRONLY | os.O_APPEND)
        with folder.reader("second") as file:
            assert file.read() == b"a"
        for name in ("", ".", "..", "a/b", "/etc/passwd", "../a", "a\0b", "\ud800"):
            with pytest.raises(OSError, match="no name of a file"):
                folder.open(name)


def test_files_that_are_not_whole_have_names_that_nobody_can_guess(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "file") as file:
            (name,) = (path.name for path in tmp_path.iterdir() if path.name.startswith("."))
            names.add(name)
            file.write("new")
    with replaced(tmp_path / "file") as path:
        names.add(path.name)
        assert path.read_bytes() == b""
    assert len(names) == 4
    assert all(re.fullmatch(r"\.file\.[0-9a-f]{16}\.tmp", name) for name in names)


def test_a_folder_stays_the_same_wherever_its_path_leads(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    folder = Folder(tmp_path / "a")
    assert folder.is_at_its_path
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").mkdir()
    assert not folder.is_at_its_path
    with folder.replacing("file") as file:
        file.write("text")
    assert (tmp_path / "b" / "file").read_text() == "text"
    folder.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.open("file")


def test_handles_are_closed_with_their_folders(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        Folder(tmp_path)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_paths_stay_in_their_folder() -> None:
    assert is_inside("videos/float32/scene_1_ep000_success.mp4")
    for path in ("/etc/passwd", "../a.mp4", "videos/../../a.mp4", "", "..\\a.mp4", "//host/a.mp4", "a\0b"):
        assert not is_inside(path)
    assert is_name("scene_1.mp4")
    assert not any(map(is_name, ("a/b", "a/", "..", ".", "", "a\0b", "/a")))


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / f".new.{16 * '0'}.partial").mkdir()  # of a process that was killed

    def fail() -> None:
        with new_folder(tmp_path / "new") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "new") as folder:
        (folder / "file").write_text("whole")
    assert (tmp_path / "new" / "file").read_text() == "whole"
    with pytest.raises(UserError, match="is there already"), new_folder(tmp_path / "new"):
        pass
