"""The commands: what each is for, its settings and its function."""

from importlib import import_module
from typing import Any, NamedTuple

PROGRAM = "headless-eval"


class Command(NamedTuple):
    """A command: its line in the help, and its settings dataclass and function, each as ``module:name``.

    Both are imported only when the command is used, because torch and a simulator take seconds to import.

    Args:
        words: what follows the command's name, for the help.
        summary: what the command does, in a line.
        settings: the settings dataclass.
        function: takes the settings, and returns the exit status.
    """

    words: str
    summary: str
    settings: str
    function: str


GROUPS = {
    "Evaluate": {
        "run": Command(
            "",
            "evaluate a policy; without flags the bundled one: 3 scenes, 4 precisions, a few minutes",
            "config.run:RunConfig",
            "runs.run:run",
        ),
        "list": Command(
            "",
            "what there is: policies, suites with their tasks, dtypes, methods, modes",
            "config.catalogue:ListConfig",
            "cli.catalogue:print_catalogue",
        ),
    },
    "Look at results": {
        "report": Command(
            "DIR",
            "rebuild a run's tables, plots and page from its journal",
            "config.results:ReportConfig",
            "report.show:report",
        ),
        "view": Command(
            "DIR",
            "one page that lists all runs below a folder, with filters and links",
            "config.results:ViewConfig",
            "report.view:view",
        ),
        "compare": Command(
            "A B ...",
            "runs, variants of runs, or others' results side by side: rates, differences, divergence",
            "config.results:CompareConfig",
            "report.compare_show:print_comparison",
        ),
        "gate": Command(
            "DIR",
            "exit 0 if every variant is shown to cost little success, else 1; JUnit XML for CI",
            "config.results:GateConfig",
            "report.gate:gate",
        ),
        "trust": Command(
            "DIR",
            "let a run from elsewhere name code and addresses that you have not used yet",
            "config.results:TrustConfig",
            "runs.trust:trust",
        ),
        "certify": Command(
            "DIR",
            "one small file by which others can check a run: hashes, statistics, a signature",
            "config.results:CertifyConfig",
            "runs.certificate.command:certify",
        ),
        "verify": Command(
            "DIR|FILE",
            "repeat a run's episodes and compare every action; A B: two runs; FILE: a certificate",
            "config.results:VerifyConfig",
            "runs.verify:verify",
        ),
        "divergence": Command(
            "DIR",
            "what each variant would have done on the baseline's own path, without its episodes",
            "config.results:DivergenceConfig",
            "runs.divergence.command:divergence",
        ),
        "export": Command(
            "DIR",
            "the episodes as one table, as a LeRobot dataset (--lerobot), or one for Rerun (--rerun)",
            "config.results:ExportConfig",
            "export.command:export",
        ),
    },
    "Other programs": {
        "serve": Command(
            "",
            "offer a policy, at any precision, to clients of openpi's websocket protocol",
            "config.serve:ServeConfig",
            "runs.serve:serve",
        ),
    },
    "Bring your own": {
        "check-plugin": Command(
            "THING",
            "test a policy, suite, robot or method of your own",
            "config.conformance:CheckPluginConfig",
            "runs.conformance.command:check_plugin",
        ),
    },
    "Checkpoints": {
        "doctor": Command(
            "",
            "find what is wrong with a checkpoint before an evaluation does",
            "config.checkpoints:DoctorConfig",
            "cli.checkpoints:doctor",
        ),
        "convert": Command(
            "SRC DST",
            "write a checkpoint in our format or in openpi's",
            "config.checkpoints:ConvertConfig",
            "cli.checkpoints:convert",
        ),
        "fetch": Command(
            "ADDRESS",
            "download a checkpoint from an address (gs://...) or by its hub id (OWNER/NAME)",
            "config.checkpoints:FetchConfig",
            "cli.checkpoints:fetch",
        ),
        "describe": Command(
            "",
            "let a PaliGemma describe an image, at any precision",
            "config.describe:DescribeConfig",
            "cli.describe:describe",
        ),
        "train": Command(
            "", "train a bundled policy from scratch", "config.train:TrainConfig", "training:cli_main"
        ),
    },
    "Measure a precision without episodes": {
        "bench": Command(
            "",
            "latency, memory and error, beside the chip's limits",
            "config.performance:BenchConfig",
            "performance.bench.command:bench",
        ),
        "profile": Command(
            "",
            "an inference's time by module or kernel, and where rounding errors arise",
            "config.performance:ProfileConfig",
            "performance.profile.command:profile",
        ),
        "sensitivity": Command(
            "",
            "round one part of the model at a time: which parts tolerate 8 or 4 bits",
            "config.performance:SensitivityConfig",
            "performance.sensitivity.command:sensitivity",
        ),
        "calibrate": Command(
            "",
            "record statistics of layer inputs, for methods such as DuQuant",
            "config.calibrate:CalibrateConfig",
            "runs.calibrate:calibrate_to_file",
        ),
    },
    "Set up": {
        "completion": Command(
            "SHELL",
            "print the completion script of bash, zsh or fish",
            "config.completion:CompletionConfig",
            "cli.completion:print_script",
        ),
    },
}

COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def overview() -> str:
    """Return the help of the program: its commands by group."""
    lines = [
        f"usage: {PROGRAM} COMMAND [FLAGS]",
        "",
        "Evaluate vision-language-action policies in simulation, headless and in one process, at any numerical",
        "precision, and see whether the precision makes the robot fail.",
        "",
        f"To begin: {PROGRAM} run needs no checkpoint, GPU or network; it says where its report.html is.",
    ]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [
            f"  {f'{name} {command.words}'.strip():20}{command.summary}" for name, command in commands.items()
        ]
    lines += [
        "",
        f"{PROGRAM} COMMAND --help explains a command's flags; {PROGRAM} --version prints the version.",
    ]
    return "\n".join(lines)


def load(place: str) -> Any:
    """Return what ``module:name`` names within this package."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"headless_eval.{module}"), name)
