"""LIBERO environment for one episode at a time that renders images only on request.

Controller, observables and success predicate are those of the package's own environment. Only the cameras are left out:
at the moment at which the package would render an image, the state is copied, which takes 50 microseconds, and the
image is rendered from the copy if the policy or a video needs it.
"""

import math
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from headless_eval.contracts.seeding import TrialSeed
from headless_eval.contracts.simulator import Task
from headless_eval.errors import UserError
from headless_eval.sims import divergence
from headless_eval.sims.libero.initial_states import read_initial_states
from headless_eval.sims.libero.package import Package, silence

ACTION_DIM = 7
SETTLING_STEPS = 10
SETTLING_ACTION = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)

_STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
_HORIZON = 10_000  # the package's own step limit, beyond every task's limit, which the loop enforces
_PLACEMENTS = 100  # attempts to draw poses that do not collide


class Environment:
    """Environment of one task; call ``reset`` before anything else.

    Args:
        package: the imported LIBERO package.
        suite: the suite's name.
        task: a task of the suite.

    Attributes:
        initial: what the latest ``reset`` set: time, qpos, qvel, then the places of all bodies, fixtures among them.

    Raises:
        UserError: the task's files or its assets are missing.
    """

    def __init__(self, package: Package, suite: str, task: Task):
        divergence.keep_quiet()
        self.task = task
        self._states = read_initial_states(package.initial_states(suite, task.name))
        self._env = _make(package, package.problem(suite, task.name))
        self._domain = self._env.env
        if (size := 1 + self.model.nq + self.model.nv) != self._states.shape[1]:
            raise UserError(
                f"LIBERO's initial states of {task.name} have {self._states.shape[1]} numbers, its model {size}: "
                "the assets belong to another version of LIBERO"
            )
        self.seen = mujoco.MjData(self.model)
        self.initial: np.ndarray | None = None
        self._watch()
        self._observation: dict[str, Any] = {}

    @property
    def model(self) -> mujoco.MjModel:
        """Return the model, in which the poses of fixtures and the visibility of sites change."""
        return self._env.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        """Return the present state; ``seen`` is the slightly older state that observations show."""
        return self._env.sim.data._data

    @property
    def state(self) -> np.ndarray:
        """Return the robot's observed state, (8,): position (m), axis-angle (rad), two gripper joints (m)."""
        position, quaternion, gripper = (self._observation[key] for key in _STATE)
        return np.concatenate([position, _axis_angle(quaternion), gripper])

    def reset(self, seed: TrialSeed) -> None:
        """Start the trial's episode: draw the fixtures, set the initial state, run the settling steps.

        Raises:
            UserError: no placement without collisions is found.
        """
        self.draw(seed.environment_seed())
        state, fixtures = self._states[seed.episode % len(self._states)], self.model
        self.initial = np.concatenate([state, fixtures.body_pos.ravel(), fixtures.body_quat.ravel()])
        self.begin(state)

    def draw(self, seed: int) -> np.ndarray:
        """Place fixtures and objects at random with the package's code; return the state: time, qpos, qvel.

        Raises:
            UserError: no placement without collisions is found.
        """
        # The package draws from NumPy's global generator, whose state is restored afterwards.
        generator = np.random.get_state()  # noqa: NPY002
        try:
            with silence():
                self._env.seed(seed)
                self._place()
        finally:
            np.random.set_state(generator)  # noqa: NPY002
        # The package creates a new gripper, and so a new model, for every episode; only its command needs a reset.
        for robot in self._domain.robots:
            robot.gripper.current_action = np.zeros(robot.gripper.dof)
        return self._env.get_sim_state()

    def begin(self, state: np.ndarray) -> None:
        """Set a state (time, qpos, qvel), after ``draw``, and run the settling steps."""
        self._observation = self._env.set_init_state(state)
        for _ in range(SETTLING_STEPS):
            self._observation, *_ = self._env.step(SETTLING_ACTION)

    def step(self, action: np.ndarray) -> bool:
        """Execute an action, (7,): change of position and of axis-angle, each in [-1, 1]; gripper, above 0 closes.

        Returns:
            Whether the task is solved, by the package's predicate.

        Raises:
            ValueError: the action is not a finite (7,) vector.
            FloatingPointError: the simulation diverged.
        """
        action = np.asarray(action, np.float64)
        if action.shape != (ACTION_DIM,) or not np.isfinite(action).all():
            raise ValueError(
                f"an action is {ACTION_DIM} finite numbers (position, rotation, gripper), not {action.shape}"
            )
        self._observation, _, done, _ = self._env.step(action)
        divergence.check(self.data)
        return bool(done)

    def body(self, name: str) -> int:
        """Return the index of an object's root body in the model; ``name`` is its name in the task's description."""
        return int(self.model.body(self._domain.objects_dict[name].root_body).id)

    @property
    def target(self) -> str:
        """Return the name of the first object of interest in the task's description."""
        return str(self._domain.obj_of_interest[0])

    def close(self) -> None:
        """Free the model."""
        self._env.close()

    def _place(self) -> None:
        from robosuite.utils.errors import RandomizationError

        for _ in range(_PLACEMENTS):
            try:
                # Not the wrapper's reset, which tries for ever after any exception.
                self._domain.reset()
                return
            except RandomizationError:
                continue
        raise UserError(f"LIBERO finds no placement without collisions for {self.task.name}")

    def _watch(self) -> None:
        """Switch off the observables that are not needed; copy the state whenever a camera would have rendered."""
        from robosuite.utils.observables import Observable, sensor

        for name, observable in self._domain._observables.items():
            if name not in _STATE:
                observable.set_enabled(False)

        @sensor(modality="copy")
        def copy(cache: dict[str, Any]) -> float:
            mujoco.mj_copyData(self.seen, self.model, self.data)
            return 0.0

        self._domain.add_observable(Observable("copy", copy, sampling_rate=self._domain.control_freq))


def _make(package: Package, problem: Path) -> Any:
    """Return the package's environment of a task, without cameras.

    Raises:
        UserError: a file is missing.
    """
    if not problem.is_file():
        raise UserError(f"LIBERO's description of the task {problem.stem} is missing ({problem})")
    generator = np.random.get_state()  # noqa: NPY002
    try:
        with silence():
            np.random.seed(0)  # noqa: NPY002  the first placement, which reset() replaces
            return package.environments.env_wrapper.ControlEnv(
                bddl_file_name=str(problem),
                use_camera_obs=False,
                has_offscreen_renderer=False,
                hard_reset=False,
                horizon=_HORIZON,
            )
    except (FileNotFoundError, ValueError) as error:
        raise UserError(
            f"LIBERO cannot build the task {problem.stem}: {' '.join(str(error).split())}; the assets in "
            f"{package.assets} are incomplete or belong to another version of LIBERO"
        ) from error
    finally:
        np.random.set_state(generator)  # noqa: NPY002


def _axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Return a rotation (x, y, z, w) as axis times angle, angles up to 2 pi, as in openpi's evaluation."""
    w = min(max(float(quaternion[3]), -1.0), 1.0)
    sine = math.sqrt(1.0 - w * w)
    if math.isclose(sine, 0.0, abs_tol=1e-8):
        return np.zeros(3)
    return quaternion[:3] * 2.0 * math.acos(w) / sine
