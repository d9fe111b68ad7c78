"""How an action becomes drive targets: one controller a robot, both from changes of the tool's pose."""

from typing import Protocol

import numpy as np
import ruckig
import sapien

from headless_eval.sims.simpler.robots import RobotBody

_SMALLEST_TURN = 1e-3  # radians of the gripper: a change below it keeps the last target


class Controller(Protocol):
    """Drives a robot through the physics steps of a control step."""

    def begin(self, action: np.ndarray) -> None:
        """Take an action: change of position (m), of rotation (axis times angle, rad), gripper; float (7,)."""
        ...

    def aim(self, step: int) -> None:
        """Set the drive targets of a physics step, counted from 0 within the control step."""
        ...


class WidowXController:
    """Moves a target pose that accumulates from itself; the gripper is told where to be.

    Args:
        robot: where it stands at the episode's start.
    """

    _MIDDLE, _HALF = 0.026, 0.012  # metres: a finger goes from 0.014 (closed) to 0.038 (open)

    def __init__(self, robot: RobotBody) -> None:
        self._robot = robot
        self._target = robot.tool_in_base
        self._arm = robot.qpos[robot.arm]
        self._fingers = robot.qpos[robot.fingers]

    def begin(self, action: np.ndarray) -> None:
        """Take an action; its gripper number is -1 closed, 1 open."""
        robot = self._robot
        centre = robot.tool_in_base.p
        # About the tool's present position.
        self._target = sapien.Pose(centre) * _change(action) * sapien.Pose(-centre) * self._target
        found = robot.solve(self._target)
        self._arm = (robot.qpos if found is None else found)[robot.arm]
        wanted = self._MIDDLE + self._HALF * float(np.clip(action[6], -1.0, 1.0))
        # PhysX of SAPIEN 2 keeps a drive's target within the joint's limits, that of SAPIEN 3 does not.
        self._fingers = np.clip(wanted, *robot.finger_limits.T)

    def aim(self, step: int) -> None:
        """Set the drive targets, at once."""
        if step == 0:
            self._robot.aim(self._robot.arm, self._arm)
            self._robot.aim(self._robot.fingers, self._fingers)


class GoogleController:
    """Moves from the measured pose on paths of limited velocity, acceleration and jerk; the gripper moves by changes.

    Args:
        robot: where it stands at the episode's start.
    """

    _TURN = 1.31  # radians of the gripper at 1
    _SLACK = 0.01  # radians beyond the joints' limits
    _FINGER_SPEED = 1.0
    _ARM_SPEED = 1.5

    def __init__(self, robot: RobotBody) -> None:
        self._robot = robot
        self._rate = robot.model.physics_hz
        self._steps = robot.model.physics_steps
        arm, fingers = len(robot.arm), len(robot.fingers)
        self._arm_planner = _Planner(arm, self._ARM_SPEED, 2.0, 50.0, self._rate, self._steps)
        self._finger_planner = _Planner(fingers, self._FINGER_SPEED, 7.0, 50.0, self._rate, self._steps)
        self._arm: _Path | None = None
        self._fingers: _Path | None = None
        self._finger_target = robot.qpos[robot.fingers]

    def begin(self, action: np.ndarray) -> None:
        """Take an action; its gripper number opens below 0 and closes above.

        Raises:
            RuntimeError: no path to the target can be planned.
        """
        robot = self._robot
        here, change = robot.tool_in_base, _change(action)
        found = robot.solve(
            sapien.Pose(here.p + change.p, (sapien.Pose(q=change.q) * sapien.Pose(q=here.q)).q)
        )
        qpos, qvel = robot.qpos, robot.qvel
        goal = (qpos if found is None else found)[robot.arm]
        if self._arm is None:
            start, speed = qpos[robot.arm], qvel[robot.arm]
        else:
            start, speed = self._arm.positions[-1], self._arm.velocities[-1]
        self._arm = self._arm_planner.plan(start, np.clip(speed, -self._ARM_SPEED, self._ARM_SPEED), goal)

        turn = self._TURN * float(np.clip(action[6], -1.0, 1.0))
        if abs(turn) >= _SMALLEST_TURN:
            commanded = qpos[robot.fingers] if self._fingers is None else self._fingers.positions[-1]
            low, high = robot.finger_limits.T
            self._finger_target = np.clip(commanded + turn, low - self._SLACK, high + self._SLACK)
        speed = np.clip(qvel[robot.fingers], -self._FINGER_SPEED, self._FINGER_SPEED)
        self._fingers = self._finger_planner.plan(qpos[robot.fingers], speed, self._finger_target)

    def aim(self, step: int) -> None:
        """Set the drive targets of a physics step."""
        assert self._arm is not None
        assert self._fingers is not None
        self._robot.aim(self._robot.arm, self._arm.positions[step + 1])
        self._robot.aim(
            self._robot.fingers, self._fingers.positions[step + 1], self._fingers.velocities[step + 1]
        )


class _Path:
    """Positions and velocities at every physics step, (steps + 1, joints) each."""

    def __init__(self, positions: np.ndarray, velocities: np.ndarray) -> None:
        self.positions, self.velocities = positions, velocities


class _Planner:
    """Plans the fastest path to a point of rest within limits, all joints arriving together."""

    def __init__(
        self, joints: int, velocity: float, acceleration: float, jerk: float, rate: int, steps: int
    ) -> None:
        self._planner = ruckig.Ruckig(joints)
        self._times = np.arange(steps + 1) / rate
        self._input = ruckig.InputParameter(joints)
        self._input.max_velocity = [velocity] * joints
        self._input.max_acceleration = [acceleration] * joints
        self._input.max_jerk = [jerk] * joints
        self._joints = joints

    def plan(self, start: np.ndarray, velocity: np.ndarray, goal: np.ndarray) -> _Path:
        """Return the path from a position and velocity; it stays at the goal once it is there."""
        asked, trajectory = self._input, ruckig.Trajectory(self._joints)
        asked.current_position = start.tolist()
        asked.current_velocity = velocity.tolist()
        asked.current_acceleration = [0.0] * self._joints
        asked.target_position = goal.tolist()
        result = self._planner.calculate(asked, trajectory)
        if result not in (ruckig.Result.Working, ruckig.Result.Finished):
            raise RuntimeError(f"no path to the target was found ({result.name})")
        found = [trajectory.at_time(min(float(time), trajectory.duration)) for time in self._times]
        return _Path(np.array([one[0] for one in found]), np.array([one[1] for one in found]))


def _change(action: np.ndarray) -> sapien.Pose:
    """Return the pose that an action's first six numbers mean."""
    turn = np.asarray(action[3:6], np.float64)
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    return sapien.Pose(np.asarray(action[:3], np.float64), [np.cos(angle / 2), *(np.sin(angle / 2) * axis)])
