"""Determinism of loop.py and quant/handle.py in whole runs: real simulator, policy and quantizers."""

import json
from dataclasses import replace

import pytest
from droid_suite import BUNDLED_POLICY

from headless_eval.cli.main import main
from headless_eval.contracts.variant import Variant
from headless_eval.local_policy import load_policy
from headless_eval.loop import run_trials
from headless_eval.quant.precision import DTYPES, MODES, Precision, configurations
from headless_eval.rollout.trials import make_trials
from headless_eval.sims.droid.mujoco import simulator as mujoco_sim

DTYPES_TRIED = ["float32", "int8"]


def evaluate(folder, policy, *flags):
    """Run the command; return what must not depend on anything but the trial, by trial."""
    fixed = ["--policy", policy, "--episodes", "2", "--dtypes", *DTYPES_TRIED, "--modes", "both"]
    assert main(["run", *fixed, "--results", str(folder), "--quiet", "--videos", "none", *flags]) == 0
    return rows(map(json.loads, (folder / "journal.jsonl").read_text().splitlines()))


def rows(records):
    return {
        (row["configuration"], row["task_id"], row["episode"]): (
            row["success"],
            row["steps"],
            row["replans"],
            row["actions_sha256"],
        )
        for row in records
    }


def test_slots_order_and_repetition_change_nothing(droid_policy, short_episodes, tmp_path):
    one = evaluate(tmp_path / "one", droid_policy, "--slots", "1")
    assert len(one) == 2 * 3 * 2
    assert len({sha for *_, sha in one.values()}) == len(one)

    four = evaluate(tmp_path / "four", droid_policy, "--slots", "4")
    assert four == one
    again = evaluate(tmp_path / "again", droid_policy, "--slots", "4", "--tasks", "2")
    assert again == {trial: row for trial, row in one.items() if trial[1] == 2}
    turned = ["--tasks", "3", "1", "--dtypes", "int8", "--episodes", "1", "--videos", "all"]
    assert evaluate(tmp_path / "turned", droid_policy, *turned) == {
        trial: one[trial] for trial in [("int8_both", 3, 0), ("int8_both", 1, 0)]
    }
    other = evaluate(tmp_path / "seed", droid_policy, "--dtypes", "float32", "--tasks", "1", "--seed", "8")
    assert {sha for *_, sha in other.values()}.isdisjoint(sha for *_, sha in one.values())


def bits(policy):
    return {name: tensor.numpy().tobytes() for name, tensor in policy.module.state_dict().items()}


def test_float32_after_every_precision_is_the_same_to_the_bit(droid_policy):
    simulator = mujoco_sim.DroidMujoco(num_slots=1)
    task = replace(mujoco_sim.TASKS[0], max_steps=8)
    records = []
    with load_policy(droid_policy) as policy:
        before, fingerprint = bits(policy), policy.fingerprint()
        quantized = [precision for precision in configurations(DTYPES, MODES) if precision.dtype != "float32"]
        for precisions in ([Precision()], quantized, [Precision()]):
            trials = make_trials(map(Variant, precisions), [task], 1, seed=7)
            run_trials(
                simulator,
                policy,
                trials,
                on_episode=lambda record, _: records.append(record),
                open_loop_horizon=8,
            )
        assert bits(policy) == before
        assert policy.fingerprint() == fingerprint
    simulator.close()
    first, *others, last = records
    assert len(others) == 27
    assert first.error is None
    assert last.actions_sha256 == first.actions_sha256
    assert first.actions_sha256 not in {record.actions_sha256 for record in others}


def test_episodes_of_full_length_with_successes(droid_policy, tmp_path):
    if droid_policy != BUNDLED_POLICY:
        pytest.skip(
            f"the bundled policy {BUNDLED_POLICY} is not there, and random weights succeed at nothing"
        )
    flags = ["--episodes", "1", "--dtypes", "float32"]
    one = evaluate(tmp_path / "one", droid_policy, "--slots", "1", *flags)
    three = evaluate(tmp_path / "three", droid_policy, "--slots", "3", *flags)
    assert one == three
    assert any(success for success, *_ in one.values())


def test_a_variant_with_settings_is_the_policy_loaded_with_them(droid_policy):
    simulator = mujoco_sim.DroidMujoco(num_slots=1)
    task = replace(mujoco_sim.TASKS[0], max_steps=8)
    variants = [
        Variant(Precision()),
        Variant(Precision(), {"flow_steps": 5}),
        Variant(Precision("int8", "both"), {"flow_steps": 5, "engine": "eager"}),
        Variant(Precision()),
    ]

    def hashes(policy, variants):
        records = []
        run_trials(
            simulator,
            policy,
            make_trials(variants, [task], 1, seed=7),
            on_episode=lambda record, _: records.append(record),
            open_loop_horizon=8,
        )
        assert {record.error for record in records} == {None}
        return [record.actions_sha256 for record in records]

    with load_policy(droid_policy) as policy:
        plain, five, narrow, last = hashes(policy, variants)
    with load_policy(droid_policy, flow_steps=5) as policy:
        assert hashes(policy, variants[:1]) == [five]
    with load_policy(droid_policy, flow_steps=5, engine="eager") as policy:
        assert hashes(policy, [Variant(Precision("int8", "both"))]) == [narrow]
    assert last == plain
    assert len({plain, five, narrow}) == 3
    simulator.close()
