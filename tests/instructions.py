"""The instructions by what they look like, so that tests take a further one from its row alone."""

from __future__ import annotations

from m890sim.isa import OPS

MASKS = tuple(name for name, row in OPS.items() if name.endswith("_mask"))
REDUCTIONS = tuple(
    name
    for name, row in OPS.items()
    if row.family == "vector" and row.operands[0].shape in ("M1", "1N")
)
# An element of dst from the elements in its place; `copy`, `fill` and `fma` are named where needed.
ELEMENTWISE = tuple(
    name
    for name, row in OPS.items()
    if row.family == "vector"
    and row.operands[0].shape == "MN"
    and name not in (*MASKS, "copy", "fill", "fma")
)
SFU = tuple(name for name, row in OPS.items() if row.family == "sfu")


def operands_read(name: str) -> int:
    """How many operands an instruction reads that are no keywords."""
    return sum(o.role == "read" and not o.keyword for o in OPS[name].operands)
