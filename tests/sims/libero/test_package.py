"""Import of LIBERO's package and choice of its assets, without LIBERO."""

import pytest

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.sims.libero import package


def test_without_the_package_the_error_names_the_extra_and_the_script(monkeypatch, capsys):
    monkeypatch.setattr(package.importlib.util, "find_spec", lambda name: None)
    assert main(["run", "--suite", "libero_spatial", "--policy", "zero", "--dtypes", "float32"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "headless-eval[libero]" in error
    assert ".venv-libero/bin/headless-eval" in error


def test_assets_are_the_users_choice_or_the_packages_own(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "_DOWNLOADED", tmp_path / "downloaded")
    with pytest.raises(UserError, match="LIBERO_ASSETS"):
        package.find_assets(tmp_path, None)
    with pytest.raises(UserError, match="stable_scanned_objects"):
        package.find_assets(tmp_path, tmp_path)
    own, chosen = tmp_path / "assets", tmp_path / "chosen"
    for folder in (own, chosen):
        (folder / "stable_scanned_objects").mkdir(parents=True)
    assert package.find_assets(tmp_path, None) == own
    assert package.find_assets(tmp_path, chosen) == chosen
    with pytest.raises(UserError):  # what was chosen is not replaced in silence
        package.find_assets(tmp_path, tmp_path / "mistyped")


def test_the_hash_of_assets_covers_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mesh").write_bytes(b"1")
    first = package.fingerprint(tmp_path)
    (tmp_path / "a" / "mesh").write_bytes(b"2")
    second = package.fingerprint(tmp_path)
    (tmp_path / "a" / "mesh").rename(tmp_path / "a" / "other")
    assert len({first, second, package.fingerprint(tmp_path)}) == 3
