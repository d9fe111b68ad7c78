"""What of the LIBERO suites needs neither LIBERO nor its assets."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from headless_eval.cli.main import main
from headless_eval.errors import UserError
from headless_eval.sims.libero import package
from headless_eval.sims.libero.initial_states import read_initial_states
from headless_eval.sims.libero.tasks import TASKS
from headless_eval.sims.registry import SUITES, find_tasks


def test_the_suites_have_openpis_tasks_and_limits():
    sizes = {suite: (len(tasks), tasks[0].max_steps) for suite, tasks in TASKS.items()}
    assert sizes == {
        "libero_spatial": (10, 220),
        "libero_object": (10, 280),
        "libero_goal": (10, 300),
        "libero_10": (10, 520),
        "libero_90": (90, 400),
    }
    for name, tasks in TASKS.items():
        assert SUITES[name].load_tasks() == tasks
        assert SUITES[name].robot == "libero"
        assert [task.id for task in tasks] == list(range(len(tasks)))
        assert len({task.name for task in tasks}) == len(tasks)


def test_tasks_are_found_by_number_key_and_liberos_name():
    tasks = TASKS["libero_10"]
    name = "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"
    assert tasks[2].instruction == "turn on the stove and put the moka pot on it"
    assert (
        find_tasks(tasks, ["2"]) == find_tasks(tasks, ["task_2"]) == find_tasks(tasks, [name]) == (tasks[2],)
    )
    with pytest.raises(UserError, match="task_9"):
        find_tasks(tasks, ["10"])


@pytest.fixture(params=["numpy._core.multiarray", "numpy.core.multiarray"])
def states(request, tmp_path):
    """A file of initial states as LIBERO ships them, written by NumPy 2 or 1."""
    path = tmp_path / "task.pruned_init"
    content = pickle.dumps(np.arange(12.0).reshape(3, 4), protocol=2)
    assert b"numpy._core.multiarray" in content
    _write(path, content.replace(b"numpy._core.multiarray", request.param.encode()))
    return path


def _write(path, content):
    """Write what ``torch.save`` makes of an object without tensors."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")


def test_initial_states_are_read_by_an_allow_list(states):
    before = set(torch.serialization.get_safe_globals())
    np.testing.assert_array_equal(read_initial_states(states), np.arange(12.0).reshape(3, 4))
    assert set(torch.serialization.get_safe_globals()) == before


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


class _System(_Malicious):
    def __reduce__(self):
        import os

        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("kind", [_Malicious, _System])
def test_a_malicious_file_of_initial_states_executes_nothing(tmp_path, kind):
    path, trace = tmp_path / "task.pruned_init", tmp_path / "executed"
    content = pickle.dumps([kind(trace)], protocol=2)
    pickle.loads(content)
    assert trace.exists()  # it would
    trace.unlink()
    for write in (lambda: _write(path, content), lambda: path.write_bytes(content)):
        write()
        with pytest.raises(UserError, match="without running code") as caught:
            read_initial_states(path)
        assert "\n" not in str(caught.value)
        assert not trace.exists()


@pytest.mark.parametrize(
    "content", [np.zeros(3), np.full((2, 3), np.nan), np.array([["a"]]), {"a": 1.0}], ids=str
)
def test_what_are_no_initial_states_is_refused(tmp_path, content):
    path = tmp_path / "task.pruned_init"
    _write(path, pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match=r"task\.pruned_init"):
        read_initial_states(path)


def test_missing_initial_states_are_named(tmp_path):
    with pytest.raises(UserError, match="hf-libero"):
        read_initial_states(tmp_path / "none.pruned_init")


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


def test_a_policy_of_another_robot_is_refused_before_libero_is_looked_for(untrained_policy, capsys):
    assert main(["run", "--suite", "libero_object", "--policy", str(untrained_policy)]) == 2
    error = capsys.readouterr().err
    assert "droid" in error
    assert "pi05_libero" in error
