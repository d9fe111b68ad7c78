"""Pitfalls of the protocol: how many actions of a chunk are executed, what counts as success, how tasks are worded."""

from headless_eval.policies.checks import OK, UNKNOWN, WARNING
from headless_eval.runs.pitfalls.evidence import Evidence
from headless_eval.runs.pitfalls.known import Finding

_AT_THE_END = ("widowx", "google_robot")
"""Robots whose published numbers in simulation mostly count the state after the last step (SimplerEnv)."""


def horizon(evidence: Evidence) -> Finding:
    """Compare the number of actions executed of a chunk with the robot's published protocol."""
    chunk, executed = evidence.replies.shape[1], evidence.open_loop_horizon
    published = min(evidence.robot.open_loop_horizon, chunk)
    text = f"{executed} of {chunk} actions of a chunk are executed"
    if executed == published:
        return Finding("horizon", OK, f"{text}, as the published protocol for {evidence.robot.name} has it")
    return Finding(
        "horizon",
        WARNING,
        f"{text}; the published protocol for {evidence.robot.name} executes {published}",
        f"run with --open-loop-horizon {published}, or with what the checkpoint's authors evaluated with",
    )


def success(evidence: Evidence) -> Finding:
    """Tell when the suite counts a success, and whether published numbers count so."""
    stated = evidence.simulator.describe().get("success")
    at_the_end = stated == "final"
    text = (
        "counts what holds after the last step"
        if at_the_end
        else "counts as soon as it holds, which ends the episode"
    )
    if evidence.robot.name not in _AT_THE_END:
        change = "compare with numbers that count so" if at_the_end else ""
        return Finding("success", WARNING if at_the_end else OK, text, change)
    if at_the_end:
        return Finding("success", OK, f"{text}, as most numbers of SimplerEnv; GR00T's count any time")
    return Finding(
        "success",
        WARNING,
        text,
        "most numbers of SimplerEnv count the last step: --simpler-success final; GR00T's count any time",
    )


def prompt(evidence: Evidence) -> Finding:
    """Compare the form of the tasks' instructions with that of the robot's training data."""
    texts = [str(obs.get("prompt", "")) for obs in evidence.observations]
    if not all(texts):
        return Finding(
            "prompt", UNKNOWN, "the suite gives no instruction", "look whether the policy needs one"
        )
    example = evidence.robot.prompt
    odd = [text for text in texts if plain(text, example) != text]
    if odd:
        return Finding(
            "prompt",
            WARNING,
            f"{odd[0]!r} is written in another way than training's {example!r}",
            f"write {plain(odd[0], example)!r}",
        )
    return Finding("prompt", OK, f"as in training: {texts[0]!r}")


def plain(text: str, example: str) -> str:
    """Return an instruction in the form of an example: blanks for underscores, no frame, no capital, no full stop."""
    words = " ".join(text.replace("_", " ").split())
    if not example.endswith((".", "!")):
        words = words.rstrip(".!")
    if example[:1].islower():
        words = words.lower() if words.isupper() else words[:1].lower() + words[1:]
    return words
