"""Run a kernel on a case and hold rows of its outputs against the fp64 oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.judge.gates import Array, GateResult, check_rows, row_name
from m890sim.judge.givens import STORE, Givens
from m890sim.judge.rows import draw_rows, rows_of
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, launch_arguments

if TYPE_CHECKING:
    from m890sim.execute import Footprint


class Checker:
    """One kernel on one case, checked on one input distribution after another."""

    def __init__(self, kernel: Kernel, task: Task, case: Case) -> None:
        self.kernel = kernel
        self.task = task
        self.case = case
        self._footprint: Footprint | None = None

    def check(self, distribution: str, seed: int, count: int) -> GateResult:
        """Run the kernel on inputs of a distribution and judge `count` rows of every output.

        The rows follow from case, seed and distribution (`draw_rows`). Every work item that stores
        to one of them runs, in whatever phase, with all that it depends on. Whether every element
        of the output is written at all is asked of every work item, whatever the count.
        Raises: ExecutionError where the kernel traps, BindError, LimitError.
        """
        from m890sim.execute import execute_kernel

        givens = STORE.get(self.case, seed, distribution)
        arguments = launch_arguments(self.kernel, self.case, givens.inputs)
        rows = draw_rows(self.case, seed, distribution, count)
        if rows is None:
            done = execute_kernel(self.kernel, *arguments)
            missing = self._unwritten(done.written)
        else:
            missing, todo = self._plan(arguments, rows)
            if missing is None:
                done = execute_kernel(self.kernel, *arguments, todo=todo)
        return missing or self._compare(done.outputs, givens, rows)

    def _compare(
        self, outputs: Mapping[str, Any], givens: Givens, rows: Array | None
    ) -> GateResult:
        from m890sim.execute import one_blas_thread

        result = GateResult(0.0, 0)
        for name in self.task.outputs:
            with one_blas_thread():
                expected = givens.expected(rows)
            found = check_rows(name, outputs[name], expected, self.task.tolerance, rows)
            seen = result.rows + found.rows
            result = GateResult(max(result.error, found.error), seen, found.message)
            if not result.correct:
                break
        return result

    def _plan(self, arguments: tuple[Any, ...], rows: Array) -> tuple[GateResult | None, list[Any]]:
        """What is unwritten, or the work items that the rows need."""
        from m890sim.execute import footprint

        if self._footprint is None:
            self._footprint = footprint(self.kernel, *arguments)
        missing = self._unwritten(self._footprint.written)
        if missing is not None:
            return missing, []
        return None, self._footprint.items_for(dict.fromkeys(self.task.outputs, rows))

    def _unwritten(self, written: Mapping[str, Array]) -> GateResult | None:
        for name in self.task.outputs:
            if not written[name].all():
                holes = ~written[name].all(axis=-1)
                first = np.argwhere(holes)[0].tolist()
                return GateResult(
                    np.inf,
                    rows_of(self.case),
                    f"{int(holes.sum())} rows of {name} are not written whole, the first is "
                    f"{row_name(name, first)}; store every row",
                )
        return None
