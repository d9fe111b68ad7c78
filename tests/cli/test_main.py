"""The command line: what it says, how it ends, and that a mistake costs one line and nothing else."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest
from droid_suite import SHORT_STEPS
from process_cases import SIGNALS

from headless_eval.cli import main as main_module
from headless_eval.cli.commands import COMMANDS
from headless_eval.cli.main import main
from headless_eval.config.simulation import parts
from headless_eval.policies.baselines import BASELINES, ZeroPolicy
from headless_eval.results import RunDirectory
from headless_eval.shared.flags import with_parts
from headless_eval.shared.program import program
from headless_eval.sims import gl
from headless_eval.sims.droid.mujoco import simulator as mujoco_sim
from headless_eval.sims.registry import SUITES


@pytest.fixture
def run(tmp_path, short_episodes):
    """Run ``headless-eval run`` with the policy that holds still; return its exit status and folder."""

    def run(*flags, folder="run"):
        results = tmp_path / folder
        flags = ["--policy", "zero", "--dtypes", "float32", "--results", str(results), *flags]
        return main(["run", *flags]), results

    return run


def journal(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


# Mistakes: the flags, and a word that the one line must have.
MISTAKES = {
    "unknown command": (["rum"], "did you mean run"),
    "unknown flag": (["run", "--episods", "3"], "--episodes"),
    "missing value": (["run", "--episodes"], "--episodes needs a value"),
    "missing words": (["convert"], "missing: SRC (checkpoint of openpi"),
    "empty policy": (["run", "--policy", ""], "--policy is empty"),
    "empty folder": (["run", "--results="], "--results is empty"),
    "commas": (["run", "--dtypes", "float32,int8"], "--dtypes float32,int8: separate them by spaces"),
    "episodes without end": (["run", "--episodes", "99999999999999999999"], "100000 or less"),
    "nothing in scope": (["run", "--dtypes", "int8", "--include", "zzz"], "names begin with vision, "),
    "no place for results": (["run", "--policy", "none", "--results", "/proc/none/run"], "cannot write to /proc/none"),
    "no number": (["run", "--episodes", "many"], "--episodes is 'many'; it must be a whole number"),
    "no whole number": (["run", "--seed", "2.5"], "--seed is '2.5'; it must be a whole number"),
    "no fraction": (["run", "--sequential", "x"], "--sequential is 'x'; it must be a number"),
    "no index": (["run", "--gpu", "first"], "--gpu is 'first'; it must be a whole number"),
    "stray word": (["run", "3"], "3"),
    "unknown choice": (["run", "--videos", "some"], "--videos is 'some'; it must be all, failures or none"),
    "unknown format": (["export", "--format", "xlsx"], "--format is 'xlsx'; it must be csv or parquet"),
    "unknown suite": (["run", "--suite", "droit"], "did you mean droid"),
    "unknown simulator": (["run", "--sim", "mujocu"], "did you mean mujoco"),
    "unknown task number": (["run", "--tasks", "1", "9"], "scene_3"),
    "unknown task": (["run", "--scenes", "scene_l"], "did you mean"),
    "task twice": (["run", "--tasks", "1", "scene_1"], "twice"),
    "no perturbation": (["run", "--perturb"], "--perturb needs a value"),
    "no level": (["run", "--perturb", "light"], "write AXIS=LEVEL, such as light=2"),
    "unknown level": (["run", "--perturb", "light=9"], "give a level from 0 to 5"),
    "unknown axis": (["run", "--perturb", "lihgt=1"], "did you mean light"),
    "unknown level of a sweep": (["run", "--sweep", "camera", "light=1,9"], "light=9: give a level from 0 to 5"),
    "perturbation and sweep": (["run", "--perturb", "light=2", "--sweep", "light"], "give one of them"),
    "unknown difficulty": (["run", "--suite", "droid_precise", "--tasks", "insert_3mm"], "insert_2mm"),
    "unknown dtype": (["run", "--dtypes", "float8"], "float8_e4m3"),
    "unknown mode": (["run", "--dtypes", "int8", "--modes", "weights"], "weights_only"),
    "no dtype": (["run", "--dtypes"], "dtype"),
    "bad expression": (["run", "--include", "("], "regular expression"),
    "unknown policy": (["run", "--policy", "pi0-droid-tinny"], "policy"),
    "no such checkpoint": (["run", "--checkpoint", "/no/such", "--config", "pi0_droid"], "/no/such"),
    "unknown config": (["run", "--checkpoint", ".", "--config", "pi0_droit"], "did you mean pi0_droid"),
    "no episodes": (["run", "--episodes", "0"], "1 or more"),
    "negative episodes": (["run", "--episodes", "-3"], "-3"),
    "no slots": (["run", "--slots", "0"], "--slots"),
    "negative seed": (["run", "--seed", "-1"], "--seed"),
    "no horizon": (["run", "--open-loop-horizon", "0"], "--open-loop-horizon"),
    "horizon beyond the chunk": (["run", "--policy", "zero", "--dtypes", "float32", "--open-loop-horizon", "9"], "8"),
    "no flow steps": (["run", "--flow-steps", "0"], "--flow-steps"),
    "no frames": (["run", "--video-fps", "0"], "--video-fps"),
    "no number of frames": (["run", "--video-fps", "nan"], "--video-fps"),
    "negative gpu": (["run", "--gpu", "-1"], "--gpu"),
    "no such gpu": (["run", "--gpu", "99"], "cuda:99"),
    "no model to quantize": (["run", "--policy", "zero", "--dtypes", "int8"], "float32 only"),
    "results below a file": (
        ["run", "--policy", "zero", "--dtypes", "float32", "--results", "/dev/null/run"],
        "/dev/null",
    ),
    "policy and checkpoint": (["run", "--policy", "zero", "--checkpoint", "/a"], "both given"),
    "nothing to go on with": (["run", "--resume", "--slots", "2"], "--resume needs a value"),
    "nothing to check": (["doctor", "--policy", "zero"], "no checkpoint"),
    "nothing to round": (["sensitivity", "--policy", "zero"], "no model"),
    "engine that is not for here": (["profile", "--engine", "fused", "--repeats", "2"], "CUDA"),
    "report of nothing": (["report", "/no/such"], "/no/such"),
    "report without a folder": (["report"], "missing: DIR|[NAME=]FILE ... (folder of the run"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_2(mistake, tmp_path, monkeypatch, capsys):
    arguments, word = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("headless-eval: error: ")
    assert word in said
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_with_a_manifest_of_its_own_is_not_taken_for_a_run(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("{}")
    assert main(["doctor", "--checkpoint", str(tmp_path)]) == 2
    assert "has no configuration" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_wrong_flag_is_one_plain_sentence_on_any_terminal(encoding):
    command = [sys.executable, "-m", "headless_eval", "run", "--episode", "3"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stderr
    assert said == (
        "headless-eval: error: unrecognized options: --episode, 3; perhaps you meant --episode-timeout or --episodes; "
        "see headless-eval run --help\n"
    )


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_a_run_is_left_alone(run, capsys):
    status, folder = run("--tasks", "1", "--episodes", "1")
    assert status == 0
    before = contents(folder)
    capsys.readouterr()
    assert run("--tasks", "2", "--episodes", "1")[0] == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "already holds a run" in said
    assert contents(folder) == before


def test_without_gl_one_line_names_the_package(run, monkeypatch, capsys):
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    status, folder = run()
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1
    assert "libegl1" in said
    assert not folder.exists()


def cut_weights(folder):
    path = sorted(folder.glob("*.safetensors"))[-1]
    path.write_bytes(path.read_bytes()[:-1000])


def widen(folder):
    path = folder / "config.toml"
    path.write_text(path.read_text().replace("mlp_dim = 480", "mlp_dim = 512"))


DAMAGES = {
    "truncated weights": (cut_weights, "truncated"),
    "weights that do not fit": (widen, "not (512, 192)"),
    "no weights": (
        lambda folder: [path.unlink() for path in folder.glob("*.safetensors")],
        "model.safetensors",
    ),
    "no statistics": (
        lambda folder: (folder / "assets" / "droid" / "norm_stats.json").unlink(),
        "norm_stats",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.model").unlink(), "tokenizer"),
    "no configuration": (lambda folder: (folder / "config.toml").unlink(), "--config"),
    "no TOML": (lambda folder: (folder / "config.toml").write_text("model = {"), "config.toml"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_policy_is_one_line_and_exit_2(damage, untrained_policy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path / "nothing"))
    folder = tmp_path / "policy"
    shutil.copytree(untrained_policy, folder)
    change, word = DAMAGES[damage]
    change(folder)
    assert main(["run", "--policy", str(folder), "--results", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said
    assert not (tmp_path / "run").exists()


def test_a_run_leaves_all_its_files_and_says_where(run, capsys):
    status, folder = run("--tasks", "2", "scene_1", "--episodes", "2", "--videos", "all")
    assert status == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(folder)
    assert "warmed up in" in out
    assert "render" in out

    records = journal(folder)
    assert [record["status"] for record in records] == ["failure"] * 4
    assert {record["max_steps"] for record in records} == {SHORT_STEPS}
    assert all((folder / record["video"]).is_file() for record in records)
    assert sorted(path.name for path in folder.glob("*.png")) == [
        f"success_rate_{mode}.png" for mode in ("activations_only", "both", "overall", "weights_only")
    ]
    with open(folder / "droid_results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task_id"], row["episode_idx"]) for row in rows] == [
        ("2", "0"),
        ("2", "1"),
        ("1", "0"),
        ("1", "1"),
    ]

    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["exit_status"], manifest["seed"]) == ("finished", 0, 7)
    time_spent = manifest["time"]
    parts = [
        time_spent[f"{name}_s"] for name in ("sim", "render", "infer", "precision", "divergence", "rest")
    ]
    assert sum(parts) == pytest.approx(time_spent["total_s"])
    assert sum(record["total_s"] for record in records) <= time_spent["total_s"]


def test_results_have_a_dated_folder_by_default(short_episodes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--policy", "zero", "--dtypes", "float32", "--tasks", "1", "--episodes", "1", "--videos", "none"]
    assert main(["run", *flags]) == 0
    (folder,) = (tmp_path / "results").iterdir()
    assert (folder / "results.json").is_file()
    assert not list(folder.rglob("*.mp4"))


def test_quiet_prints_the_folder_and_nothing_else(run, capsys):
    status, folder = run("--tasks", "1", "--episodes", "1", "--quiet", "--videos", "none")
    assert status == 0
    assert capsys.readouterr().out.splitlines() == [str(folder)]


class BreaksInScene2(ZeroPolicy):
    def infer(self, obs):
        if "mug" in obs["prompt"]:
            raise ValueError("this policy knows no mugs")
        return super().infer(obs)


def test_errors_make_exit_1_and_count_as_no_failure(run, monkeypatch, capsys):
    monkeypatch.setitem(BASELINES, "zero", BreaksInScene2)
    status, folder = run("--episodes", "2", "--videos", "failures")
    assert status == 1
    statuses = {(record["task_id"], record["episode"]): record["status"] for record in journal(folder)}
    assert statuses == {
        (task, episode): "error" if task == 2 else "failure" for task in (1, 2, 3) for episode in (0, 1)
    }
    broken = next(record for record in journal(folder) if record["task_id"] == 2)
    assert broken["error"]["message"] == "this policy knows no mugs"
    assert "Traceback" in broken["error"]["traceback"]
    assert not broken["success"]
    rates = json.loads((folder / "results.json").read_text())["float32"]
    assert rates["scene_1"]["total_episodes"] == 2
    assert rates.get("scene_2", {}).get("total_episodes", 0) == 0
    assert json.loads((folder / "manifest.json").read_text())["exit_status"] == 1
    assert "error" in capsys.readouterr().out


def test_a_policy_that_cannot_act_at_all_stops_the_run(run, monkeypatch, capsys):
    monkeypatch.setitem(BASELINES, "zero", BreaksInScene2)
    status, folder = run("--tasks", "2")
    said = capsys.readouterr().err
    assert status == 2
    assert said.count("\n") == 1
    assert "this policy knows no mugs" in said
    assert not folder.exists()


@pytest.mark.parametrize("keep", ["all", "failures", "none"])
def test_videos_that_are_kept(run, monkeypatch, keep):
    monkeypatch.setattr(mujoco_sim.Slot, "step", succeeds_in_scene_1(mujoco_sim.Slot.step))
    status, folder = run("--tasks", "1", "3", "--episodes", "1", "--videos", keep)
    assert status == 0
    names = {path.name for path in folder.rglob("*.mp4")}
    failure, success = "scene_3_ep000_failure.mp4", "scene_1_ep000_success.mp4"
    assert names == {"all": {failure, success}, "failures": {failure}, "none": set()}[keep]
    assert {record["video"] for record in journal(folder)} - {None} == {
        f"videos/float32/{name}" for name in names
    }


def succeeds_in_scene_1(step):
    def stepped(slot, action):
        step(slot, action)
        return slot.scene_model.scene.id == 1

    return stepped


def test_report_rebuilds_what_was_lost(run, capsys):
    _, folder = run("--tasks", "1", "--episodes", "2", "--videos", "none")
    derived = {path: path.read_bytes() for path in folder.glob("*results*")}
    assert len(derived) == 3
    for path in derived:
        path.unlink()
    capsys.readouterr()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    assert {path: path.read_bytes() for path in folder.glob("*results*")} == derived


def test_journalling_costs_under_a_hundredth_of_the_run(tmp_path, monkeypatch):
    spent = 0.0
    append = RunDirectory.append

    def timed(self, record, actions):
        nonlocal spent
        began = time.perf_counter()
        append(self, record, actions)
        spent += time.perf_counter() - began

    monkeypatch.setattr(RunDirectory, "append", timed)
    folder = tmp_path / "run"
    flags = ["--policy", "zero", "--dtypes", "float32", "--tasks", "1", "--episodes", "2", "--videos", "none"]
    assert main(["run", *flags, "--results", str(folder), "--quiet"]) == 0
    total = json.loads((folder / "manifest.json").read_text())["time"]["total_s"]
    assert 0 < spent < 0.01 * total


def test_json_lines_for_programs(run, capsys):
    status, folder = run("--tasks", "1", "--episodes", "2", "--log-json", "--videos", "none")
    assert status == 0
    start, *episodes, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert start == {"event": "start", "done": 0, "total": 2}
    assert [(one["event"], one["status"], one["done"]) for one in episodes] == [
        ("episode", "failure", 1),
        ("episode", "failure", 2),
    ]
    assert (end["event"], end["status"], end["exit_status"]) == ("end", "finished", 0)
    assert end["results"] == str(folder)


def test_a_folder_that_holds_a_run_is_refused_before_anything_is_loaded(run, monkeypatch, capsys):
    run("--tasks", "1", "--episodes", "1", "--videos", "none")

    def loaded(*arguments, **settings):
        raise AssertionError("loaded")

    monkeypatch.setattr("headless_eval.runs.evaluator.load_policy", loaded)
    assert run("--tasks", "1")[0] == 2
    assert "already holds a run" in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_done(tmp_path):
    folder = tmp_path / "run"
    (tmp_path / "mine.py").write_text(SIGNALS)
    flags = [
        "--policy",
        f"{tmp_path}/mine.py:Interrupts",
        "--dtypes",
        "float32",
        "--tasks",
        "1",
        "--slots",
        "1",
    ]
    flags += ["--max-steps", "16", "--episodes", "4", "--results", str(folder)]
    process = subprocess.run(
        [sys.executable, "-m", "headless_eval", "run", *flags],
        capture_output=True,
        text=True,
        timeout=120,
        # A shell that starts the tests in the background has them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    done = len(journal(folder))
    assert process.returncode == 130
    assert 1 <= done < 4
    assert process.stderr == (
        f"headless-eval: interrupted: {done} of 4 episodes are kept; "
        f"go on with: {program()} run --resume {folder}\n"
    )
    assert process.stdout.splitlines()[-1] == str(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["exit_status"]) == ("interrupted", 130)
    assert json.loads((folder / "results.json").read_text())["float32"]["scene_1"]["total_episodes"] == done
    videos = [path.name for path in (folder / "videos" / "float32").iterdir()]
    assert sorted(videos) == [f"scene_1_ep{episode:03d}_failure.mp4" for episode in range(done)]


def test_an_interrupt_of_the_last_charts_still_says_how_to_go_on(run, monkeypatch, capsys):
    def interrupted(directory):
        raise KeyboardInterrupt

    monkeypatch.setattr("headless_eval.runs.execution.build", interrupted)
    status, folder = run("--tasks", "1", "--episodes", "1", "--videos", "none", "--quiet")
    assert status == 130
    said = capsys.readouterr().err
    assert said == f"headless-eval: interrupted: go on with: {program()} run --resume {folder}\n"


def test_variables_of_new_runs_do_not_concern_one_that_goes_on(run, monkeypatch):
    _, folder = run("--tasks", "1", "--episodes", "1", "--videos", "none", "--quiet")
    monkeypatch.setenv("OPENPI_DUQUANT_ABITS", "8")
    monkeypatch.setenv("OPENPI_DUQUANT_WBIT", "many")
    assert main(["run", "--resume", str(folder), "--quiet"]) == 0


def test_without_a_gpu_training_says_how_to_do_without(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["train", "--results", str(tmp_path / "out"), "--episodes", "1", "--steps", "1"]) == 2
    assert "for the CPU --device cpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_is_there_and_loads_nothing_heavy():
    script = """
import sys
from headless_eval.cli import main as main_module
from headless_eval.cli.commands import COMMANDS
from headless_eval.cli.main import main
from headless_eval.results import RunDirectory
assert main(["--help"]) == 0
for command in COMMANDS:
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert not end.code
heavy = {"torch", "mujoco", "matplotlib", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr
    for word in (
        "headless-eval run",
        "--scenes",
        "(default: 5)",
        "float32 bfloat16 float8_e4m3 boolean",
        "Examples:",
    ):
        assert word in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_explained_in_a_dozen_words(command):
    module, _, name = COMMANDS[command].settings.partition(":")
    settings = getattr(import_module(f"headless_eval.{module}"), name)
    for suite in SUITES if "simulator" in settings.__dataclass_fields__ else ("droid",):
        for setting in with_parts(settings, parts(suite)):
            assert 1 <= len(setting.help().split()) <= 12, setting.option


def test_the_module_runs_like_the_command():
    done = subprocess.run([sys.executable, "-m", "headless_eval", "rum"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("headless-eval: error: unknown command 'rum'")


def test_a_reader_that_has_enough_is_no_fault():
    code = "import sys; from headless_eval.cli.main import main; sys.exit(main(['run', '--help']))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141


def test_the_page_of_a_finished_run_says_so(run):
    status, folder = run("--tasks", "1", "--episodes", "1", "--dtypes", "float32")
    assert status == 0
    page = (folder / "report.html").read_text()
    assert "still running" not in page
    assert "episodes_per_minute" in page


def test_an_output_that_is_full_is_one_line(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list"]) == 1
        print("and nothing is left to write", flush=True)
    said = capsys.readouterr().err
    assert said == "headless-eval: error: the output cannot be written: No space left on device\n"


def test_an_error_output_that_is_full_hides_nothing_but_itself(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert main(["report", "/no/such/run"]) == 2
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_closed_output_is_no_fault(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["list", "--json"]) == 0


@pytest.mark.parametrize("here", [False, True])
def test_names_that_are_no_text_are_one_line(here, tmp_path, monkeypatch, capsys):
    folder = os.fsencode(tmp_path) + b"/a\xff"
    os.mkdir(folder)
    if here:
        monkeypatch.chdir(os.fsdecode(folder))
    assert main(["report", "." if here else os.fsdecode(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert r"a\udcff' is no text in UTF-8" in said


def test_an_error_brings_no_escape_sequences_to_the_terminal(capsys):
    assert main(["report", "x\x1b[2J\x9b1A"]) == 2
    assert r"x\x1b[2J\x9b1A holds no run" in capsys.readouterr().err


def test_too_little_memory_is_one_line(monkeypatch, capsys):
    def load(place):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")

    monkeypatch.setattr(main_module, "_carry_out", lambda name, settings: load(name))
    assert main(["list"]) == 1
    assert capsys.readouterr().err.startswith("headless-eval: error: there is not enough memory")
