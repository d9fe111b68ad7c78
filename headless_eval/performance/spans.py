"""Spans of an eager inference: beginning and end of every module's calls, by part of the inference.

Hooks surround each call, before and after the model's own hooks, so that the time of quantizers is separate from that
of their modules. The model's larger parts are methods, which are wrapped while the model is observed. A ``Listener`` is
called at each beginning and end.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

PREFIX, SETUP, MODULATION, STEP = "prefix", "set-up", "modulation", "flow step"
"""The parts of an inference, by the names in a model's ``PARTS``: once per observation; preparation for all flow steps
and other code; dependent only on the flow times; one Euler step."""

CODE, QUANTIZER = "code", "quantizer"
"""The two kinds of spans: a module or part, and the hooks that round a module's inputs or outputs."""


@dataclass(frozen=True)
class Span:
    """The name of a span.

    Args:
        part: part of the inference: one of ``PARTS``, a flow step by its number (``flow step 3``), or ``SETUP``.
        module: the module's name; empty for the model's own code.
        kind: ``CODE`` or ``QUANTIZER``.
    """

    part: str
    module: str
    kind: str = CODE

    def __str__(self) -> str:
        return " | ".join((self.part, self.module, self.kind))

    @classmethod
    def parse(cls, text: str) -> "Span | None":
        """Return the span of a text written by ``str``; None for any other text."""
        parts = text.split(" | ")
        return cls(*parts) if len(parts) == 3 else None


class Listener(Protocol):
    """Interface of an observer of spans, which are nested."""

    def begin(self, span: Span) -> None:
        """A span begins."""
        ...

    def end(self) -> None:
        """The innermost span ends."""
        ...

    def returned(self, span: Span, inputs: Any, value: Any) -> None:
        """A module without children, or a part of the inference, was given inputs and has returned a value.

        A module's value has passed its quantizer. The name of a part's module is empty.
        """
        ...


@contextmanager
def watched(model: nn.Module, listener: Listener) -> Iterator[None]:
    """Report all spans of the model's inferences to the listener; one inference at a time, on one thread.

    The model's larger parts are the methods that its attribute ``PARTS`` names, if it has this attribute.
    """
    state = _State(listener)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                for handle in _hooks(state, name, module):
                    stack.callback(handle.remove)
        for method, part in getattr(model, "PARTS", {}).items():
            stack.enter_context(_replaced(model, method, state.wrap(getattr(model, method), part)))
        yield


class _State:
    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.part = SETUP
        self.step = 0

    def wrap(self, call: Callable, part: str) -> Callable:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if part == PREFIX:
                self.step = 0
            self.part = f"{part} {self.step}" if part == STEP else part
            self.step += part == STEP
            span = Span(self.part, "")
            self.listener.begin(span)
            try:
                result = call(*args, **kwargs)
                self.listener.returned(span, (args, kwargs), result)
                return result
            finally:
                self.listener.end()
                self.part = SETUP

        return wrapped


def _hooks(state: _State, name: str, module: nn.Module) -> Iterator[Any]:
    """Add four hooks to a module: first and last before its code, first and last after its code."""
    listener, leaf = state.listener, next(module.children(), None) is None
    quantized_inputs = bool(module._forward_pre_hooks)
    quantized_outputs = bool(module._forward_hooks)

    def before(*_: Any) -> None:
        listener.begin(Span(state.part, name))
        if quantized_inputs:
            listener.begin(Span(state.part, name, QUANTIZER))

    def inputs_ready(*_: Any) -> None:
        listener.end()

    def outputs_begin(*_: Any) -> None:
        listener.begin(Span(state.part, name, QUANTIZER))

    def after(_module: nn.Module, inputs: Any, output: Any) -> None:
        if quantized_outputs:
            listener.end()
        if leaf and isinstance(output, Tensor):
            listener.returned(Span(state.part, name), inputs, output)
        listener.end()

    yield module.register_forward_pre_hook(before, prepend=True)
    if quantized_inputs:
        yield module.register_forward_pre_hook(inputs_ready)
    if quantized_outputs:
        yield module.register_forward_hook(outputs_begin, prepend=True)
    yield module.register_forward_hook(after)


@contextmanager
def _replaced(model: nn.Module, method: str, by: Callable) -> Iterator[None]:
    model.__dict__[method] = by  # an attribute of the instance hides the class's method
    try:
        yield
    finally:
        del model.__dict__[method]
