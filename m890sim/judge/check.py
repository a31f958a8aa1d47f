"""Run a kernel on a case and hold rows of its outputs against the fp64 oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m890sim.judge.gate_inputs import STORE
from m890sim.judge.gates import Array, GateResult, check_output, row_name
from m890sim.judge.rows import draw_rows, rows_of
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Output, Task, launch_arguments

if TYPE_CHECKING:
    from m890sim.execute import Footprint, Prepared
    from m890sim.language import Limits

FEW_ITEMS = 24  # in any phase: fewer are run by a program that is compiled once


class Checker:
    """One kernel on one case, checked on one input distribution after another.

    limits: on work and memory; the task's where None, the usual ones where it has none.
    tolerance: largest relative error of a row; the task's where None. Where outputs have gates of
    their own, their limits change by the same factor.
    seen: by output, the rows that some distribution looked at, bool of the output's shape without
    its last dimension.
    """

    def __init__(
        self,
        kernel: Kernel,
        task: Task,
        case: Case,
        tolerance: float | None = None,
        limits: Limits | None = None,
    ) -> None:
        share = 1.0 if tolerance is None else tolerance / task.tolerance
        self.gates = {name: (task.gate(name), share) for name in task.outputs}
        if tolerance is not None and not task.gates:  # to the last digit as it was asked for
            self.gates = {name: (Output(name, "rows", tolerance), 1.0) for name in task.outputs}
        self.kernel = kernel
        self.task = task
        chosen = task.limits if limits is None else limits
        self._limits: dict[str, Any] = {} if chosen is None else {"limits": chosen}
        self.case = case
        self._footprint: Footprint | None = None
        self._prepared: Prepared | None = None
        self._missing: GateResult | None = None
        self.seen: dict[str, Array] = {
            name: np.zeros(case.shape_of(name)[:-1], bool) for name in task.outputs
        }

    def check(self, distribution: str, seed: int, count: int | Mapping[str, int]) -> GateResult:
        """Run the kernel on inputs of a distribution and judge `count` rows of every output.

        The rows follow from case, seed and distribution (`draw_rows`). Every work item that stores
        to one of them runs, in whatever phase, with all that it depends on. Whether every element
        of the output is written at all is asked of every work item, whatever the count.
        Raises: ExecutionError where the kernel traps, BindError, LimitError.
        """
        from m890sim.execute import execute_kernel, one_blas_thread

        drawn: dict[str, Array | None] = {}
        for name in self.task.outputs:
            number = count if isinstance(count, int) else count[name]
            drawn[name] = draw_rows(self.case, seed, distribution, number, name)
            mask = drawn[name]
            self.seen[name] |= True if mask is None else mask
        masks = list(drawn.values())
        whole = all(mask is None for mask in masks)
        # Inputs of the rows alone where there is one output.
        only = masks[0] if len(masks) == 1 else None
        givens = STORE.get(self.case, seed, distribution, only)
        arguments = launch_arguments(self.kernel, self.case, givens.inputs)
        wanted = {
            name: np.ones(self.seen[name].shape, bool) if mask is None else mask
            for name, mask in drawn.items()
        }
        if whole:
            done = execute_kernel(self.kernel, *arguments, **self._limits)
            missing, outputs = self._unwritten(done.written), done.outputs
        else:
            missing, todo = self._plan(arguments, wanted)
            if missing is None:
                outputs = self._run(arguments, givens.lifted, todo, wanted)
        if missing is not None:
            return missing
        with one_blas_thread():
            expected = givens.outputs(drawn)
        result = GateResult(0.0, 0)
        for name in self.task.outputs:
            gate, share = self.gates[name]
            rows = None if whole else wanted[name]
            found = check_output(gate, outputs[name], expected[name], share, rows)
            seen = result.rows + found.rows
            result = GateResult(max(result.error, found.error), seen, found.message)
            if not result.correct:
                break
        return result

    def _run(
        self,
        arguments: tuple[Any, ...],
        lifted: Any,
        todo: Sequence[Sequence[int]],
        wanted: Mapping[str, Array],
    ) -> Mapping[str, Any]:
        """The wanted rows, after these items ran."""
        from m890sim.execute import Prepared, execute_kernel

        if max(map(len, todo)) >= FEW_ITEMS:
            done = execute_kernel(self.kernel, *arguments, todo=todo, **self._limits)
            return {name: done.outputs[name][rows] for name, rows in wanted.items()}
        if self._prepared is None:
            self._prepared = Prepared(self.kernel, *arguments, **self._limits)
        return self._prepared.rows(lifted(self._prepared.dtypes), todo, wanted)

    def _plan(
        self, arguments: tuple[Any, ...], wanted: Mapping[str, Array]
    ) -> tuple[GateResult | None, list[Any]]:
        """What is unwritten, or the work items that the rows need."""
        from m890sim.execute import footprint

        if self._footprint is None:
            self._footprint = footprint(self.kernel, *arguments, **self._limits)
            self._missing = self._unwritten(self._footprint.written)
        if self._missing is not None:
            return self._missing, []
        return None, self._footprint.items_for(wanted)

    def _unwritten(self, written: Mapping[str, Array]) -> GateResult | None:
        for name in self.task.outputs:
            if not written[name].all():
                holes = ~written[name].all(axis=-1)
                first = np.argwhere(holes)[0].tolist()
                return GateResult(
                    np.inf,
                    rows_of(self.case, name),
                    f"{int(holes.sum())} rows of {name} are not written whole, the first is "
                    f"{row_name(name, first)}; store every row",
                )
        return None
