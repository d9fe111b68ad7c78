"""A command line becomes a settings dataclass, or one sentence that says what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest

from headless_eval.cli.parse import UnknownWords, first_value, parse, refuse_empty
from headless_eval.errors import UserError
from headless_eval.shared.flags import declared, flag


@dataclass(frozen=True)
class Model:
    GROUP: ClassVar[str] = "Model"

    policy: Annotated[str, flag("NAME|DIR")] = "tiny"
    """Which policy."""

    gpu: Annotated[int | None, flag("INDEX", "the CPU")] = None
    """CUDA device."""


@dataclass(frozen=True, kw_only=True)
class Settings(Model):
    """Do something.

    And a second paragraph.
    """

    GROUP: ClassVar[str] = "Work"

    folder: Annotated[Path, flag("DIR", positional=True)]
    """Folder of the run."""

    others: Annotated[tuple[Path, ...], flag("MORE ...", positional=True)] = ()
    """More folders."""

    tasks: Annotated[tuple[str, ...], flag("TASK ...", "all", "--scenes", hidden=("--jobs",))] = ()
    """Tasks by name."""

    counts: tuple[int, ...] = (1, 2)
    """Counts."""

    videos: Literal["all", "none"] = "all"
    """What to keep."""

    margin: float | None = None
    """How far, in points."""

    loud: bool = False
    """Say more."""

    gpu: Annotated[int | None, flag("INDEX", "the second one")] = 1


def read(*words, default=None):
    return parse(Settings, words, "program do", default=default)


def test_nothing_but_what_has_to_be_there():
    assert read("a") == Settings(policy="tiny", folder=Path("a"))


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--policy", "mine"], "policy", "mine"),
        (["--policy=mine"], "policy", "mine"),
        (["--policy=a=b"], "policy", "a=b"),
        (["--policy", "mine", "--policy", "yours"], "policy", "yours"),
        (["--tasks", "a", "b"], "tasks", ("a", "b")),
        (["--scenes", "a"], "tasks", ("a",)),
        (["--jobs", "a"], "tasks", ("a",)),
        (["--counts", "-3", "4"], "counts", (-3, 4)),
        (["--videos", "none"], "videos", "none"),
        (["--margin", "-.5"], "margin", -0.5),
        (["--margin", "1e3"], "margin", 1000.0),
        (["--loud"], "loud", True),
        (["--gpu", "0"], "gpu", 0),
    ],
)
def test_a_flag_sets_its_field(words, field, value):
    assert getattr(read("a", *words), field) == value


def test_words_without_a_flag_may_stand_anywhere():
    assert read("--gpu", "0", "a", "--loud", "b", "--policy", "x", "c").others == (Path("b"), Path("c"))
    assert read("a", "--tasks", "t", "--", "--b").others == (Path("--b"),)


def test_what_is_not_given_is_as_the_default_says():
    default = Settings(folder=Path("x"), policy="mine", tasks=("1",))
    assert read(default=default) == default
    assert read("--tasks", "2", default=default).policy == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a", "--polcy", "x"], "unrecognized options: --polcy, x; perhaps you meant --policy"),
        (["a", "--t"], "unrecognized options: --t; perhaps you meant --tasks"),
        (["a", "-x"], "unrecognized options: -x"),
        (["a", "--job"], "unrecognized options: --job"),
        (["a", "--gpu"], "--gpu needs a value"),
        (["a", "--tasks"], "--tasks needs a value"),
        (["a", "--tasks", "--loud"], "--tasks needs a value"),
        (["a", "--gpu", "--loud"], "--gpu needs a value"),
        (["a", "--gpu", "first"], "--gpu is 'first'; it must be a whole number"),
        (["a", "--counts", "1", "x"], "--counts is 'x'; it must be a whole number"),
        (["a", "--margin", "x"], "--margin is 'x'; it must be a number"),
        (["a", "--videos", "some"], "--videos is 'some'; it must be all or none"),
        (["a", "--loud=1"], "--loud takes no value"),
        ([], "missing: DIR (folder of the run)"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence):
    with pytest.raises(UserError) as error:
        read(*words)
    assert str(error.value) == f"{sentence}; see program do --help"


def test_too_many_words_are_named():
    with pytest.raises(UnknownWords, match="unrecognized options: more"):
        parse(Model, ["more"], "program do")


@pytest.mark.parametrize("words", [["--policy", ""], ["--policy="]])
def test_an_empty_value_is_refused(words):
    with pytest.raises(UserError, match="--policy is empty"):
        refuse_empty(words)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--gpu", "3", "--policy", "x"], "x"),
        (["--policy=x", "--gpu", "3"], "x"),
        (["--policy"], None),
        (["--policy", "--gpu", "3"], None),
        (["--gpu", "3"], None),
        ([], None),
    ],
)
def test_one_value_is_found_before_the_others_are_read(words, value):
    assert first_value(words, "--policy") == value


def test_the_help_has_groups_defaults_and_no_hidden_names(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        read("--help")
    assert not end.value.code
    text = capsys.readouterr().out
    assert text.startswith(
        "usage: program do DIR MORE ... [FLAGS]\n\nDo something.\n\nAnd a second paragraph.\n"
    )
    for words in (
        "Arguments:\n  DIR                       Folder of the run\n",
        "  --tasks, --scenes TASK ...\n                            Tasks by name (default: all)\n",
        "  --counts NUMBER ...       Counts (default: 1 2)\n",
        "  --videos all|none         What to keep (default: all)\n",
        "  --margin NUMBER           How far, in points\n",
        "  --loud                    Say more\n",
        "Model:\n  --policy NAME|DIR         Which policy (default: tiny)\n",
        "  --gpu INDEX               CUDA device (default: the second one)\n",
    ):
        assert words in text
    assert "--jobs" not in text


def test_a_field_stays_in_the_group_of_the_class_that_declares_it_first():
    groups = {setting.name: setting.group for setting in declared(Settings)}
    assert groups["gpu"] == groups["policy"] == "Model"
    assert groups["tasks"] == "Work"


def test_a_flag_may_be_required(capsys):
    @dataclass(frozen=True, kw_only=True)
    class Required:
        image: Annotated[Path, flag("FILE")]

    with pytest.raises(UserError, match="missing: --image FILE"):
        parse(Required, [], "program do")
    with pytest.raises(SystemExit):
        parse(Required, ["--help"], "program do")
    assert "(required)" in capsys.readouterr().out
