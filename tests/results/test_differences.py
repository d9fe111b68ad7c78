"""What counts as a difference between two manifests."""

import pytest

from headless_eval.results.differences import differences


@pytest.mark.parametrize(
    ("then", "now", "number"),
    [
        ("headless_eval.pi0.policy.Pi0Policy", "headless_eval.policies.pi0.policy.Pi0Policy", 0),
        ("headless_eval.pi0.policy.Pi0Policy", "headless_eval.policies.baselines.ZeroPolicy", 1),
        ("mine.Policy", "others.Policy", 1),
    ],
)
def test_classes_of_the_package_may_move(then, now, number):
    found = differences({"policy": {"class": then}}, {"policy": {"class": now}})
    assert len(found) == number


def test_which_of_several_gpus_does_not_matter():
    then, now = ({"policy": {"device": device}} for device in ("cuda:0", "cuda:1"))
    assert not differences(then, now)
    (found,) = differences(then, {"policy": {"device": "cpu"}})
    assert found.binding


def test_hardware_differs_without_binding_and_new_entries_are_passed_over():
    (found,) = differences({"hardware": {"cpu": "a"}}, {"hardware": {"cpu": "b"}, "versions": {"torch": "3"}})
    assert not found.binding
    assert str(found) == "cpu: a then, b now"


def test_changed_code_of_a_method_counts_and_its_place_does_not():
    then = {"methods": {"mine_f": {"code": {"mine.py": 64 * "a"}, "file": "/here/mine.py"}}}
    now = {"methods": {"mine_f": {"code": {"mine.py": 64 * "b"}, "file": "/there/mine.py"}}}
    (found,) = differences(then, now)
    assert found.binding
    assert str(found) == "the method mine_f.code.mine.py: aaaaaaaaaaaa… then, bbbbbbbbbbbb… now"
