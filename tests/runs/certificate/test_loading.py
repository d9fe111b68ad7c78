"""A certificate chooses neither code nor files; what is not the package's own, the user names."""

import sys

import pytest

from headless_eval.cli.main import main

CODE = "import pathlib\npathlib.Path({trace!r}).touch()\n\ndef quantize(model):\n    pass\n\nSUITE = POLICY = 0\n"


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Importable code that leaves a trace when it is run."""
    trace = tmp_path / "trace"
    (tmp_path / "trap.py").write_text(CODE.format(trace=str(trace)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield trace
    sys.modules.pop("trap", None)


def with_method(text):
    def change(table):
        table["variants"][0] |= {"dtype": text, "name": "trap"}
        for episode in table["episodes"]:
            episode[0] = "trap"

    return change


@pytest.mark.parametrize(
    "text", ["trap:POLICY", "./trap.py:POLICY", "ws://127.0.0.1:1", "hf/policy", "/etc", None]
)
def test_no_policy_of_its_choice(trap, forge, capsys, text):
    assert main(["verify", str(forge(named_policy=text))]) == 2
    said = capsys.readouterr().err
    assert "name it with --policy or --checkpoint, and its hash is checked" in said
    assert not trap.exists()


@pytest.mark.parametrize("text", ["trap:SUITE", "./trap.py:SUITE", "./"])
def test_no_suite_of_its_choice(trap, forge, capsys, text):
    assert main(["verify", str(forge(suite=text))]) == 2
    assert "name the suite with --suite" in capsys.readouterr().err
    assert not trap.exists()


@pytest.mark.parametrize("text", ["trap:quantize", "./trap.py:quantize", "torchao:Int8WeightOnlyConfig()"])
def test_no_method_of_its_choice(trap, forge, capsys, text):
    assert main(["verify", str(forge(with_method(text)))]) == 2
    assert "name it with --method" in capsys.readouterr().err
    assert not trap.exists()


def test_no_arguments_of_its_choice_for_code_of_the_users(trap, forge, capsys):
    path = forge(lambda table: table["settings"].update(policy_args=["file='/etc/passwd'"]))
    assert main(["verify", str(path), "--policy", "trap:POLICY"]) == 2
    assert "give the same with --policy-args" in capsys.readouterr().err
    assert not trap.exists()


def test_the_suite_of_a_flag_has_to_be_the_certificates(sent, capsys):
    assert main(["verify", str(sent), "--suite", "pusht"]) == 2
    assert "--suite pusht is not the certificate's suite, droid" in capsys.readouterr().err


def test_variants_have_to_be_those_of_the_settings(forge, capsys):
    path = forge(lambda table: table["variants"][0].update(scope="nothing"))
    assert main(["verify", str(path)]) == 2
    assert "the certificate contradicts itself" in capsys.readouterr().err


def test_a_policy_of_the_users_own_is_checked_by_its_code(tmp_path, short_episodes, capsys):
    from droid_suite import SHORT_RUN

    code = tmp_path / "mine" / "own.py"
    code.parent.mkdir()
    code.write_text(
        "import numpy as np\n\n\nclass Own:\n    def __init__(self, scale=1.0):\n        self.scale = scale\n\n"
        "    def infer(self, obs):\n"
        '        state = np.append(obs["observation/joint_position"], 0.0)\n'
        '        return {"actions": np.tile(state * self.scale, (8, 1))}\n'
    )
    run, path = tmp_path / "run", tmp_path / "own.json"
    words = [*SHORT_RUN[2:], "--policy-args", "scale=0.5", "--results", str(run), "--quiet"]
    assert main(["run", "--policy", f"{code}:Own", *words]) == 0
    assert main(["certify", str(run), "--out", str(path)]) == 0
    assert str(tmp_path) not in path.read_text()
    elsewhere = tmp_path / "elsewhere" / "own.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(code.read_text())
    named = ["--policy", f"{elsewhere}:Own", "--policy-args", "scale=0.5"]
    capsys.readouterr()
    assert main(["verify", str(path), *named, "--sample", "2"]) == 0
    said = capsys.readouterr().out
    assert "holds          policy's code: the same (own.py sha256" in said
    assert "actions: 2 of 2 bit for bit" in said
    elsewhere.write_text(code.read_text() + "\n")
    assert main(["verify", str(path), *named, "--sample", "2"]) == 1
    assert "DOES NOT HOLD  policy's code: another (own.py sha256" in capsys.readouterr().out
