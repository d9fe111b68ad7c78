"""Damages real files at random and counts what comes of reading them: success, one line of error, or a fault.

    python benchmarks/fuzz.py --minutes 10

A fault is a traceback, a message of several lines, a process that dies, a reading that takes longer than --seconds, or
one that takes more than 2 GB of memory. The damaged files of each fault are kept in --findings, with what was said.
Everything is read in a child process. The exit status is 1 if there was a fault.
"""

import argparse
import collections
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MEMORY = 2 * 2**30
RUN = (
    "--max-steps",
    "8",
    "--tasks",
    "1",
    "3",
    "--episodes",
    "2",
    "--dtypes",
    "float32",
    "int8",
    "--videos",
    "none",
)
TOKENS = (
    *(
        "NaN",
        "-Infinity",
        "1e400",
        "-1",
        "0",
        "1.5",
        "9" * 400,
        str(2**62),
        str(2**64),
        "100000000",
        "true",
        "null",
    ),
    *(
        '""',
        '"7"',
        '"\\ud800"',
        '"\\u001b[2J"',
        '"=1+1"',
        '"../../x"',
        '"/etc/passwd"',
        '"a\\nb"',
        "[]",
        "{}",
        "[[]]",
    ),
    *(
        '{"": {}}',
        "[" * 200 + "]" * 200,
        "[" * 100_000,
        '"' + "x" * 100_000 + '"',
        '["pi0"]',
        '{"a": 1}',
        "float32",
    ),
)
BYTES = (
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b'"',
    b"{",
    b"}",
    b",",
    b"=",
    b"\xed\xa0\x80",
    b"\x1b[2J",
    b"\0" * 64,
)


@dataclass(frozen=True)
class Target:
    """What is damaged and how it is read.

    Args:
        name: what the table calls it.
        source: the folder with the whole files, which is copied.
        files: patterns of the files to damage.
        read: reads the folder; returns an exit status, or raises what it raises.
        text: whether the files are JSON or TOML, whose values are replaced, too.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    read: Callable[[Path], Any]
    text: bool = False


# Damage


def damage_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to eight of them changed, left out, repeated, cut off or put in."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + draw.choice((1, 1, 4, 16, 200)))
        match draw.randrange(6):
            case 0:
                found[at:end] = bytes(draw.randrange(256) for _ in range(end - at))
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end]
            case 3:
                if draw.random() < 0.3:
                    del found[at:]
            case 4:
                found[at:at] = draw.choice(BYTES)
            case _:
                if at < len(found):
                    found[at] ^= 1 << draw.randrange(8)
    return bytes(found)


def damage_text(data: bytes, draw: random.Random) -> bytes:
    """Return JSON or TOML with some of its values replaced, by position: numbers, texts, words, whole brackets."""
    text = data.decode(errors="surrogateescape")
    for _ in range(draw.choice((1, 1, 2, 3))):
        values = list(
            re.finditer(
                r'(?<=[:=,\[ ])(-?\d[\d.e+-]*|"[^"\n]*"|true|false|null|\[[^\[\]]*\]|\{[^{}]*\})', text
            )
        )
        if not values:
            break
        one = draw.choice(values)
        text = text[: one.start()] + draw.choice(TOKENS) + text[one.end() :]
    return text.encode(errors="surrogateescape")


def damage(target: Target, folder: Path, draw: random.Random) -> None:
    """Damage one or two of a target's files."""
    files = sorted({path for one in target.files for path in folder.glob(one) if path.is_file()})
    for path in draw.sample(files, min(len(files), draw.choice((1, 1, 1, 2)))):
        change = damage_text if target.text and draw.random() < 0.6 else damage_bytes
        damaged = change(path.read_bytes(), draw)
        path.unlink()  # it may be a link to the whole file
        path.write_bytes(damaged)


# Reading


def command(*words: str) -> int:
    """Run a command of the program within this process, and return its exit status."""
    from headless_eval.cli.main import main

    return main(list(words))


def read_run(folder: Path) -> int:
    """Read a run's folder by one of the commands that do."""
    here, out = str(folder), str(folder.parent / "out")
    commands = [
        ("report", here),
        ("gate", here, "--junit", f"{out}.xml"),
        ("compare", here, here),
        ("compare", f"{here}:float32", f"{here}:int8_both"),
        ("verify", here, here),
        ("view", here, "--output", f"{out}.html"),
        ("export", here, "--output", f"{out}.csv"),
        ("run", "--resume", here, "--save-settings", f"{out}.toml"),
    ]
    # The same damage is read by the same command when it is tried again.
    weight = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return command(*commands[weight % len(commands)])


def read_peers(folder: Path) -> int:
    """Compare the two files that other evaluators wrote, or gate the second by the first."""
    files = sorted((path for path in folder.rglob("*.*") if path.is_file()), key=lambda path: path.suffix)
    first, second = files[:2] if sum(path.stat().st_size for path in files) % 2 else files[2:]
    if first.stat().st_size % 2:
        return command("gate", f"a={first}", f"b={second}", "--max-drop", "0.3")
    return command("compare", str(first), str(second))


def read_message(folder: Path) -> None:
    from headless_eval.errors import UserError
    from headless_eval.policies.remote.wire import BadMessage, unpack

    try:
        unpack((folder / "message").read_bytes())
    except BadMessage as error:  # which a client and a server report in one line
        raise UserError(str(error)) from None


def read_settings(folder: Path) -> int:
    return command("run", "--from", str(folder / "run.toml"), "--save-settings", str(folder / "out.toml"))


def read_certificate(folder: Path) -> int:
    """Check what needs no simulator, and what would be loaded."""
    from headless_eval.config.results import VerifyConfig
    from headless_eval.runs.certificate.document import decode, read_bytes
    from headless_eval.runs.certificate.loading import settings_to_check

    path = folder / "certificate.json"
    status = command("verify", str(path), "--without-running")
    if status != 2:
        settings_to_check(decode(read_bytes(path), path), VerifyConfig(directories=(path,)), cuda=False)
    return status


def read_policy(folder: Path) -> None:
    """Open a checkpoint as far as before its weights are read, and, one time in four, load it and ask it once."""
    from headless_eval.contracts.robots import ROBOTS
    from headless_eval.local_policy import load_policy
    from headless_eval.policies.pi0.preflight import preflight
    from headless_eval.policies.registry import find_config

    if sum(path.stat().st_size for path in folder.rglob("*.*")) % 4:
        preflight(folder, find_config(folder))
        return
    with load_policy(folder) as policy:
        policy.infer(ROBOTS.find(policy.robot).example_observation())


def read_lerobot(folder: Path) -> None:
    from headless_eval.policies.lerobot.config import read_config
    from headless_eval.policies.registry import find_family

    find_family(folder).read_config(folder, None, None, "droid")
    read_config(folder, None, "droid")


def read_tokenizer(folder: Path) -> None:
    from headless_eval.policies.paligemma.tokenizer import Tokenizer

    tokenizer = Tokenizer(folder / "tokenizer.model")
    tokens = tokenizer.prompt_tokens("put the cube in the bowl: é 箱\n")
    tokenizer.decode([*tokens, 0, 1, len(tokenizer) - 1, len(tokenizer) + 5])
    tokenizer.slots("put it there", None, 16)


def read_safetensors(folder: Path) -> None:
    from headless_eval.checkpoints.safetensors_file import SafetensorsFile, find_weights

    for file in map(SafetensorsFile, find_weights(folder)):
        for name in file.shapes:
            file.source(name).read()


def read_arrays(folder: Path) -> None:
    from headless_eval.policies.pi0.formats.openpi_jax import find_params, stored_parameters

    params = find_params(folder)
    for stored in stored_parameters(params).values() if params else ():
        if stored.source.nbytes < 2**24:
            stored.source.read()


def read_torch(folder: Path) -> None:
    from headless_eval.checkpoints.torch_file import TorchFile
    from headless_eval.sims.libero.initial_states import read_initial_states

    states = folder / "states.pt"
    if states.is_file():
        read_initial_states(states)
    file = TorchFile(folder / "model.pt")
    for name in file.shapes:
        file.source(name).read()


# Whole files


def make_files(folder: Path) -> None:
    """Write the whole files below a folder."""
    import headless_eval.policies

    run, settings = folder / "run", folder / "settings"
    if command("run", *RUN, "--results", str(run), "--quiet"):
        raise SystemExit("the run whose files are to be damaged failed")
    certificate = folder / "certificate"
    certificate.mkdir()
    command("certify", str(run), "--out", str(certificate / "certificate.json"))
    for path in run.iterdir():
        if path.name not in ("manifest.json", "journal.jsonl", "actions"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    settings.mkdir()
    variants = ("float32", "int8_both", "five=int8_both+flow_steps=5")
    command("run", "--save-settings", str(settings / "run.toml"), "--seed", "3", "--variant", *variants)
    bundled = Path(headless_eval.policies.__file__).parent / "bundled" / "pi0-droid-tiny"
    shutil.copytree(bundled, folder / "tiny")
    _message(folder / "message")
    _peers(folder / "peers")
    _lerobot(folder / "lerobot")
    _torch(folder / "torch")
    _weights(folder / "weights")
    _arrays(folder / "arrays")


def targets_in(folder: Path) -> list[Target]:
    """Return what is to be damaged of the files of ``make_files``."""
    found = [
        Target("journal", folder / "run", ("journal.jsonl",), read_run, text=True),
        Target("manifest", folder / "run", ("manifest.json",), read_run, text=True),
        Target("certificate", folder / "certificate", ("certificate.json",), read_certificate, text=True),
        Target("eval_info", folder / "peers", ("*/eval_info.json",), read_peers, text=True),
        Target("recording", folder / "peers", ("*/*.sqlite",), read_peers),
        Target("message", folder / "message", ("message",), read_message),
        Target("settings", folder / "settings", ("run.toml",), read_settings, text=True),
        Target(
            "checkpoint config", folder / "tiny", ("config.toml", "trained_on.toml"), read_policy, text=True
        ),
        Target("norm_stats", folder / "tiny", ("assets/*/norm_stats.json",), read_policy, text=True),
        Target("lerobot config", folder / "lerobot", ("*.json", "*.toml"), read_lerobot, text=True),
        Target("safetensors", folder / "weights", ("*.safetensors",), read_safetensors),
        Target("safetensors of a policy", folder / "tiny", ("*.safetensors",), read_policy),
        Target("tokenizer", folder / "tiny", ("tokenizer.model",), read_tokenizer),
        Target("torch and LIBERO states", folder / "torch", ("*.pt",), read_torch),
        Target("OCDBT", folder / "arrays", ("params/**/*",), read_arrays),
    ]
    return [one for one in found if one.source.is_dir()]


def _message(folder: Path) -> None:
    import numpy as np

    from headless_eval.policies.remote.wire import pack

    folder.mkdir()
    message = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "state": np.ones(8, np.float32),
        "prompt": "go",
        "n": [1, 0.5],
    }
    (folder / "message").write_bytes(pack(message))


def _peers(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from peer_cases import eval_info, recording, write_eval_info

    for name, successes in (("a", [True, True, False]), ("b", [True, False, False])):
        write_eval_info(folder / name / "eval_info.json", eval_info({"0": successes, "1": successes}))
        letters = "".join("fs"[success] for success in successes)
        recording(folder / name / "recording-1.sqlite", {"lift": letters, "push": letters})


def _lerobot(folder: Path) -> None:
    from headless_eval.contracts.robots import ROBOTS

    folder.mkdir()
    robot = ROBOTS.find("droid")
    stated = {
        "type": "pi0",
        "input_features": {
            "observation.images.base_0_rgb": {"type": "VISUAL", "shape": [3, 224, 224]},
            "observation.state": {"type": "STATE", "shape": [robot.state_dims]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [robot.action_dims]}},
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "paligemma_variant": "gemma_2b",
        "chunk_size": 50,
        "n_action_steps": 10,
        "max_action_dim": 32,
        "num_inference_steps": 10,
        "image_resolution": [224, 224],
        "tokenizer_max_length": 48,
    }
    renamed = {"rename_map": {"observation.images.base_0_rgb": "observation.images.base_0_rgb"}}
    steps = [{"registry_name": "rename_observations_processor", "config": renamed}]
    (folder / "config.json").write_text(json.dumps(stated, indent=1))
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        (folder / name).write_text(json.dumps({"name": "p", "steps": steps}, indent=1))


def _torch(folder: Path) -> None:
    import numpy as np
    import torch

    folder.mkdir()
    model = {f"layers.{index}.weight": torch.randn(4, 3) for index in range(3)}
    torch.save({"model": model, "step": 5}, folder / "model.pt")
    torch.save(np.zeros((3, 10)), folder / "states.pt")


def _weights(folder: Path) -> None:
    import torch

    from headless_eval.checkpoints.safetensors_file import save_shards

    save_shards(folder, {f"a.{index}": torch.randn(index + 1, 5) for index in range(6)}, shard_bytes=200)


def _arrays(folder: Path) -> None:
    try:
        import tensorstore
    except ImportError:
        print("OCDBT is left out: tensorstore is not installed (extra openpi)")
        return
    import numpy as np

    base = {"driver": "file", "path": f"{folder}/params/"}
    names = {"PaliGemma.img.Transformer.encoder_norm.scale": (16,), "state_proj.kernel": (8, 16)}
    names |= {"PaliGemma.llm.layers.attn.q_einsum.w": (2, 4, 16, 8)}
    for name, shape in names.items():
        metadata = {"compressor": {"id": "zstd", "level": 1}, "dtype": "<f4", "shape": shape, "chunks": shape}
        spec = {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"params.{name}/"}}
        store = tensorstore.open({**spec, "metadata": metadata}, create=True).result()
        store.write(np.random.default_rng(0).standard_normal(shape).astype(np.float32)).result()


# Trying


def _child(target: Target, folder: Path, output: Path, seconds: int) -> NoReturn:
    """Read the damaged files, and end the process: 0 fine, 1 one line of error, 2 a fault."""
    from headless_eval.errors import UserError

    where = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(where, 1)
    os.dup2(where, 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    os.chdir(folder)
    status = 2
    try:
        status = {0: 0, 1: 0, None: 0}.get(target.read(folder), 1)
        sys.stdout.flush()
        sys.stderr.flush()
        if status:
            said = output.read_text(errors="replace").splitlines()
            status = 1 if said and said[-1].startswith("headless-eval: error: ") else 2
    except UserError as error:
        status = 2 if "\n" in str(error) or "\x1b" in str(error) else 1
        print(f"{error}", flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _copy(source: str, to: str) -> None:
    """Copy a file; a large one, which no reading changes, is linked."""
    if os.path.getsize(source) > 2**20:
        os.link(source, to)
    else:
        shutil.copyfile(source, to)


def attempt(target: Target, place: Path, seed: str, seconds: int) -> tuple[str, str]:
    """Damage a copy of a target's files and read it; return what came of it and what was said."""
    folder, output = place / "it", place / "said.txt"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(target.source, folder, copy_function=_copy)
    damage(target, folder, random.Random(seed))
    child = os.fork()
    if not child:
        _child(target, folder, output, seconds)
    _, status, used = os.wait4(child, 0)
    said = output.read_text(errors="replace") if output.is_file() else ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ("hang" if number == signal.SIGALRM else f"killed by {signal.Signals(number).name}"), said
    grown = used.ru_maxrss * 1024 - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if grown > MEMORY:
        return f"{grown / 2**30:.0f} GB of memory", said
    return ("fine", "one line", "traceback")[os.WEXITSTATUS(status)], said


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=60, help="the longest time that a reading may take")
    parser.add_argument("--only", help="a word in the names of what is damaged")
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"))
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make is not None:
        make_files(chosen.make)
        return 0

    counts: dict[str, collections.Counter[str]] = {}
    seen: set[tuple[str, str, str]] = set()
    with tempfile.TemporaryDirectory() as directory:
        # Elsewhere, as this process may have no threads and no OpenGL when it forks.
        subprocess.run([sys.executable, __file__, "--make", directory], check=True)
        import torch

        from headless_eval.cli.commands import COMMANDS, load

        torch.set_num_threads(1)
        for name in ("report", "gate", "compare", "verify", "view", "export", "run"):
            load(COMMANDS[name].function)
        found = targets_in(Path(directory))
        targets = [one for one in found if chosen.only is None or chosen.only in one.name]
        until, number = time.monotonic() + 60 * chosen.minutes, 0
        while time.monotonic() < until:
            target = targets[number % len(targets)]
            seed = f"{chosen.seed} {target.name} {number}"
            outcome, said = attempt(target, Path(directory) / "place", seed, chosen.seconds)
            counts.setdefault(target.name, collections.Counter())[outcome] += 1
            number += 1
            key = target.name, outcome, re.sub(r"\d+", "", said.strip().rpartition("\n")[2])[:60]
            if outcome not in ("fine", "one line") and key not in seen:
                seen.add(key)
                kept = chosen.findings / re.sub(r"\W+", "_", f"{target.name} {number} {outcome}")
                shutil.copytree(Path(directory) / "place", kept, dirs_exist_ok=True)
                last = said.strip().rpartition("\n")[2]
                print(f"{target.name}: {outcome}: {last!r:.200}; kept in {kept}", flush=True)
    for name, outcomes in counts.items():
        print(
            f"{name:26} {sum(outcomes.values()):6}",
            ", ".join(f"{what} {of}" for what, of in outcomes.most_common()),
        )
    faults = sum(
        of for one in counts.values() for what, of in one.items() if what not in ("fine", "one line")
    )
    print(f"{number} attempts, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    raise SystemExit(main())
