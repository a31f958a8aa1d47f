"""A kernel compiled once for a launch, and run on few items with other values of its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from m890sim.execute.compile import ItemCompiler, Program
from m890sim.execute.domain import Domain
from m890sim.execute.floats import FloatDomain
from m890sim.execute.items import run_items
from m890sim.execute.launch import make_launch
from m890sim.execute.run import one_blas_thread
from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS, Limits


class Prepared:
    """One launch of a kernel, to be run item by item on several sets of input values.

    The launch's symbols, tables and scalars are folded into the program; tensors may differ from
    run to run. For a handful of work items compiling takes longer than running them does.
    dtypes: the inputs that the kernel loads, with the dtypes that it declares.
    """

    def __init__(
        self,
        kernel: ir.Kernel,
        symbols: Mapping[str, SupportsIndex],
        tables: Mapping[str, Any],
        scalars: Mapping[str, float],
        tensors: Mapping[str, Any],
        *,
        domain: Domain | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """tensors: any inputs of the launch, for their shapes. Raises: as `execute_kernel`."""
        self._domain = FloatDomain() if domain is None else domain
        with np.errstate(all="ignore"):
            launch = make_launch(kernel, symbols, tables, scalars, tensors, self._domain)
            self._program: Program = ItemCompiler(kernel, launch, self._domain, limits).program()
        self.dtypes = {
            param.name: param.dtype
            for param in kernel.params
            if param.kind == "tensor" and param.name in launch.inputs
        }

    def rows(
        self,
        lifted: Mapping[str, Any],
        todo: Sequence[Sequence[int]],
        wanted: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The wanted rows of each output after these items ran: [rows, columns], NaN if unwritten.

        lifted: the inputs that `dtypes` names, as the domain's `lift` gives them. todo: item
        numbers, a list a phase. wanted: bool arrays of the outputs' shapes without their last
        dimension.
        Raises: ExecutionError, LimitError.
        """
        program, domain = self._program, self._domain
        program.work.restart()
        try:
            for name, tensor in program.tensors.items():
                if tensor.kind == "input":
                    tensor.array = lifted[name]
                else:
                    tensor.array = domain.empty(tensor.dims, tensor.dtype)
                    tensor.owner = np.zeros(tensor.dims, np.int32)
            with np.errstate(all="ignore"), one_blas_thread():
                run_items(program, todo)
                found = {}
                for name, mask in wanted.items():
                    tensor = program.tensors[name]
                    assert tensor.owner is not None
                    found[name] = domain.lower(tensor.array[mask], tensor.owner[mask] > 0)
                return found
        finally:
            for tensor in program.tensors.values():
                tensor.array = tensor.owner = tensor.readers = None
