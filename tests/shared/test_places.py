"""Objects that a user names by module or file."""

import hashlib
import sys
from pathlib import Path

import pytest

from headless_eval.errors import UserError
from headless_eval.shared import places


@pytest.fixture(autouse=True)
def _import_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    "text", ["module:thing", "package.module:thing", "./file.py:thing", "/a b/file.py:thing.inner", "_m1:A_2"]
)
def test_places(text):
    assert places.is_place(text)


@pytest.mark.parametrize(
    "text",
    [
        "droid",
        "./folder",
        "./file.py",
        "ws://host:8000",
        "wss://a.b/c:d",
        "module:",
        ":thing",
        "m:1",
        "a/b:c",
    ],
)
def test_other_texts_are_no_places(text):
    assert not places.is_place(text)


def test_a_file_is_imported_once_and_again_when_it_has_changed(tmp_path):
    file = tmp_path / "my-own.py"
    file.write_text("class Thing:\n    size = 1\n")
    place = f"{file}:Thing"
    first = places.load(place, "suite")
    assert places.load(place, "suite") is first
    assert places.load(f"{file}:Thing.size", "suite") == 1
    assert places.describe(places.find(place, "suite")) == {
        "origin": {"place": "my-own.py:Thing", "distribution": None, "version": None},
        "file": str(file),
        "code": {"my-own.py": hashlib.sha256(file.read_bytes()).hexdigest()},
    }
    file.write_text("class Thing:\n    size = 2\n")
    assert places.load(place, "suite").size == 2


def test_a_file_imports_what_lies_beside_it(tmp_path):
    (tmp_path / "beside_the_file.py").write_text("SIZE = 5\n")
    file = tmp_path / "main.py"
    file.write_text("def size():\n    import beside_the_file\n    return beside_the_file.SIZE\n")
    assert places.load(f"{file}:size", "suite")() == 5


def test_modules_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "module_of_the_current_folder.py").write_text("THING = 3\n")
    monkeypatch.chdir(tmp_path)
    place = "module_of_the_current_folder:THING"
    assert places.load(place, "policy") == 3
    origin = places.origin_of_module("module_of_the_current_folder")
    assert origin["sha256"] == hashlib.sha256(b"THING = 3\n").hexdigest()
    assert origin["module"] == "module_of_the_current_folder"
    assert "distribution" not in origin


def test_the_origin_of_an_installed_package():
    import rich.console

    found = places.describe(places.find("rich.console:Console", "policy"))
    assert found["origin"]["distribution"] == "rich"
    assert found["origin"]["version"]
    assert found["code"] == {"rich": places.sha256_of(Path(rich.__path__[0]))}


@pytest.mark.parametrize(
    ("content", "attribute", "message"),
    [
        ("THING = 1\n", "THNG", "did you mean THING"),
        ("import no_such_module_at_all\n", "THING", "no_such_module_at_all"),
        ("\nTHING = 1 / 0\n", "THING", r"ZeroDivisionError: division by zero, bad.py line 2"),
        ("THING = = 1\n", "THING", r"SyntaxError: invalid syntax \(bad.py, line 1\)"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_line(tmp_path, content, attribute, message):
    file = tmp_path / "bad.py"
    file.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        places.load(f"{file}:{attribute}", "suite")
    assert "suite" in str(caught.value)


def test_what_does_not_exist():
    with pytest.raises(UserError, match="there is no module no_such_module_at_all"):
        places.load("no_such_module_at_all:THING", "policy")
    with pytest.raises(UserError, match=r"there is no file /no/such/file\.py"):
        places.load("/no/such/file.py:THING", "policy")
    with pytest.raises(UserError, match="write module:attribute"):
        places.load("droid", "suite")


def test_a_file_is_compiled_from_its_present_content(tmp_path):
    file = tmp_path / "quickly.py"
    for number in (1, 2):  # of the same length, within the same second
        file.write_text(f"THING = {number}\n")
        assert places.load(f"{file}:THING", "policy") == number


def test_the_code_of_a_file_and_of_what_it_imports_beside_it(tmp_path):
    (tmp_path / "helper_of_the_policy.py").write_text("FACTOR = 2\n")
    (tmp_path / "unused.py").write_text("")
    file = tmp_path / "random.py"  # the name of a module of Python's own
    file.write_text("import random\n\nimport numpy\nfrom helper_of_the_policy import FACTOR\n")
    text = f"{file}:FACTOR"
    assert places.load(text, "policy") == 2
    first = places.code_of(places.find(text, "policy"))
    assert first.keys() == {"random.py", "helper_of_the_policy.py"}
    file.write_text(file.read_text() + "# changed\n")
    places.load(text, "policy")
    second = places.code_of(places.find(text, "policy"))
    assert [name for name in first if first[name] != second[name]] == ["random.py"]


def test_the_code_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "package_of_the_policy"
    package.mkdir()
    for name in ("__init__", "inner"):
        (package / f"{name}.py").write_text("THING = 1\n")
    monkeypatch.chdir(tmp_path)
    text = "package_of_the_policy.inner:THING"
    places.load(text, "policy")
    first = places.code_of(places.find(text, "policy"))
    assert first == {"package_of_the_policy": places.sha256_of(package)}
    (package / "other.py").write_text("")
    assert places.code_of(places.find(text, "policy")) != first
