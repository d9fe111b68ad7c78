"""A run as a guest in another program's process: what it leaves as it found it."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from headless_eval.contracts.variant import Variant
from headless_eval.local_policy import LocalPolicy
from headless_eval.policies.generators import kept_generators
from headless_eval.quant.precision import Precision


@contextmanager
def untouched() -> Iterator[None]:
    """Compute independently of what the caller has set, and leave the process as it was before.

    Environment variables, filters of warnings and autocast are put back, and on the main thread the states of the
    generators of Python, NumPy and torch. These are shared by all threads: another thread would turn back what the main
    thread has drawn meanwhile, so there a policy that draws from them only moves them on.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment())
        stack.enter_context(warnings.catch_warnings())
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(kept_generators())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                # Without its cache: it would keep rounded weights of one variant for the next.
                stack.enter_context(torch.autocast(device, enabled=False, cache_enabled=False))
        yield


@contextmanager
def lent(policy: LocalPolicy) -> Iterator[LocalPolicy]:
    """Give a policy of the caller's as it was loaded, with its model's present weights; then put it back.

    Precision, settings, calibration and cache of packed weights are those of before.
    """
    variant, calibration, packdir = policy.variant, policy.calibration, policy.packdir
    policy.set_variant(Variant(Precision()))
    policy.renew_engine()  # an engine may hold copies of weights that have been trained since
    try:
        with policy.kept_trainable():
            yield policy
    finally:
        policy.set_variant(Variant(Precision()))
        policy.calibration, policy.packdir = calibration, packdir
        policy.set_variant(variant)


@contextmanager
def evaluating(module: nn.Module | None) -> Iterator[None]:
    """Put every part of a model into evaluation mode, and then into the mode that it had.

    The attribute is set, and ``train`` not called: models override it, and merge or freeze weights in it.
    """
    before = [(part, part.training) for part in module.modules()] if module is not None else []
    for part, _ in before:
        part.training = False
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name not in before]:
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
