"""Suites of tasks, by name or by place, and their simulators, each imported only when it is started."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar

from headless_eval.contracts.registry import Registry
from headless_eval.contracts.simulator import Simulator, Task
from headless_eval.errors import UserError
from headless_eval.shared import places
from headless_eval.shared.flags import Settings, declared, flag
from headless_eval.shared.suggest import unknown
from headless_eval.sims.perturbation import AROUND, AXES, Paraphrases, axis_of


@dataclass(frozen=True, kw_only=True)
class SimulatorSettings(Settings):
    """Settings of a suite's simulators; a suite with further settings derives its own class.

    The fields of such a class are flags of the commands that simulate. A field that only one of the suite's simulators
    takes is None by default and names that simulator: ``Annotated[str | None, flag(simulator="isaaclab")]``.
    """

    GROUP: ClassVar[str] = "Simulator"

    sim: Annotated[str | None, flag("NAME", "the suite's first")] = None
    """Simulator; `list` names those of each suite."""


@dataclass(frozen=True)
class Suite:
    """A suite of tasks and the simulators that can run it.

    Args:
        name: name on the command line and of files: letters, digits, ``_``, ``-`` and dots.
        summary: description of one line.
        tasks: its tasks, or their place in the code, as ``module:attribute``.
        simulators: name of each simulator with its factory, or the factory's place in the code, which is imported when
            the simulator is started; the first is the default. A factory is called with the suite's settings,
            ``num_slots``, ``tasks`` and the further options of ``make``.
        robot: the name of the robot whose observations and actions the suite uses.
        settings: the class of the settings of the suite's simulators.
        perturbations: the axes of ``sims.perturbation`` that its simulators apply themselves, by simulator; of axes
            that one applies in part, the quantities, such as ``light.dim``.
        paraphrases: five lists of other words, from level 1 to 5, by instruction; or their place in the code. Without
            them there is no axis ``language``.

    Raises:
        UserError: the name is no name for files, or there is no simulator.
    """

    name: str
    summary: str
    tasks: str | Sequence[Task]
    simulators: Mapping[str, str | Callable[..., Simulator]]
    robot: str = "droid"
    settings: type[SimulatorSettings] = SimulatorSettings
    perturbations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    paraphrases: str | Paraphrases | None = None

    def __post_init__(self) -> None:
        if re.fullmatch(r"\w[\w.-]*", self.name) is None:
            raise UserError(f"the name of a suite is {self.name!r}: use letters, digits, _, - and dots")
        if not self.simulators:
            raise UserError(f"the suite {self.name} has no simulator: name one with its factory")

    def load_tasks(self) -> tuple[Task, ...]:
        """Return the suite's tasks; no simulator is started."""
        return tuple(_load(self.tasks))

    def load_paraphrases(self) -> Paraphrases:
        """Return the paraphrases of the suite's instructions; empty without any."""
        found: Paraphrases = _load(self.paraphrases) or {}
        return found

    def axes(self, settings: SimulatorSettings) -> tuple[str, ...]:
        """Return the axes, or quantities of axes, that a simulator of the suite can be perturbed by, in their order.

        Raises:
            UserError: as of ``check``.
        """
        own = self.perturbations.get(self.check(settings), ())
        around = [axis for axis in AROUND if axis != "language" or self.paraphrases]
        return tuple(name for axis in AXES for name in (*own, *around) if axis_of(name) == axis)

    def check(self, settings: SimulatorSettings) -> str:
        """Check the settings; return the name of the simulator that they choose.

        Raises:
            UserError: the simulator does not exist, a setting belongs to another simulator, or the settings belong to
                another suite.
        """
        if type(settings) is not self.settings:
            raise UserError(
                f"{type(settings).__name__} are no settings of the suite {self.name}, which takes "
                f"{self.settings.__name__}"
            )
        name = settings.sim or next(iter(self.simulators))
        if name not in self.simulators:
            raise unknown(f"simulator of the suite {self.name}", name, self.simulators)
        for setting in declared(self.settings):
            given = getattr(settings, setting.name) is not None
            if given and setting.flag.simulator not in (None, name):
                raise UserError(_not_taken(setting.option, self, name, (self, setting.flag.simulator)))
        return name

    def make(
        self,
        settings: SimulatorSettings | None = None,
        *,
        num_slots: int = 1,
        tasks: Sequence[Task] = (),
        **options: Any,
    ) -> Simulator:
        """Start a simulator of this suite.

        Args:
            settings: the choice of a simulator and its settings; by default the suite's first simulator.
            num_slots: number of episodes at once.
            tasks: the tasks that will run; by default all of them.
            options: further options of the simulator, such as ``image_size``, the side of the policy's images (pixels).

        Raises:
            UserError: the settings are not valid, or the simulator cannot run on this machine.
        """
        settings = self.settings() if settings is None else settings
        factory = _load(self.simulators[self.check(settings)])
        simulator: Simulator = factory(
            settings, num_slots=num_slots, tasks=tasks or self.load_tasks(), **options
        )
        return simulator


SUITES: Registry[Suite] = Registry("suite", "headless_eval.sims", module="suites")
"""All suites: each folder here registers its suites in a module ``suites``, other packages by an entry point."""


FOLDER_MODULE = "suites.py"
"""The file of a folder that is given as a suite: it defines one suite."""


def find_suite(name: str) -> Suite:
    """Return a suite.

    Args:
        name: a name that ``list`` shows; ``module:attribute`` or ``path/to/file.py:attribute``, where the attribute is
            a ``Suite`` or a function without arguments that returns one; or the path of a folder, with a slash, whose
            ``suites.py`` defines one suite.

    Raises:
        UserError: the suite does not exist or cannot be imported, or the object is no suite.
    """
    place = _place_of(name)
    if place is None:
        return SUITES.find(name)
    found = places.load(place, "suite")
    if callable(found) and not isinstance(found, type):
        found = found()
    if not isinstance(found, Suite):
        raise UserError(f"suite {name!r} is a {type(found).__name__}: it has to be a headless_eval.Suite")
    return found


def suite_origin(name: str) -> dict[str, Any]:
    """Return where a suite's code comes from, as ``places.describe`` says; nothing for the package's own suites.

    Raises:
        UserError: as of ``find_suite``.
    """
    place = SUITES.place(name) if name in SUITES else _place_of(name)
    if place is None:
        return {}
    places.load(place, "suite")
    return places.describe(places.find(place, "suite"))


def absolute_suite(name: str) -> str:
    """Return the name of a suite; the path of its file or folder is absolute."""
    if _is_folder(name):
        return str(Path(name).expanduser().resolve())
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{attribute}" if path.endswith(".py") else name


def _is_folder(name: str) -> bool:
    """Return whether a suite is given as the path of a folder; a name without a slash is never taken for a path."""
    return name in (".", "..") or ("/" in name and not places.is_place(name))


def _place_of(name: str) -> str | None:
    """Return the place of a suite that is given by a place or a folder; None for a name.

    Raises:
        UserError: there is no such folder, or its file defines no suite or several.
    """
    if places.is_place(name):
        return name
    if not _is_folder(name) and not name.endswith(".py"):
        return None
    path = Path(name).expanduser()
    path = path if name.endswith(".py") else path / FOLDER_MODULE
    if not path.is_file():
        raise UserError(
            f"suite {name!r}: there is no file {path}; give a name that `list` shows, module:attribute, "
            f"file.py:attribute, or a folder with a {FOLDER_MODULE}"
        )
    module = places.load_module(places.find(f"{path}:Suite", "suite"), f"suite {name!r}")
    suites = {id(value): key for key, value in vars(module).items() if isinstance(value, Suite)}
    if len(suites) != 1:
        ways = " or ".join(f"{path}:{key}" for key in suites.values())
        raise UserError(
            f"suite {name!r}: {path} defines {len(suites)} suites: "
            + (f"name {ways}" if ways else "define one")
        )
    return f"{path}:{next(iter(suites.values()))}"


def find_tasks(tasks: Iterable[Task], wanted: Iterable[str]) -> tuple[Task, ...]:
    """Return the tasks with these ids, keys or names, in the given order; all tasks if no name is given.

    Raises:
        UserError: a task does not exist, or a task is named twice.
    """
    tasks = tuple(tasks)
    by_name = {name: task for task in tasks for name in (str(task.id), task.key, task.name)}
    found: list[Task] = []
    for name in wanted:
        if name not in by_name:
            raise unknown("task", name, [f"{task.id} ({task.key})" for task in tasks])
        if by_name[name] in found:
            raise UserError(f"the task {name} is named twice; name each task once")
        found.append(by_name[name])
    return tuple(found) or tasks


def of_another_suite(option: str, suite: Suite, simulator: str | None) -> UserError | None:
    """Return the error for a flag that another suite's simulator takes; None if no simulator takes it.

    Args:
        option: the flag, dashes included.
        suite: the suite that does not take the flag.
        simulator: the name of the suite's simulator; None for its first.
    """
    name = simulator or next(iter(suite.simulators))
    for _, other in SUITES.items():
        for setting in declared(other.settings):
            if setting.option == option:
                return UserError(_not_taken(option, suite, name, (other, setting.flag.simulator)))
    return None


def _not_taken(option: str, suite: Suite, simulator: str, taker: tuple[Suite, str | None]) -> str:
    other, of = taker
    return (
        f"{option} is no setting of --suite {suite.name} --sim {simulator}, but of --suite {other.name} --sim "
        f"{of or next(iter(other.simulators))}: leave it out, or name those"
    )


def _load(place: Any) -> Any:
    """Return the object at a place in the code; an object that is no text itself."""
    if not isinstance(place, str):
        return place
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
