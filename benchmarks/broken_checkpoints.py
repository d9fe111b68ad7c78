"""Findings of ``headless-eval doctor`` for a sound checkpoint and for broken copies of it.

    python benchmarks/broken_checkpoints.py CHECKPOINT --config-file FILE --tokenizer FILE

The checkpoint has openpi's PyTorch format; it is copied, never changed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from headless_eval.cli.main import main as command


def _truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _remove_a_parameter(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["action_in_proj.bias"]
    save_file(state, folder / "model.safetensors")


def _spoil_a_weight(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["action_out_proj.weight"][0, 0] = float("nan")
    save_file(state, folder / "model.safetensors")


def _shorten_the_statistics(folder: Path) -> None:
    (file,) = folder.glob("assets/**/norm_stats.json")
    table = json.loads(file.read_text(encoding="utf-8"))
    table["norm_stats"]["actions"] = {
        name: values[:6] for name, values in table["norm_stats"]["actions"].items()
    }
    file.write_text(json.dumps(table), encoding="utf-8")


def _remove_the_statistics(folder: Path) -> None:
    shutil.rmtree(folder / "assets")


BROKEN: dict[str, Callable[[Path], None]] = {
    "its weights cut off": _truncate,
    "a parameter missing": _remove_a_parameter,
    "NaN in a weight": _spoil_a_weight,
    "no statistics": _remove_the_statistics,
    "another robot's statistics": _shorten_the_statistics,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--tokenizer", required=True)
    chosen = parser.parse_args()

    def examine(folder: Path) -> int:
        sys.stdout.flush()
        flags = ["--config-file", chosen.config_file, "--tokenizer", chosen.tokenizer]
        return command(["doctor", "--checkpoint", str(folder), *flags])

    print("as it is")
    statuses = [examine(chosen.checkpoint)]
    with tempfile.TemporaryDirectory() as directory:
        for name, change in BROKEN.items():
            folder = Path(directory) / name.replace(" ", "-").replace("'", "")
            shutil.copytree(chosen.checkpoint, folder, copy_function=shutil.copyfile)
            change(folder)
            print(f"\n{name}")
            statuses.append(examine(folder))
    return 0 if statuses == [0] + [2] * len(BROKEN) else 1


if __name__ == "__main__":
    raise SystemExit(main())
