"""Whether a kernel fits: its tiles, queues and banks on every case, before anything is timed."""

from __future__ import annotations

from collections.abc import Iterable

from m890sim.bind import bind
from m890sim.chip import ChipSpec
from m890sim.errors import BindError, LimitError
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case


def unfit(
    kernel: Kernel, cases: Iterable[Case], chip: ChipSpec
) -> tuple[str, BindError | LimitError] | None:
    """The first case that a kernel does not fit, and why; None where it fits them all."""
    for case in cases:
        try:
            bind(kernel, case.part_of(chip)).launch(case.symbols, case.tables)
        except (BindError, LimitError) as error:
            return case.name, error
    return None
