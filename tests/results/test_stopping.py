"""Early stopping in whole runs (``run --sequential``): any number of slots and any kill give the same deciding pair."""

import csv
import json
import shutil
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from headless_eval.cli.main import main
from headless_eval.config.run import RunConfig
from headless_eval.contracts.simulator import StepResult, Task
from headless_eval.errors import UserError
from headless_eval.local_policy import LocalPolicy
from headless_eval.report.exports import COLUMNS
from headless_eval.results import RunDirectory
from headless_eval.results.sequential import SequentialTest
from headless_eval.results.stopping import Stopping
from headless_eval.runs import evaluator as evaluator_module
from headless_eval.sims.registry import SUITES, Suite

TASKS = (Task(1, "near", "near", "go", 12), Task(4, "far", "far", "go further", 12))
EPISODES = 40
BROKEN: set[tuple[int, int]] = set()  # (task id, episode) whose steps are a fault


class ToySimulator:
    """Succeeds after a number of positive actions that the seed fixes; one in four episodes cannot be solved."""

    suite, tasks, control_hz = "toy", TASKS, 10.0

    def __init__(self, settings, num_slots, tasks, image_size=None):
        self.num_slots, self.slots = num_slots, {}

    def reset(self, slot, task, seed):
        draw = seed.initial_state()
        needed = 99 if draw.random() < 0.25 else int(draw.integers(1, 12))
        self.slots[slot] = SimpleNamespace(key=(task.id, seed.episode), needed=needed)

    def observe(self, slots):
        return [{"x": np.float32([0, 1, 0, 0])} for _ in slots]

    def step(self, actions):
        results = {}
        for slot, action in actions.items():
            state = self.slots[slot]
            state.needed -= bool(action[0] > 0.05)
            fault = ValueError("broken") if state.key in BROKEN else None
            results[slot] = StepResult(state.needed <= 0 and fault is None, fault)
        return results

    def frame(self, slot):
        return np.zeros((16, 16, 3), np.uint8)

    def describe(self):
        return {}

    def close(self):
        pass


class ToyPolicy:
    """Its action is a small weight, which bfloat16 keeps and boolean sets to zero."""

    def __init__(self):
        self.model = torch.nn.Linear(4, 1, bias=False)
        self.model.weight.data = torch.tensor([[1.0, 0.1, 0.4, 0.0]])

    def infer(self, obs):
        with torch.no_grad():
            return {"actions": np.repeat(self.model(torch.from_numpy(obs["x"])[None]).numpy(), 2, axis=0)}


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Run the toy; return its folder."""
    here = {"toy_tasks": TASKS, "toy_simulator": ToySimulator}
    for name, value in here.items():
        monkeypatch.setattr(evaluator_module, name, value, raising=False)
    place = "headless_eval.runs.evaluator:toy_"
    suite = Suite("toy", "", tasks=f"{place}tasks", simulators={"toy": f"{place}simulator"})
    SUITES.names()  # fills it
    monkeypatch.setitem(SUITES._known, "toy", suite)
    monkeypatch.setattr(evaluator_module, "load", lambda config: LocalPolicy(ToyPolicy(), "toy"))
    monkeypatch.setattr(f"{__name__}.BROKEN", set())
    # The charts know nothing of stops, and take most of the time.
    monkeypatch.setattr(import_module("headless_eval.report.build"), "write_plots", lambda *_: None)

    def evaluate(name, *flags, status=0):
        folder = tmp_path / name
        fixed = ["--suite", "toy", "--dtypes", "boolean", "float32", "bfloat16", "--episodes", str(EPISODES)]
        fixed += ["--sequential", "0.1", "--open-loop-horizon", "2", "--videos", "none", "--quiet"]
        assert main(["run", *fixed, "--results", str(folder), *flags]) == status
        return folder

    return evaluate


def rows(folder):
    with open(folder / "toy_results.csv") as file:
        return [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]


def opened(*folders):
    return [RunDirectory.open(folder) for folder in folders]


def decisions(folder):
    return json.loads((folder / "manifest.json").read_text())["sequential"]


def expected(records, name, margin=0.1, alpha=0.025):
    """Feed the pairs by hand; return the test and how many trials it takes."""
    done = {record.trial: record for record in records}
    test = SequentialTest(alpha, margin)
    taken = 0
    for episode in range(EPISODES):
        for task in TASKS:
            pair = done.get(("float32", task.id, episode)), done.get((name, task.id, episode))
            if test.decision != "continue":
                assert pair[1] is None, "an episode beyond the deciding pair"
                continue
            taken += 1
            if "error" not in [record.status for record in pair]:
                test.update(*(record.success for record in pair))
    return test, taken


def test_it_stops_where_the_pairs_decide(evaluate):
    folder = evaluate("run", "--slots", "4")
    run = RunDirectory.open(folder)
    records = run.records()
    counts = {
        name: sum(record.configuration == name for record in records)
        for name in ("float32", "boolean_weights_only", "bfloat16_weights_only")
    }
    assert counts.pop("float32") == 2 * EPISODES
    found = decisions(folder)
    assert found["alpha"] == 0.025
    for name, decision in (("boolean_weights_only", "worse"), ("bfloat16_weights_only", "not_worse")):
        test, taken = expected(records, name)
        one = found["configurations"][name]
        assert (test.decision, one["decision"]) == (decision, decision)
        assert (one["pairs"], counts[name]) == (test.pairs, taken)
        assert one["evidence_worse"] == test.evidence_worse
        assert one["evidence_not_worse"] == test.evidence_not_worse
        assert taken < 2 * EPISODES
    assert counts["boolean_weights_only"] < 25
    journalled = list(run.journal())
    assert [record.configuration for record in journalled[: 2 * EPISODES]] == ["float32"] * 2 * EPISODES
    assert len(journalled) - len(records) <= 2 * 4 * 4, "only what was under way may be beyond"


def test_slots_change_nothing(evaluate):
    one, four, many = (evaluate(f"run{slots}", "--slots", slots) for slots in ("1", "4", "16"))
    assert rows(one) == rows(four) == rows(many)
    assert decisions(one) == decisions(four) == decisions(many)
    kept, written = zip(
        *(map(len, (run.records(), list(run.journal()))) for run in opened(one, many)), strict=True
    )
    assert kept == (written[0],) * 2
    assert written[1] > kept[1], "the journal loses nothing, not even what is beyond the deciding pair"


@pytest.mark.parametrize("slots", ["1", "4"])
def test_a_cut_run_ends_as_if_it_had_not_been_cut(evaluate, slots, tmp_path):
    whole = evaluate("whole", "--slots", "4")
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for kept in (30, 2 * EPISODES + 3, 2 * EPISODES + 30, len(lines) - 1, len(lines)):
        cut = tmp_path / f"cut{kept}"
        shutil.copytree(whole, cut)
        (cut / "journal.jsonl").write_bytes(b"".join(lines[:kept]))
        assert main(["run", "--resume", str(cut), "--slots", slots, "--quiet"]) == 0
        assert rows(cut) == rows(whole)
        assert decisions(cut) == decisions(whole)


def test_errors_are_no_pairs(evaluate):
    BROKEN.update({(1, 1), (4, 2)})
    one, four = (evaluate(f"run{slots}", "--slots", slots, status=1) for slots in ("1", "4"))
    assert rows(one) == rows(four)
    test, taken = expected(RunDirectory.open(one).records(), "boolean_weights_only")
    assert decisions(one)["configurations"]["boolean_weights_only"]["pairs"] == test.pairs == taken - 2
    BROKEN.clear()
    whole = evaluate("whole")
    assert main(["run", "--resume", str(four), "--retries", "1", "--quiet"]) == 0
    assert rows(four) == rows(whole), "tried again, they are pairs like the others"


def test_an_error_with_attempts_left_holds_up_the_test(evaluate):
    records = RunDirectory.open(evaluate("run", "--slots", "1")).records()
    names = ["float32", "boolean_weights_only"]
    stopping = Stopping(names, [task.id for task in TASKS], 0.1, retries=1)
    records = [record for record in records if record.configuration in names]
    error = {"type": "ValueError", "message": "", "traceback": ""}
    first = next(record for record in records if record.configuration == names[1])
    broken = type(first)(**first.to_dict() | {"status": "error", "success": False, "error": error})
    for record in records:
        assert stopping.add(broken if record.trial == first.trial else record) == []
    assert stopping.stops[names[1]].pairs == 0
    assert stopping.add(first) == [names[1]]


def test_it_is_shown(evaluate, capsys):
    folder = evaluate("run")
    page = (folder / "report.html").read_text()
    said = "boolean_weights_only worse than float32 after"
    assert f"Stopped early by the sequential test: {said}" in page
    capsys.readouterr()
    assert main(["report", str(folder)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["gate", str(folder), "--max-drop", "0.1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["passed", "float32"],
        ["failed", "boolean_weights_only"],
        ["passed", "bfloat16_weights_only"],
    ]
    assert main(["gate", str(folder), "--max-drop", "0.02"]) == 1
    assert "a drop of 2 points is neither shown nor ruled out" in capsys.readouterr().out


def test_the_display_says_so(evaluate, capsys, tmp_path):
    flags = [
        "--suite",
        "toy",
        "--dtypes",
        "float32",
        "boolean",
        "--episodes",
        str(EPISODES),
        "--videos",
        "none",
    ]
    flags += ["--sequential", "0.1", "--open-loop-horizon", "2"]
    assert main(["run", *flags, "--results", str(tmp_path / "json"), "--log-json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (stop,) = [event for event in events if event["event"] == "stop"]
    assert stop["configuration"] == "boolean_weights_only"
    assert "worse than float32" in stop["reason"]
    assert [event for event in events if event["event"] == "episode"][-1]["done"] == stop["total"]
    assert main(["run", *flags, "--results", str(tmp_path / "plain")]) == 0
    assert f"{stop['reason']}; {stop['left_out']} episodes left out" in capsys.readouterr().out


def test_without_the_flag_all_episodes_run(evaluate, tmp_path):
    flags = ["--suite", "toy", "--dtypes", "float32", "boolean", "--episodes", "12", "--videos", "none"]
    flags += ["--open-loop-horizon", "2", "--quiet", "--results", str(tmp_path / "run")]
    assert main(["run", *flags]) == 0
    assert len(rows(tmp_path / "run")) == 2 * 12 * 2
    assert "sequential" not in json.loads((tmp_path / "run" / "manifest.json").read_text())


def test_videos_of_dropped_episodes_leave_nothing_behind(evaluate):
    folder = evaluate("run", "--videos", "all", "--dtypes", "float32", "boolean", "--episodes", "12")
    kept = {record.video for record in RunDirectory.open(folder).journal()}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("videos/**/*.*")} == kept


@pytest.mark.parametrize("margin", [0.0, 1.0, float("nan"), -0.1])
def test_a_margin_is_a_share(margin):
    with pytest.raises(UserError, match="--sequential"):
        RunConfig(sequential=margin)


def test_float32_has_to_be_there(tmp_path, capsys):
    flags = ["--sequential", "0.05", "--dtypes", "int8", "bfloat16", "--results", str(tmp_path / "run")]
    assert main(["run", *flags]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "float32" in said
    assert not (tmp_path / "run").exists()


def test_a_damaged_margin_is_one_line(evaluate, capsys):
    folder = evaluate("run", "--dtypes", "float32", "--episodes", "1")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["settings"]["sequential"] = "much"
    path.write_text(json.dumps(manifest))
    for command, words in (
        (["report", str(folder)], "'sequential': expected float, got str"),
        (["run", "--resume", str(folder)], "'sequential' is 'much'"),
    ):
        capsys.readouterr()
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert words in said
