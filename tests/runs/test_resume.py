"""An interrupted run goes on from its journal, with what it was begun with or not at all."""

import csv
import json
import shutil

import pytest

from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.policies.baselines import BASELINES, ZeroPolicy
from headless_eval.report.exports import COLUMNS
from headless_eval.results import RunDirectory
from headless_eval.results import manifest as manifest_module
from headless_eval.runs.resume import settings_of


@pytest.fixture
def cut(finished, short_episodes, tmp_path):
    """The same, killed after two episodes, in the middle of the third's line."""
    folder = tmp_path / "cut"
    shutil.copytree(finished, folder)
    lines = (finished / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:100])
    edit(folder, status="running", exit_status=None, finished_at=None)
    for name in ("droid_results.csv", "results.json", "report.html"):
        (folder / name).unlink()
    return folder


def edit(folder, section=None, **entries):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    (manifest[section] if section else manifest).update(entries)
    path.write_text(json.dumps(manifest))


def rows(folder):
    with open(folder / "droid_results.csv") as file:
        return [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]


def refused(arguments, capsys, *words):
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for word in words:
        assert word in said


def test_a_cut_run_ends_as_if_it_had_not_been_cut(cut, finished, capsys):
    (cut / "videos").mkdir()
    (cut / "videos" / ".scene_1_ep002.mp4.part").write_text("half")
    assert main(["run", "--resume", str(cut)]) == 0
    out = capsys.readouterr().out
    assert "2 of 6 episodes are there" in out
    assert rows(cut) == rows(finished)
    assert len((cut / "journal.jsonl").read_text().splitlines()) == 6
    assert not list(cut.rglob("*.part"))
    run = RunDirectory.open(cut)
    assert (run.manifest["status"], run.manifest["exit_status"]) == ("finished", 0)
    assert [entry["differences"] for entry in run.manifest["resumed"]] == [[]]
    for record in run.records():
        assert run.actions(record).shape == (record.steps, 8)


def test_slots_may_change(cut, finished):
    assert main(["run", "--resume", str(cut), "--slots", "1", "--quiet"]) == 0
    assert rows(cut) == rows(finished)


def test_a_whole_run_has_nothing_left_and_loads_nothing(
    finished, short_episodes, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr("headless_eval.runs.evaluator.load", None)
        assert main(["run", "--resume", str(folder), "--slots", "1"]) == 0
    assert "all episodes are there: nothing is left to run" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    refused(["run", "--resume", str(folder), "--seed", "8"], capsys, "--seed: 7 then, 8 now")
    (folder / "report.html").unlink()
    assert main(["run", "--resume", str(folder), "--quiet"]) == 0
    assert (folder / "report.html").is_file()


def test_what_changed_is_refused_with_the_difference_unless_forced(cut, capsys):
    journal = (cut / "journal.jsonl").read_bytes()
    refused(["run", "--resume", str(cut), "--seed", "8"], capsys, "--seed: 7 then, 8 now", "--force")
    refused(["run", "--resume", str(cut), "--episodes", "4"], capsys, "--episodes: 3 then, 4 now")
    assert (cut / "journal.jsonl").read_bytes()[: len(journal) - 100] == journal[:-100]
    assert main(["run", "--resume", str(cut), "--episodes", "4", "--force", "--quiet"]) == 0
    assert len(rows(cut)) == 8
    (entry,) = RunDirectory.open(cut).manifest["resumed"]
    assert entry["differences"] == ["--episodes: 3 then, 4 now"]


@pytest.mark.parametrize(
    ("section", "entries", "word"),
    [
        ("source", {"sha256": "0" * 64}, "headless-eval's code: 000000000000…"),
        ("versions", {"mujoco": "3.1"}, "mujoco: 3.1 then"),
        ("simulator", {"substeps": 1}, "the simulator's substeps: 1 then, 16 now"),
        ("policy", {"class": "another.Policy"}, "the policy's class: another.Policy then"),
    ],
)
def test_other_code_and_parts_are_refused(cut, capsys, section, entries, word):
    edit(cut, section, **entries)
    refused(["run", "--resume", str(cut)], capsys, word)


def test_other_weights_are_refused(untrained_policy, short_episodes, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    policy, folder = tmp_path / "policy", tmp_path / "run"
    shutil.copytree(untrained_policy, policy)
    flags = [
        "--policy",
        str(policy),
        "--dtypes",
        "float32",
        "--tasks",
        "1",
        "--episodes",
        "1",
        "--videos",
        "none",
    ]
    assert main(["run", *flags, "--results", str(folder), "--quiet"]) == 0
    path = next(policy.glob("*.safetensors"))
    weights = load_file(path)
    name, tensor = next((name, one) for name, one in weights.items() if one.is_floating_point())
    save_file(weights | {name: tensor + 1}, path)
    (folder / "journal.jsonl").write_text("")  # as if it had been killed
    refused(["run", "--resume", str(folder)], capsys, "the weights: ")


def test_hardware_may_change(cut):
    edit(cut, "hardware", cpu="another")
    assert main(["run", "--resume", str(cut), "--quiet"]) == 0


def test_two_runs_cannot_write_one_folder(cut, capsys):
    with RunDirectory.open(cut, write=True):
        refused(["run", "--resume", str(cut)], capsys, "being written by another process")


def test_flags_that_do_not_go_together(cut, tmp_path, capsys):
    refused(["run", "--resume", str(cut), "--results", str(tmp_path / "x")], capsys, "leave --results out")
    refused(["run", "--force"], capsys, "--resume only")
    refused(["run", "--resume", str(tmp_path / "nothing")], capsys, "holds no run")


def test_errors_are_tried_again_when_asked(short_episodes, tmp_path, monkeypatch, capsys):
    class Moody(ZeroPolicy):
        calls = 0

        def infer(self, obs):
            Moody.calls += 1
            if Moody.calls == 6:  # five make the rehearsal
                raise ValueError("not today")
            return super().infer(obs)

    folder = tmp_path / "run"
    monkeypatch.setitem(BASELINES, "zero", Moody)
    flags = ["--policy", "zero", "--dtypes", "float32", "--tasks", "1", "--episodes", "2", "--videos", "none"]
    assert main(["run", *flags, "--slots", "1", "--results", str(folder)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"headless-eval run --resume {folder} --retries 1" in said
    statuses = [record.status for record in RunDirectory.open(folder).records()]
    assert "error" in statuses
    assert main(["run", "--resume", str(folder), "--quiet"]) == 1, "no attempt is left"
    assert main(["run", "--resume", str(folder), "--retries", "1", "--quiet"]) == 0
    run = RunDirectory.open(folder)
    assert [record.status for record in run.records()] == ["failure"] * 2
    assert max(run.attempts().values()) == 2
    assert run.manifest["settings"]["retries"] == 1


def test_settings_come_back_from_the_manifest(finished, capsys):
    kept = settings_of(finished)
    assert isinstance(kept, RunConfig)
    assert (kept.policy, kept.tasks, kept.dtypes) == ("random", ("1", "3"), ("float32",))
    assert (kept.results, kept.resume, kept.open_loop_horizon) == (None, None, 8)


def test_the_sources_hash_is_that_of_the_code(finished):
    assert (
        json.loads((finished / "manifest.json").read_text())["source"]["sha256"]
        == manifest_module.source()["sha256"]
    )
