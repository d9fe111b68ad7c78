"""The watchdog: a call that takes too long is reported, with its stack."""

import time

from headless_eval.rollout.watchdog import Watchdog


def test_the_watchdog_names_the_call_and_where_it_hangs():
    told = []
    with Watchdog(0.2, lambda *facts: told.append(facts)) as watchdog:
        for _ in range(5):  # none of them is long
            with watchdog.watch("sim", ["a"]):
                time.sleep(0.1)
        assert not told
        with watchdog.watch("infer", ["b", "c"]):
            time.sleep(0.6)
    ((activity, episodes, stack),) = told
    assert (activity, episodes) == ("infer", ["b", "c"])
    assert "time.sleep(0.6)" in stack
