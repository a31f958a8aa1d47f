"""Run a kernel on a case and hold every row that it wrote against the fp64 oracle."""

from __future__ import annotations

import zlib

import numpy as np

from m890sim.judge.gates import Array, GateResult, check_rows, row_name
from m890sim.judge.givens import STORE
from m890sim.kernel.ir import Kernel
from m890sim.workloads import Case, Task, launch_arguments

FULL_WORK = 200_000  # cases with less `work` are always run in full
SAMPLED_SHARE = 8  # one work item in so many runs in a sampled check
SAMPLED_LEAST = 8  # but no fewer than this


class Checker:
    """One kernel on one case, checked on one input distribution after another."""

    def __init__(self, kernel: Kernel, task: Task, case: Case) -> None:
        self.kernel = kernel
        self.task = task
        self.case = case
        self._items = 0  # of the last phase, known after a full run

    def check(self, distribution: str, seed: int, *, full: bool) -> GateResult:
        """Run the kernel on inputs of a distribution and judge the rows.

        full: every work item, and every element of the output must have been written. Otherwise,
        on a large case, a fixed sample of the last phase's items, with what they depend on, and the
        rows they wrote.
        Raises: ExecutionError where the kernel traps, BindError, LimitError.
        """
        from m890sim.execute import execute_kernel, one_blas_thread

        givens = STORE.get(self.case, seed, distribution)
        arguments = launch_arguments(self.kernel, self.case, givens.inputs)
        small = self.case.work < FULL_WORK
        chosen = None if full or small else self._sample(distribution, seed)
        done = execute_kernel(self.kernel, *arguments, items=chosen)
        if chosen is None:
            self._items = len(done.items[-1])
        result = GateResult(0.0, 0)
        for name in self.task.outputs:
            written = done.written[name]
            rows = None if chosen is None else np.asarray(written.any(axis=-1))
            if rows is None and not written.all():
                unwritten = ~written.all(axis=-1)
                first = np.argwhere(unwritten)[0].tolist()
                missing = int(unwritten.sum())
                return GateResult(
                    np.inf,
                    written[..., 0].size,
                    f"{missing} rows of {name} are not written whole, the first is "
                    f"{row_name(name, first)}; store every row",
                )
            if rows is not None and not rows.any():
                return self.check(distribution, seed, full=True)
            with one_blas_thread():
                expected = givens.expected(rows)
            found = check_rows(name, done.outputs[name], expected, self.task.tolerance, rows)
            rows_so_far = result.rows + found.rows
            result = GateResult(max(result.error, found.error), rows_so_far, found.message)
            if not result.correct:
                break
        return result

    def _sample(self, distribution: str, seed: int) -> list[int] | None:
        """Item numbers, one from each of equal stretches.

        So all sequences and heads have their share. None, for all, where a sample would hardly be
        smaller.
        """
        count = max(SAMPLED_LEAST, self._items // SAMPLED_SHARE)
        if count >= self._items:
            return None
        stream = [seed, zlib.crc32(self.case.name.encode()), zlib.crc32(distribution.encode())]
        draws = np.random.PCG64(stream).random_raw(count)
        edges: Array = np.arange(count + 1, dtype=np.int64) * self._items // count
        return [
            int(first) + int(draw) % int(last - first)
            for first, last, draw in zip(edges, edges[1:], draws, strict=False)
        ]
