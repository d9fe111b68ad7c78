"""The loop on a toy: what is contained, counted, hashed and timed. Real parts: test_determinism.py."""

import hashlib
import json
import sys
import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import EpisodeOutcome, StepResult, Task
from headless_eval.contracts.variant import Variant
from headless_eval.errors import UserError
from headless_eval.loop import TimeSpent, run_trials
from headless_eval.quant.precision import Precision
from headless_eval.results import EpisodeRecord, RunDirectory
from headless_eval.rollout import trials as rollout_trials

HORIZON = 4
NOISE = (6, 3)
TASKS = (Task(1, "one", "One", "reach one", 30), Task(2, "two", "Two", "reach two", 9))
PRECISIONS = (Precision(), Precision("bfloat16"))


class ToySimulator:
    """A point in 3-D that actions push; it succeeds once it is far enough from where it started.

    ``fault`` maps (phase, task, episode) to the exception raised there; ``spoil`` to one reported by a step.
    """

    suite = "toy"
    tasks = TASKS
    control_hz = 10.0

    def __init__(self, num_slots=2, fault=None, spoil=None, seconds=0.0, reach=4.0):
        self.num_slots, self.reach = num_slots, reach
        self.fault, self.spoil, self.seconds = fault or {}, spoil or {}, seconds
        self.trials, self.points, self.starts, self.moves = {}, {}, {}, {}
        self.steps_taken = []

    def _enter(self, phase, slot):
        task, seed = self.trials[slot]
        if error := self.fault.get((phase, task.id, seed.episode)):
            raise error

    def reset(self, slot, task, seed):
        self.trials[slot] = task, seed
        self._enter("reset", slot)
        self.points[slot] = seed.initial_state().standard_normal(3).astype(np.float32)
        self.starts[slot] = self.points[slot].copy()
        self.moves[slot] = []

    def observe(self, slots):
        time.sleep(self.seconds)
        for slot in slots:
            self._enter("observe", slot)
        return [{"point": self.points[slot].copy(), "slot": slot} for slot in slots]

    def step(self, actions):
        time.sleep(self.seconds)
        for slot in actions:
            self._enter("step", slot)
        self.steps_taken.append(len(actions))
        results = {}
        for slot, action in actions.items():
            self.points[slot] += action
            self.moves[slot].append(action.copy())
            task, seed = self.trials[slot]
            fault = self.spoil.get((task.id, seed.episode))
            success = bool(np.linalg.norm(self.points[slot] - self.starts[slot]) > self.reach)
            results[slot] = StepResult(False, fault) if fault else StepResult(success)
        return results

    def frame(self, slot):
        self._enter("frame", slot)
        return np.full((2, 4, 3), len(self.moves[slot]), np.uint8)


class ToyPolicy:
    """Actions from the point, the noise and the precision; ``broken`` maps a noise's first value to a result."""

    noise_shape = NOISE

    def __init__(self, infer_fault=(), actions=None, cannot=(), seconds=0.0):
        self.infer_fault, self.actions, self.cannot, self.seconds = (
            infer_fault,
            actions or {},
            cannot,
            seconds,
        )
        self.precisions, self.batches, self.resets = [], [], 0

    def set_variant(self, variant):
        precision = variant.precision
        self.precisions.append(precision)
        if precision.dtype in self.cannot:
            raise self.cannot[precision.dtype]

    def reset(self, slots, seeds):
        self.resets += 1

    def infer_batch(self, observations, noise, slots):
        time.sleep(self.seconds)
        self.batches.append(len(observations))
        gain = 0.5 if self.precisions[-1].dtype == "float32" else 0.4
        outputs = []
        for observation, sample in zip(observations, noise, strict=True):
            assert sample.shape == NOISE
            key = float(sample[0, 0])
            if key in self.infer_fault:
                raise RuntimeError("the model broke")
            chunk = gain * sample + 0.1 * observation["point"]
            outputs.append({"actions": self.actions.get(key, lambda chunk: chunk)(chunk)})
        return outputs


class ToyVideo:
    def __init__(self, trial, log, fail=False):
        self.trial, self.log, self.fail, self.frames = trial, log, fail, []

    def add(self, frame, step, seconds):
        assert frame[0, 0, 0] == step
        assert seconds == pytest.approx(step / 10.0)
        self.frames.append(step)

    def finish(self, status, reason):
        if self.fail:
            raise OSError("no room")
        self.log[self.trial.variant.name, self.trial.task.id, self.trial.seed.episode] = self.frames
        return f"{self.trial.task.key}_{status}.mp4"

    def discard(self):
        self.log[self.trial.variant.name, self.trial.task.id, self.trial.seed.episode] = "discarded"


def first_noise(task, episode, replan=0):
    """What tells the toy policy which trial it sees."""
    return float(TrialSeed(7, task, episode).flow_noise(replan, NOISE)[0, 0])


def make_trials(precisions, tasks, episodes, seed):
    return rollout_trials.make_trials(map(Variant, precisions), tasks, episodes, seed)


def run(simulator, policy, trials=None, **options):
    records = []
    trials = make_trials(PRECISIONS, TASKS, 4, 7) if trials is None else trials
    options = {"open_loop_horizon": HORIZON, "on_episode": lambda record, _: records.append(record)} | options
    return records, run_trials(simulator, policy, trials, **options)


def outcomes(records):
    """What must not depend on slots and order, by trial."""
    return {
        record.trial: (record.status, record.success, record.steps, record.replans, record.actions_sha256)
        for record in records
    }


@pytest.fixture(scope="module")
def reference():
    records, _ = run(ToySimulator(1), ToyPolicy())
    return outcomes(records)


def test_the_toy_has_both_outcomes(reference):
    assert {status for status, *_ in reference.values()} == {"success", "failure"}


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 40])
def test_number_of_slots_changes_nothing(reference, slots):
    records, _ = run(ToySimulator(slots), ToyPolicy())
    assert outcomes(records) == reference


def test_order_of_trials_changes_nothing(reference):
    trials = make_trials(PRECISIONS[::-1], TASKS[::-1], 4, 7)
    trials.sort(key=lambda trial: (trial.variant.name, -trial.seed.episode))
    records, _ = run(ToySimulator(3), ToyPolicy(), trials)
    assert outcomes(records) == reference


def test_a_subset_gives_the_same_rows(reference):
    trials = [trial for trial in make_trials(PRECISIONS, TASKS, 4, 7) if trial.seed.episode == 2]
    records, _ = run(ToySimulator(2), ToyPolicy(), trials)
    assert len(records) == 4
    assert outcomes(records).items() <= reference.items()


def test_seed_and_precision_change_actions_but_only_the_seed_changes_the_episode():
    records, _ = run(ToySimulator(2), ToyPolicy())
    other, _ = run(ToySimulator(2), ToyPolicy(), make_trials(PRECISIONS, TASKS, 4, 8))
    hashes = [record.actions_sha256 for record in records + other]
    assert len(set(hashes)) == len(hashes)


def test_hash_covers_exactly_the_executed_actions():
    simulator = ToySimulator(1)
    (record,), _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 1, 7))
    executed = np.concatenate(simulator.moves[0]).astype("<f4")
    assert len(simulator.moves[0]) == record.steps
    assert record.actions_sha256 == hashlib.sha256(executed.tobytes()).hexdigest()


def test_record_states_the_trial():
    (record,), _ = run(ToySimulator(), ToyPolicy(), make_trials([PRECISIONS[1]], TASKS[1:], 1, 7))
    assert (record.configuration, record.dtype, record.mode) == (
        "bfloat16_weights_only",
        "bfloat16",
        "weights_only",
    )
    assert (record.task_id, record.task_key, record.task_name) == (2, "two", "Two")
    assert (record.instruction, record.episode, record.seed, record.max_steps) == ("reach two", 0, 7, 9)
    assert record.replans == -(-record.steps // HORIZON)
    assert record.steps <= record.max_steps
    assert record.started_at.endswith("+00:00")
    assert record.error is None
    assert record.video is None


def test_an_episode_may_have_an_instruction_of_its_own():
    class Colourful(ToySimulator):
        def instruction(self, slot):
            task, seed = self.trials[slot]
            return f"{task.instruction} {('red', 'blue')[seed.episode % 2]}"

    records, _ = run(Colourful(), ToyPolicy(), make_trials(PRECISIONS[:1], TASKS[:1], 2, 7))
    assert sorted(record.instruction for record in records) == ["reach one blue", "reach one red"]


def test_precision_is_set_once_per_configuration():
    policy = ToyPolicy()
    run(ToySimulator(3), policy)
    assert policy.precisions == list(PRECISIONS)
    assert policy.resets == 16


def test_inference_runs_in_full_batches():
    policy = ToyPolicy()
    run(ToySimulator(4, reach=np.inf), policy, make_trials([Precision()], TASKS[1:], 8, 7))
    assert policy.batches == [4] * 6  # 9 steps are three chunks, twice


def test_a_slot_is_refilled_while_others_go_on():
    simulator = ToySimulator(2, reach=np.inf)
    long, short = (make_trials([Precision()], [task], 3, 7) for task in TASKS)
    run(simulator, ToyPolicy(), [long[0], *short])
    # 30 steps in one slot; in the other 9 steps thrice, each but the last followed by 3 of waiting.
    assert len(simulator.steps_taken) == 33
    assert sum(simulator.steps_taken) == 30 + 3 * 9


# One fault in trial (task 1, episode 1), at both precisions.
FAULTS = {
    "reset": lambda: (ToySimulator(3, fault={("reset", 1, 1): RuntimeError("boom")}), ToyPolicy()),
    "observe": lambda: (ToySimulator(3, fault={("observe", 1, 1): RuntimeError("boom")}), ToyPolicy()),
    "reported by step": lambda: (ToySimulator(3, spoil={(1, 1): RuntimeError("boom")}), ToyPolicy()),
    "infer": lambda: (ToySimulator(3), ToyPolicy(infer_fault=[first_noise(1, 1)])),
    "NaN": lambda: (ToySimulator(3), ToyPolicy(actions={first_noise(1, 1): lambda chunk: chunk * np.nan})),
    "infinite": lambda: (
        ToySimulator(3),
        ToyPolicy(actions={first_noise(1, 1): lambda chunk: np.where(chunk == chunk[-1, -1], np.inf, chunk)}),
    ),
    "too few steps": lambda: (
        ToySimulator(3),
        ToyPolicy(actions={first_noise(1, 1): lambda chunk: chunk[:2]}),
    ),
    "no steps axis": lambda: (
        ToySimulator(3),
        ToyPolicy(actions={first_noise(1, 1): lambda chunk: chunk[0]}),
    ),
    "beyond the limit": lambda: (
        ToySimulator(3),
        ToyPolicy(actions={first_noise(1, 1): lambda chunk: chunk - 101 * (chunk == chunk[2, 1])}),
    ),
    "of another width": lambda: (
        ToySimulator(3),
        ToyPolicy(actions={first_noise(1, 1, replan=1): lambda chunk: chunk[:, :2]}),
    ),
    "not numbers": lambda: (ToySimulator(3), ToyPolicy(actions={first_noise(1, 1): lambda chunk: "left"})),
}


@pytest.mark.parametrize("where", FAULTS)
def test_a_fault_ends_its_own_episode_and_no_other(reference, where):
    simulator, policy = FAULTS[where]()
    records, _ = run(simulator, policy)
    errors = [record for record in records if record.status == "error"]
    assert [record.trial for record in errors] == [(precision.name, 1, 1) for precision in PRECISIONS]
    for record in errors:
        assert not record.success
        assert "Error" in record.error["type"]
        assert record.error["message"]
        assert record.error["message"] in record.error["traceback"]
    others = {trial: row for trial, row in outcomes(records).items() if trial[1:] != (1, 1)}
    assert others == {trial: row for trial, row in reference.items() if trial[1:] != (1, 1)}


class FailsOnce(ToyPolicy):
    """Breaks in the first attempts at a trial."""

    def __init__(self, key, times):
        super().__init__()
        self.key, self.times = key, times

    def infer_batch(self, observations, noise, slots):
        if self.key in noise[:, 0, 0] and self.times and len(observations) == 1:
            self.times -= 1
            raise RuntimeError("the model broke")
        if self.key in noise[:, 0, 0] and self.times:
            raise RuntimeError("one of these")
        return super().infer_batch(observations, noise, slots)


@pytest.mark.parametrize(("retries", "statuses"), [(0, 1), (1, 2), (2, 3), (5, 3)])
def test_an_error_is_tried_again_as_often_as_said(reference, retries, statuses):
    trials = make_trials([Precision()], TASKS, 4, 7)
    records, _ = run(ToySimulator(3), FailsOnce(first_noise(1, 1), 2), trials, retries=retries)
    mine = [record for record in records if record.trial[1:] == (1, 1)]
    assert len(mine) == statuses
    assert [record.status for record in mine[:2]] == ["error"] * min(2, statuses)
    if statuses == 3:
        assert outcomes(records) == {trial: row for trial, row in reference.items() if trial[0] == "float32"}


def test_attempts_of_earlier_sessions_count():
    trials = make_trials([Precision()], TASKS[:1], 2, 7)
    attempts = {("float32", 1, 1): 1}
    records, _ = run(ToySimulator(1), FailsOnce(first_noise(1, 1), 9), trials, retries=2, attempts=attempts)
    assert [record.episode for record in records] == [0, 1, 1]


def test_an_episode_that_takes_too_long_is_an_error_of_its_own():
    class Slow(ToySimulator):
        def step(self, actions):
            if any(self.trials[slot][1].episode == 1 for slot in actions):
                time.sleep(0.05)
            return super().step(actions)

    trials = make_trials([Precision()], TASKS[:1], 3, 7)
    records, _ = run(Slow(1, reach=np.inf), ToyPolicy(), trials, episode_timeout=0.4)
    assert [record.status for record in records] == ["failure", "error", "failure"]
    assert records[1].error["type"].endswith("EpisodeTimeout")
    assert 0 < records[1].steps < 30


def test_executed_actions_come_with_the_record():
    came = []
    trials = make_trials([Precision()], TASKS, 2, 7)
    run(ToySimulator(2), ToyPolicy(), trials, on_episode=lambda *both: came.append(both))
    for record, actions in came:
        assert actions.shape == (record.steps, 3)
        assert hashlib.sha256(actions.astype("<f4").tobytes()).hexdigest() == record.actions_sha256


def test_a_fault_in_a_later_chunk_keeps_what_was_executed():
    policy = ToyPolicy(infer_fault=[first_noise(2, 0, replan=1)])
    (record,), _ = run(ToySimulator(1), policy, make_trials([Precision()], TASKS[1:], 1, 7))
    assert (record.status, record.steps, record.replans) == ("error", HORIZON, 1)


def test_a_step_that_raises_spoils_those_that_moved_and_the_rest_go_on():
    simulator = ToySimulator(2, fault={("step", 1, 1): RuntimeError("boom")})
    records, _ = run(simulator, ToyPolicy())
    by_trial = {record.trial: record.status for record in records}
    assert len(by_trial) == 16
    for precision in PRECISIONS:
        assert by_trial[precision.name, 1, 1] == "error"
        assert by_trial[precision.name, 1, 0] == "error"
        assert by_trial[precision.name, 2, 3] != "error"


def test_a_wrong_number_of_outputs_is_an_error():
    class Forgetful(ToyPolicy):
        def infer_batch(self, observations, noise, slots):
            return super().infer_batch(observations, noise, slots)[:-1]

    records, _ = run(ToySimulator(2), Forgetful())
    assert {record.status for record in records} == {"error"}


def test_a_precision_that_breaks_is_an_error_of_its_trials():
    policy = ToyPolicy(cannot={"bfloat16": RuntimeError("out of memory")})
    records, _ = run(ToySimulator(2), policy)
    assert {record.status for record in records if record.dtype == "bfloat16"} == {"error"}
    assert "error" not in {record.status for record in records if record.dtype == "float32"}
    assert len(records) == 16


def test_a_precision_that_the_policy_cannot_have_stops_the_run():
    with pytest.raises(UserError, match="no module"):
        run(ToySimulator(2), ToyPolicy(cannot={"bfloat16": UserError("no module to quantize")}))


def test_a_policy_without_noise_gets_none():
    class Foreign(ToyPolicy):
        noise_shape = None

        def infer_batch(self, observations, noise, slots):
            assert noise is None
            return [{"actions": np.ones((HORIZON, 3))} for _ in observations]

    records, _ = run(ToySimulator(2), Foreign())
    assert {record.status for record in records} == {"success"}


def test_video_has_every_kth_frame_and_the_last():
    log = {}
    records, _ = run(
        ToySimulator(3), ToyPolicy(), open_video=lambda trial: ToyVideo(trial, log), frame_interval=3
    )
    assert len(log) == 16
    for record in records:
        assert record.video == f"{record.task_key}_{record.status}.mp4"
        wanted = sorted({*range(0, record.steps + 1, 3), record.steps})
        assert log[record.trial] == wanted


def test_no_video_where_none_is_opened():
    records, _ = run(ToySimulator(3), ToyPolicy(), open_video=lambda trial: None)
    assert {record.video for record in records} == {None}


@pytest.mark.parametrize("broken", ["open", "frame", "finish"])
def test_a_broken_video_is_an_error_of_its_episode(broken):
    simulator = ToySimulator(2)
    if broken == "frame":
        simulator.fault["frame", 1, 1] = RuntimeError("no picture")

    def open_video(trial):
        mine = (trial.task.id, trial.seed.episode) == (1, 1)
        if mine and broken == "open":
            raise OSError("no room")
        return ToyVideo(trial, {}, fail=mine and broken == "finish")

    records, _ = run(simulator, ToyPolicy(), open_video=open_video)
    assert [record.trial[1:] for record in records if record.status == "error"] == [(1, 1)] * 2


def test_an_interrupt_discards_unfinished_videos_and_keeps_the_rest():
    records, log = [], {}

    def on_episode(record, actions):
        records.append(record)
        if len(records) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(
            ToySimulator(3), ToyPolicy(), on_episode=on_episode, open_video=lambda trial: ToyVideo(trial, log)
        )
    finished = {record.trial for record in records}
    assert len(finished) == 3
    assert {trial for trial, frames in log.items() if frames != "discarded"} == finished
    assert "discarded" in log.values()


def test_replans_and_variants_are_told_in_their_order():
    told = []
    records, spent = run(
        ToySimulator(3),
        ToyPolicy(),
        on_variant=lambda variant: (told.append(variant.name), time.sleep(0.01)),
        on_replan=lambda trial, replan, observation: told.append((trial.key, replan, observation["point"])),
    )
    names = [one for one in told if isinstance(one, str)]
    assert names == [Variant(one).name for one in PRECISIONS]
    assert told[0] == names[0]
    second = next(index for index, one in enumerate(told) if one == names[1])
    assert {one[0][0] for one in told[1:second]} == {names[0]}
    for record in records:
        assert [one[1] for one in told if one[0] == record.trial] == list(range(record.replans))
    assert spent.divergence >= 0.02


def test_time_adds_up():
    began = time.perf_counter()
    records, spent = run(ToySimulator(2, seconds=0.002), ToyPolicy(seconds=0.003))
    wall = time.perf_counter() - began
    assert spent.total == pytest.approx(wall, abs=0.05)
    shares = TimeSpent(
        sim=sum(record.sim_s for record in records),
        render=sum(record.render_s for record in records),
        infer=sum(record.infer_s for record in records),
    )
    assert shares.sim == pytest.approx(spent.sim)
    assert shares.render == pytest.approx(spent.render)
    assert shares.infer == pytest.approx(spent.infer)
    assert spent.precision > 0
    total = sum(record.total_s for record in records)
    assert shares.total < total <= spent.total
    # Nearly all of it is the sleeping, which has a known place.
    assert spent.rest < 0.2 * spent.total


def test_time_of_a_batch_is_divided_over_its_members():
    seconds = 0.02
    task = Task(3, "three", "Three", "reach three", 2)
    records, _ = run(ToySimulator(4), ToyPolicy(seconds=seconds), make_trials([Precision()], [task], 4, 7))
    for record in records:
        assert seconds / 4 <= record.infer_s < seconds


def test_journal_is_complete_at_each_moment(tmp_path):
    manifest = {
        "suite": "toy",
        "episodes": 4,
        "variants": [{"name": precision.name} for precision in PRECISIONS],
        "tasks": [{"id": task.id, "key": task.key, "name": task.name} for task in TASKS],
    }
    count = 0
    with RunDirectory.create(tmp_path / "run", manifest) as directory:

        def on_episode(record, actions):
            nonlocal count
            directory.append(record, actions)
            count += 1
            lines = (tmp_path / "run" / "journal.jsonl").read_text().splitlines()
            assert len(lines) == count
            assert json.loads(lines[-1])["actions_sha256"] == record.actions_sha256

        run(ToySimulator(3), ToyPolicy(), on_episode=on_episode)
    assert count == 16
    assert len(RunDirectory.open(tmp_path / "run").records()) == 16


def test_variants_run_one_after_another_and_records_keep_their_settings():
    variants = [Variant(Precision()), Variant(Precision(), {"flow_steps": 5})]
    policy = ToyPolicy()
    records, _ = run(ToySimulator(2), policy, rollout_trials.make_trials(variants, TASKS[:1], 2, 7))
    assert len(policy.precisions) == 2
    assert [record.configuration for record in records] == ["float32"] * 2 + ["float32_flow_steps_5"] * 2
    assert [record.variant for record in records] == [None] * 2 + [{"flow_steps": 5}] * 2
    assert {record.dtype for record in records} == {"float32"}
    again = [EpisodeRecord.from_dict(json.loads(record.to_json())) for record in records]
    assert again == records
    assert records[0].actions_sha256 == records[2].actions_sha256  # the seeds do not contain the variant


class MeasuringSimulator(ToySimulator):
    """Says how far the point has come, and now and then what cannot be measured."""

    metrics: ClassVar = {"distance": "m", "angle": "rad"}

    def step(self, actions):
        results = super().step(actions)
        for slot in results:
            distance = np.linalg.norm(self.points[slot] - self.starts[slot])
            results[slot] = replace(results[slot], metrics={"distance": distance, "angle": np.nan})
        return results


def test_the_latest_finite_metrics_are_kept():
    simulator = MeasuringSimulator(1)
    (record,), _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 1, 7))
    moved = float(np.linalg.norm(simulator.points[0] - simulator.starts[0]))
    assert record.metrics == {"distance": pytest.approx(moved)}
    assert type(record.metrics["distance"]) is float
    assert EpisodeRecord.from_dict(json.loads(record.to_json())) == record
    (plain,), _ = run(ToySimulator(1), ToyPolicy(), make_trials([Precision()], TASKS[:1], 1, 7))
    assert plain.metrics is None
    assert "metrics" not in plain.to_dict()
    assert plain.actions_sha256 == record.actions_sha256


class TellingSimulator(MeasuringSimulator):
    """Says at the end of an episode what came of it; ``told`` is what it says, or an exception that it raises."""

    def __init__(self, *arguments, told, **options):
        super().__init__(*arguments, **options)
        self.told, self.asked = told, []

    def outcome(self, slot):
        self.asked.append((self.trials[slot][1].episode, len(self.moves[slot])))
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def test_the_simulator_is_asked_once_what_came_of_an_episode():
    told = EpisodeOutcome({"drops": 2, "gap": np.nan}, "dropped", "carry")
    simulator = TellingSimulator(2, told=told, reach=np.inf)
    lengths = []

    def measure(actions, success):
        lengths.append(len(actions))
        return {"path_length": 0.5, "drops": 9.0}

    records, _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 3, 7), measure=measure)
    assert sorted(simulator.asked) == [(episode, 30) for episode in range(3)]
    assert lengths == [30] * 3
    for record in records:
        assert (record.status, record.reason, record.phase) == ("failure", "dropped", "carry")
        assert {name: record.metrics[name] for name in ("drops", "path_length")} == {
            "drops": 2.0,
            "path_length": 0.5,
        }
        assert set(record.metrics) == {"distance", "drops", "path_length"}
        assert EpisodeRecord.from_dict(json.loads(record.to_json())) == record


def test_a_success_has_no_reason_of_failure():
    simulator = TellingSimulator(1, told=EpisodeOutcome({}, "dropped", "place"), reach=0.0)
    (record,), _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 1, 7))
    assert (record.status, record.reason, record.phase) == ("success", None, "place")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (ArithmeticError("lost count"), "lost count"),
        ({"drops": 2}, "no EpisodeOutcome"),
        (EpisodeOutcome({}, 3), "where a word is expected"),
        (EpisodeOutcome({"drops": "many"}), "many"),
    ],
)
def test_a_fault_in_the_outcome_is_the_episodes(told, message):
    simulator = TellingSimulator(1, told=told)
    records, _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 2, 7), retries=1)
    assert [record.status for record in records] == ["error"] * 4  # each is tried again
    assert all(message in record.error["message"] and record.reason is None for record in records)


def test_an_episode_that_broke_is_not_asked_about():
    simulator = TellingSimulator(1, told=EpisodeOutcome(), spoil={(1, 0): ValueError("lost")})
    (record,), _ = run(simulator, ToyPolicy(), make_trials([Precision()], TASKS[:1], 1, 7))
    assert record.status == "error"
    assert simulator.asked == []


# --- faulty simulators and policies


class Careless(ToySimulator):
    """Does something else in the third step of the first episode of task 1; ``how`` gets the results and the slot."""

    def __init__(self, how):
        super().__init__(2)
        self.how = how

    def step(self, actions):
        results = super().step(actions)
        for slot in actions:
            task, seed = self.trials[slot]
            if (task.id, seed.episode, len(self.moves[slot])) == (1, 0, 3):
                results = self.how(results, slot)
        return results


def other(result):
    return lambda results, slot: results | {slot: result}


def leave(*_):
    sys.exit(0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda results, slot: {key: results[key] for key in results if key != slot}, "no StepResult"),
        (lambda results, slot: None, "no StepResult"),
        (other(None), "no StepResult"),
        (other(StepResult(False, fault="broken")), "which is no exception"),
        (other(StepResult(False, metrics=None)), "NoneType"),
        (other(StepResult(False, metrics={"distance": "far"})), "far"),
        (other(StepResult(np.array([True, False]))), "ambiguous"),
        (leave, "sys.exit(0) was called"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_simulator_that_returns_anything_breaks_its_own_episodes_alone(reference, how, message):
    records, _ = run(Careless(how), ToyPolicy())
    errors = [record for record in records if record.status == "error"]
    assert ("float32", 1, 0) in {record.trial for record in errors}
    assert all(message in record.error["message"] for record in errors)
    assert len(records) == len(reference)
    assert [EpisodeRecord.from_dict(json.loads(record.to_json())) for record in records] == records
    broken = {record.trial for record in errors}
    expected = {trial: outcome for trial, outcome in reference.items() if trial not in broken}
    assert {trial: outcome for trial, outcome in outcomes(records).items() if trial not in broken} == expected


def test_a_simulator_that_changes_the_actions_that_it_is_given_changes_no_record(reference):
    class Clipping(ToySimulator):
        def step(self, actions):
            results = super().step(actions)
            for action in actions.values():
                action[:] = 0
            return results

    records, _ = run(Clipping(2), ToyPolicy())
    assert outcomes(records) == reference


@pytest.mark.parametrize("phase", ["reset", "observe", "step", "frame"])
def test_a_simulator_that_leaves_the_program_breaks_its_own_episode_alone(phase):
    simulator = ToySimulator(1, fault={(phase, 1, 0): SystemExit(5)})
    records, _ = run(simulator, ToyPolicy(), open_video=lambda trial: ToyVideo(trial, {}))
    assert [record.trial for record in records if record.status == "error"] == [
        ("float32", 1, 0),
        ("bfloat16_weights_only", 1, 0),
    ]


def test_a_policy_that_leaves_the_program_breaks_its_own_episodes_alone():
    def leave_program(chunk):
        sys.exit(3)

    key = first_noise(1, 0)
    records, _ = run(ToySimulator(1), ToyPolicy(actions={key: leave_program}))
    errors = [record for record in records if record.status == "error"]
    assert {record.trial[1:] for record in errors} == {(1, 0)}
    assert errors[0].error["message"] == "sys.exit(3) was called"
