"""Limits on work, set before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, fields

from m890sim.errors import LimitError
from m890sim.messages import described

MOST_SLOTS = 4096  # of a tile (E218, E309): every slot takes memory of whoever binds the kernel
DIMENSION = 199  # characters of a dimension (E107): `"T + 1"`
ALL_SLOTS = 16384  # of a kernel's tiles together (E309): empty ones need no room, yet are kept


@dataclass(frozen=True, slots=True)
class Limits:
    """What a kernel may ask for at most; each limit has its own error code.

    Raises: ValueError for a limit that is no positive integer.
    """

    source_bytes: int = 256 * 1024  # E501: length of a kernel file in UTF-8
    nesting: int = 32  # E502: blocks in blocks, brackets in brackets, operators in operators
    nodes: int = 10_000  # E503: nodes of the IR
    literal: int = 2**31  # E504: integer literals
    instructions: int = 50_000_000  # E505: dispatched instructions of a case
    items: int = 5_000_000  # E506: work items of a case, all phases together
    run_instructions: int = 5_000_000  # E505: of a functional run, far slower than a timed one
    run_products: int = 250_000_000_000  # E510: multiply-adds of matmuls in a functional run
    run_elements: int = 8_000_000_000  # E510: elements of all its other instructions
    memory_bytes: int = 512 * 2**20  # E509: tensors and tiles of a functional run

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"{entry.name} must be an integer of at least 1, not {described(value)}"
                )


DEFAULT_LIMITS = Limits()


def check_items(items: int, limits: Limits) -> None:
    """Refuse a launch of too many work items, before any of them runs. Raises: LimitError E506."""
    if items > limits.items:
        raise LimitError(
            "E506",
            f"the launch has {items:,} work items, the most is {limits.items:,}; "
            "use larger blocks or a smaller case, or give more from Python: "
            "limits=Limits(items=...)",
        )
