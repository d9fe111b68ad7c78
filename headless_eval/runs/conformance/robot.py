"""Conformance of robots."""

from collections.abc import Iterator, Sequence

import numpy as np

from headless_eval.contracts.robots import VIEWS, ActionGroup, Robot, StateGroup
from headless_eval.policies.checks import Check
from headless_eval.runs.conformance.outcome import expect, tested


def examine_robot(robot: Robot) -> Iterator[Check]:
    """Yield the result of every test of a robot."""
    groups: list[StateGroup | ActionGroup] = [*robot.state, *robot.actions]

    def names() -> str:
        keys = [camera.key for camera in robot.cameras] + [group.key for group in robot.state]
        _expect_once("key", keys)
        _expect_once("action group", [group.name for group in robot.actions])
        expect(bool(robot.actions), "it has no action group")
        for camera in robot.cameras:
            expect(
                camera.view in VIEWS,
                f"the camera {camera.key!r} has the view {camera.view!r}, which is not among {', '.join(VIEWS)}",
            )
        return f"{len(robot.cameras)} cameras, state of {robot.state_dims}, {robot.action_dims} actions"

    def units() -> str:
        for group in groups:
            number = 1 if isinstance(group.unit, str) else len(group.unit)
            expect(number in (1, group.dims), f"{number} units for {group.dims} dimensions: {group.names}")
        return ", ".join(dict.fromkeys(str(group.unit) for group in groups))

    def rates() -> str:
        expect(robot.control_hz > 0, f"control_hz is {robot.control_hz}; it must be above 0")
        expect(
            robot.open_loop_horizon >= 1,
            f"open_loop_horizon is {robot.open_loop_horizon}; it must be 1 or more",
        )
        return f"{robot.control_hz:g} Hz, {robot.open_loop_horizon} actions of a chunk"

    def example() -> str:
        observation = robot.example_observation()
        expect(robot.is_seen_in(observation), "its example observation lacks a state group")
        still = robot.hold_still(observation)
        expect(
            still.shape == (robot.action_dims,), f"hold_still gives {still.shape}, not ({robot.action_dims},)"
        )
        expect(bool(np.isfinite(still).all()), "hold_still gives values that are not finite")
        return "the example observation holds still"

    def relative() -> str:
        mask = robot.delta_actions_mask
        beyond = [
            index for index, is_relative in enumerate(mask) if is_relative and index >= robot.state_dims
        ]
        expect(not beyond, f"the actions {beyond} are relative to a state of {robot.state_dims} dimensions")
        return f"{sum(mask)} of {len(mask)} may be relative to the state"

    tests = {
        "groups": names,
        "units": units,
        "rates": rates,
        "example": example,
        "relative actions": relative,
    }
    for name, test in tests.items():
        yield tested(name, test)


def _expect_once(what: str, names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    expect(not twice, f"the {what} {', '.join(twice)} is there twice")
