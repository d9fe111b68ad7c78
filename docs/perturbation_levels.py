"""Print the table of levels in docs/perturbations.md, from the code: python docs/perturbation_levels.py."""

from headless_eval.sims.perturbation import AXES, LEVELS


def table() -> str:
    """Return the table in Markdown: a row per quantity of each axis."""
    lines = ["| setting | what it changes | unit | " + " | ".join(map(str, range(1, LEVELS + 1))) + " |"]
    lines.append("|---|---|---|" + "---:|" * LEVELS)
    for axis in AXES.values():
        lines.append(f"| **`{axis.name}`** | {axis.summary} | |" + " |" * LEVELS)
        for one in axis.quantities:
            sizes = [f"{size:g}" for size in one.levels] or ["–"] * LEVELS
            lines.append(
                f"| `{axis.name}.{one.name}` | {one.meaning} | {one.unit} | " + " | ".join(sizes) + " |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
