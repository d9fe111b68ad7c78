"""What identifies a run before it starts: its manifest, and its plan."""

from collections.abc import Sequence
from typing import Any

from headless_eval.config.stored import to_table
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.registry import absolute_policy
from headless_eval.quant.changes import stored_text
from headless_eval.quant.precision import Precision
from headless_eval.results.manifest import build_manifest
from headless_eval.runs.evaluator import Evaluator
from headless_eval.sims.registry import absolute_suite, suite_origin


def describe(evaluator: Evaluator) -> dict[str, Any]:
    """Return the manifest of a run that would start now; policy and simulator are open."""
    config = evaluator.settings
    settings = to_table(config)
    settings["policy"] = absolute_policy(config.policy)
    settings["suite"] = absolute_suite(config.suite)
    settings["dtypes"] = [stored_text(text) for text in config.dtypes]
    settings["results"] = None if config.results is None else str(config.results)
    settings["open_loop_horizon"] = evaluator.open_loop_horizon
    simulator, policy = evaluator.simulator, evaluator.policy
    facts = {**simulator.describe(), **suite_origin(config.suite)}
    return build_manifest(
        suite=evaluator.suite.name,
        tasks=evaluator.tasks,
        variants=config.variants,
        baseline=config.baseline,
        episodes=config.episodes,
        seed=config.seed,
        settings=settings,
        policy=policy.describe(),
        simulator=facts,
        gl_renderer=facts.get("gl_renderer"),
        libraries=(*policy.libraries, *getattr(simulator, "libraries", ())),
        metrics=evaluator.metrics,
    )


def print_plan(policy: LocalPolicy, precisions: Sequence[Precision]) -> None:
    """Print which layers the methods among some precisions give which bits."""
    from headless_eval.quant.linears import linears_in_scope  # imports torch

    for precision in precisions:
        if precision.method is None or policy.module is None:
            continue
        for linear in (chosen := linears_in_scope(policy.module, precision)):
            shape = f"{linear.module.in_features} -> {linear.module.out_features}"
            print(f"{linear.name}  {shape}  {linear.bits}")
        print(f"{precision.name}: {len(chosen)} linear layers")
