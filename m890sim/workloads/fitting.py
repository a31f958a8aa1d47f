"""Reference kernels on chips that are no presets: tunables that fall back until all shapes fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from m890sim.chip import ChipSpec
from m890sim.errors import BindError
from m890sim.kernel.ir import Kernel

if TYPE_CHECKING:
    from m890sim.workloads.task import Task


def with_tunables(kernel: Kernel, values: Mapping[str, int]) -> Kernel:
    """The kernel with other defaults of its tunables; names that it has not are left out."""
    params = tuple(
        replace(param, default=values[param.name]) if param.name in values else param
        for param in kernel.params
    )
    return replace(kernel, params=params) if values else kernel


def fitted(kernel: Kernel, task: Task, chip: ChipSpec) -> Kernel:
    """The kernel with its tunables halved, all together, as often as it takes to fit the chip.

    It fits where every case of the task does, also at the largest sizes that a hidden case has.
    Raises: BindError, as of the smallest tunables, where nothing helps.
    """
    while True:
        try:
            _check_fit(kernel, task, chip)
            return kernel
        except BindError:
            values = {name: max(1, value // 2) for name, value in kernel.tunables.items()}
            if values == kernel.tunables:
                raise
            kernel = with_tunables(kernel, values)


def _check_fit(kernel: Kernel, task: Task, chip: ChipSpec) -> None:
    from m890sim.bind import bind

    program = bind(kernel, chip)
    largest = dict(task.hidden.largest) if task.hidden is not None else {}
    for case in task.cases:
        program.launch(case.symbols, case.tables)
        if largest:
            program.launch({**case.symbols, **largest}, case.tables)
