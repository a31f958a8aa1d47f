"""Bind: kernel + chip -> BoundProgram, once; a case is then only symbol values and tables.

Every cost is resolved here, so the timing engine sees generic engines, integers and registers,
never an opcode.
"""

from __future__ import annotations

from functools import lru_cache

from m890sim.bind.compile import ProgramCompiler
from m890sim.bind.program import BoundLaunch, BoundProgram
from m890sim.chip import ChipSpec
from m890sim.kernel.ir import Kernel
from m890sim.messages import described

__all__ = ["BoundProgram", "BoundLaunch", "bind"]


@lru_cache(maxsize=16)  # a kernel is bound for all its cases; a large one takes a megabyte
def _bind(key: _ProgramKey, chip: ChipSpec) -> BoundProgram:
    return ProgramCompiler(key.kernel, chip).program()


class _ProgramKey:
    """Identity of a kernel object.

    Equality of kernels ignores places in the text, which errors need.
    """

    __slots__ = ("kernel",)

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __hash__(self) -> int:
        return id(self.kernel)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ProgramKey) and other.kernel is self.kernel


def bind(kernel: Kernel, chip: ChipSpec) -> BoundProgram:
    """Resolve a checked kernel against a chip; results are remembered for the same kernel object.

    Raises: BindError E303 or E309. What depends on a case (capacity, missing symbols) is raised by
    `launch`. TypeError for what is no Kernel or chip.
    """
    if type(kernel) is not Kernel:
        raise TypeError(f"kernel must be a Kernel, not {described(kernel)}")
    if type(chip) is not ChipSpec:
        raise TypeError(f"chip must be a ChipSpec, not {described(chip)}")
    return _bind(_ProgramKey(kernel), chip)
