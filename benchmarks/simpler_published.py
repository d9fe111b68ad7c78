"""What benchmarks/simpler_published.sh needs: the table beside the published one, and checkpoints of random weights.

python benchmarks/simpler_published.py table RESULTS
python benchmarks/simpler_published.py draw CKPT_DIR
"""

import json
import sys
from pathlib import Path

from headless_eval.report.statistics import wilson_interval

# Columns of the published table, by suite: what it calls a task, and our tasks that it averages.
COLUMNS = {
    "bridge": {
        "Carrot on plate": (0,),
        "Eggplant in basket": (3,),
        "Spoon on towel": (1,),
        "Stack cube": (2,),
    },
    "fractal": {
        "Pick up coke": (0, 1, 2),
        "Move near": (3,),
        "Close drawer": (5,),
        "Open drawer": (4,),
        "Open top drawer and put apple in": (6,),
    },
}
# Success in percent at float32, README of allenzren/open-pi-zero (d55d2c3).
PUBLISHED = {
    "bridge_uniform": (58.8, 79.2, 63.3, 21.3),
    "bridge_beta": (55.8, 85.4, 84.6, 47.9),
    "fractal_uniform": (88.0, 80.3, 66.7, 45.2, 52.2),
    "fractal_beta": (97.9, 78.7, 75.0, 49.5, 46.6),
}


def counts(results: Path, name: str, tasks: tuple[int, ...]) -> tuple[int, int, float]:
    """Return successes, episodes and seconds of a policy's runs of some tasks; errors are left out."""
    successes = episodes = 0
    seconds = 0.0
    for task in tasks:
        for path in (results / f"{name}_task_{task}").glob("simpler_*_results.json"):
            for row in json.loads(path.read_text(encoding="utf-8"))["results"]:
                if row["status"] == "error":
                    continue
                successes += row["success"]
                episodes += 1
                seconds += row["total_s"]
    return successes, episodes, seconds


def table(results: Path) -> str:
    """Return the table as Markdown: ours with 95 % intervals beside the published one."""
    lines = []
    for suite, columns in COLUMNS.items():
        lines += [f"| policy, float32 | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for name in (f"{suite}_uniform", f"{suite}_beta"):
            cells = []
            for tasks, published in zip(columns.values(), PUBLISHED[name], strict=True):
                successes, episodes, seconds = counts(results, name, tasks)
                if not episodes:
                    cells.append(f"not run; {published:.1f} published")
                    continue
                low, high = wilson_interval(successes, episodes)
                cells.append(
                    f"{100 * successes / episodes:.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {episodes}; "
                    f"{published:.1f} published; {seconds / episodes:.1f} s an episode"
                )
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def draw(folder: Path) -> None:
    """Write four checkpoints of full size in open-pi-zero's layout, bfloat16, with random weights."""
    import torch

    from headless_eval.performance.random_weights import draw_weights
    from headless_eval.policies.open_pi_zero.config import CONFIGS
    from headless_eval.policies.open_pi_zero.model import OpenPiZero
    from headless_eval.policies.open_pi_zero.names import to_theirs

    folder.mkdir(parents=True, exist_ok=True)
    for suite in COLUMNS:
        with torch.device("meta"):
            model = OpenPiZero(CONFIGS[f"open_pi_zero_{suite}"].model)
        model = draw_weights(model, torch.device("cpu"), torch.bfloat16)
        state = {f"_orig_mod.{to_theirs(name)}": value for name, value in model.state_dict().items()}
        for sampler in ("uniform", "beta"):
            torch.save({"model": state, "cnt_update": 0}, folder / f"{suite}_{sampler}_random.pt")


def main(words: list[str]) -> int:
    """Do what the words say; returns the exit status."""
    if len(words) != 2 or words[0] not in ("table", "draw"):
        print(__doc__, file=sys.stderr)
        return 2
    if words[0] == "draw":
        draw(Path(words[1]))
    else:
        print(table(Path(words[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
