"""Fullness: how much of a core's memories the tiles of a kernel take."""

from __future__ import annotations

import math
from collections.abc import Iterable

from m890sim.bind import bind
from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case


def fullness_of(kernel: Kernel, chip: ChipSpec, cases: Iterable[Case]) -> float:
    """The share of SRAM or ACC that the fullest phase takes on the fullest case; 1.0 is full.

    Nothing is timed. More than 1.0 certainly has no room; inf: it cannot be bound to the chip.
    """
    most = 0.0
    try:
        program = bind(kernel, chip)
        for case in cases:
            for room in program.rooms(case.symbols, case.tables):
                most = max(most, room.sram_bytes / chip.sram_bytes, room.acc_bytes / chip.acc_bytes)
    except BindError:
        return math.inf
    return most
