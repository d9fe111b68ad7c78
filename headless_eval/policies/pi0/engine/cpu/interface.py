"""What Python hands to the C code: the structures and numbers of both, described once.

``header`` writes the description as C, which is compiled together with ``cpu.c``; the classes here are the same
structures for ctypes. So neither can get out of step with the other.
"""

import ctypes
from collections.abc import Iterable
from typing import Any

from headless_eval.policies.pi0.layers import GEMMA_LAYER, SIGLIP_LAYER, SINGLE

DTYPES = (
    "float16",
    "bfloat16",
    "float8_e4m3",
    "float8_e5m2",
    "uint32",
    "int32",
    "boolean",
    "int8",
    "int4",
)
"""The data types that the C code rounds outputs to; their numbers there begin at 1, and 0 is ``NONE``."""

_TYPES: dict[str, Any] = {"int64_t": ctypes.c_int64, "int32_t": ctypes.c_int32, "float": ctypes.c_float}
_structures: dict[str, str] = {}


def _structure(name: str, *fields: str) -> Any:
    """Return the ctypes class of a structure, and remember its definition in C.

    Args:
        name: in C.
        fields: each as in C, ``TYPE: NAMES // COMMENT``. A type that ends with an asterisk is a pointer, and a name
            may be an array such as ``leaves[11]``.
    """
    members: list[tuple[str, Any]] = []
    lines = []
    for field in fields:
        kind, _, rest = field.partition(":")
        names, _, comment = rest.partition("//")
        pointer = kind.endswith("*")
        for member in names.split():
            label, _, number = member.rstrip("]").partition("[")
            of = ctypes.c_void_p if pointer else _TYPES[kind]
            members.append((label, of * int(number) if number else of))
        declared = ", ".join(f"*{one}" if pointer else one for one in names.split())
        lines.append(f"    {kind.rstrip('* ')} {declared};{comment and f' //{comment}'}")
    _structures[name] = "\n".join(["typedef struct {", *lines, f"}} {name};"])
    _TYPES[name] = type(name, (ctypes.Structure,), {"_fields_": members})
    return _TYPES[name]


Linear = _structure(
    "Linear",
    "const float *: weight bias // (inputs, outputs); null where there is no bias",
    "int64_t: inputs outputs",
)

VisionLayer = _structure(
    "VisionLayer",
    "const float *: norm1 shift1 norm2 shift2",
    "Linear: qkv out up down",
    "int64_t: leaf // the number of its first module; VISION_... are counted from there",
)

GemmaLayer = _structure(
    "GemmaLayer",
    "const float *: norm1 norm2 // null for adaptive norms",
    "Linear: qkv out gate_up down",
    "int64_t: leaf // the number of its first module; GEMMA_... are counted from there",
)

Gemma = _structure("Gemma", "int64_t: width mlp heads kv_heads size")

Model = _structure(
    "Model",
    "int64_t: pi05 depth horizon action_dim",
    "int64_t: vision_depth vision_width vision_heads vision_mlp patch grid",
    "Gemma: gemma expert",
    "float: embed_scale",
    "int32_t: rounding by_token // the data type's number; whether each token has a scale of its own",
    "const uint8_t *: rounds // by number of module: whether its output is rounded",
    "uint8_t *: fired // set where it has been",
    "const VisionLayer *: vision",
    "const GemmaLayer *: language actions",
    "Linear: patches projector state action_in mix_in mix_out action_out",
    "const float *: positions vision_norm vision_shift words expert_norm",
    f"int64_t: leaves[{len(SINGLE)}] // the numbers of the modules that are in no layer, by LEAF_...",
)

Inference = _structure(
    "Inference",
    "int64_t: batch views slots steps",
    "const float *: images state // (batch, views, 3, h, w), (batch, A)",
    "const int64_t *: tokens // (batch, slots)",
    "const uint8_t *: mask // (batch, L): which of the prefix's tokens count",
    "const float *: tables // (batch, L + S, 2, size): cosines, signed sines",
    "const float *: times // (steps, width), for π0",
    "const float *: modulations // (2 depth + 1, steps, 3, width): scale, shift, gate, for π0.5",
    "float *: actions // (batch, H, A): noise, in the end the actions",
    "float *: keys values // (depth, batch, kv heads, size, L + S) and (..., L + S, size)",
    "float *: scratch",
)


def header() -> str:
    """Return the description in C: numbers of data types and modules, and the structures."""
    return "\n\n".join(
        [
            "#include <stdint.h>",
            _enumeration("", ["none", *DTYPES]),
            _enumeration("VISION_", SIGLIP_LAYER),
            _enumeration("GEMMA_", GEMMA_LAYER),
            _enumeration("LEAF_", SINGLE),
            *_structures.values(),
            "",
        ]
    )


def _enumeration(prefix: str, names: Iterable[str]) -> str:
    return f"enum {{ {', '.join(prefix + name.upper() for name in names)} }};"
