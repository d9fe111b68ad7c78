"""Files are written whole or not at all."""

from pathlib import Path

import pytest

from headless_eval.shared.files import replacing, try_folder


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
