"""The words of the language that no kernel may use for its own names."""

from __future__ import annotations

from m890sim.isa import ENGINES, OPS
from m890sim.kernel import ir

DECLARATIONS = ("sram", "acc", "hbm")
BLOCKS = ("range", "cores", "stage")
FUNCTIONS = ("min", "max", "ceil_div")
ANNOTATIONS = ("Tensor", "Table", "Scalar", "Size", "Tunable")
MAX_STAGE = 7
MAX_QUEUE = 15

RESERVED = frozenset(
    (
        *OPS,
        *DECLARATIONS,
        *BLOCKS,
        *FUNCTIONS,
        *ANNOTATIONS,
        *ir.DTYPES,
        *ir.FLOAT_NAMES,
        *ENGINES,
        "kernel",
    )
)
