"""Running a kernel on numbers: its outputs, what was written and what ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from m890sim.execute.batch import Batched, run_batches
from m890sim.execute.compile import ItemCompiler, Program
from m890sim.execute.domain import Domain
from m890sim.execute.floats import FloatDomain
from m890sim.execute.items import run_items
from m890sim.execute.lanes import Unbatched
from m890sim.execute.launch import make_launch
from m890sim.execute.sample import Items, choose, needed_items
from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS, Limits

LEAST_ITEMS = 8  # of a phase: for fewer, finding out which go the same way costs more than it saves


@dataclass(frozen=True, slots=True)
class Execution:
    """What a run gave.

    outputs: every tensor that the launch did not give, by name; NaN where nothing was written.
    written: which elements of each output were written (same shapes, bool). instructions: how many
    ran, fences included. items: the work items that ran, one ascending array a phase, numbered in
    row-major order.
    """

    outputs: Mapping[str, Any]
    written: Mapping[str, NDArray[np.bool_]]
    instructions: int
    items: tuple[NDArray[np.int64], ...]


def run_kernel(
    kernel: ir.Kernel,
    symbols: Mapping[str, SupportsIndex],
    tables: Mapping[str, Any],
    scalars: Mapping[str, float],
    tensors: Mapping[str, Any],
    *,
    domain: Domain | None = None,
    items: Items = None,
    seed: int = 0,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Any]:
    """The outputs of a checked kernel; `execute_kernel` says the rest."""
    done = execute_kernel(
        kernel,
        symbols,
        tables,
        scalars,
        tensors,
        domain=domain,
        items=items,
        seed=seed,
        limits=limits,
    )
    return dict(done.outputs)


def execute_kernel(
    kernel: ir.Kernel,
    symbols: Mapping[str, SupportsIndex],
    tables: Mapping[str, Any],
    scalars: Mapping[str, float],
    tensors: Mapping[str, Any],
    *,
    domain: Domain | None = None,
    items: Items = None,
    seed: int = 0,
    todo: Sequence[Sequence[int]] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    batches: bool = True,
) -> Execution:
    """Run a checked kernel, statement by statement, work items in row-major order.

    symbols: every dimension name and Size. tables: 1-D integers. scalars: floats. tensors: the
    inputs, of the shapes that the kernel declares; they are rounded to their dtypes. Tensor
    parameters that are not given are outputs.
    domain: what the numbers are; float32 rounded to each dtype by default.
    items: None for all work items; an integer for so many of the last phase, drawn with `seed`; a
    float above 0 and up to 1 for that share of them; a sequence of item numbers. Of earlier phases,
    what these depend on runs. The same arguments give the same bits on one machine.
    todo: instead, the item numbers of each phase that run, and nothing else, as
    `Footprint.items_for` gives them.
    batches: items that go the same way run together where the domain takes batches; False runs
    every item by itself, the slow twin. Outputs may differ in the last bits of matrix products.
    Raises: ExecutionError E4xx with the place of the instruction; LimitError E505, E506, E509;
    BindError E304; TypeError and ValueError for items that do not exist.
    """
    if items is not None and todo is not None:
        raise ValueError("give items or todo, not both")
    domain = FloatDomain() if domain is None else domain
    # infinities and NaNs are values like others here
    with np.errstate(all="ignore"), one_blas_thread():
        launch = make_launch(kernel, symbols, tables, scalars, tensors, domain)
        program = ItemCompiler(kernel, launch, domain, limits).program()
        chosen = (
            None
            if items is None or not program.phases
            else choose(items, program.phases[-1].items, seed)
        )
        try:
            if todo is None:
                todo = needed_items(kernel, launch, chosen, program, limits)
            else:
                todo = _checked(todo, program)
            most = max(map(len, todo), default=0)
            if batches and most >= LEAST_ITEMS and getattr(domain, "batches", False):
                try:
                    done = run_batches(kernel, launch, domain, limits, program, todo)
                    return _result(program, domain, todo, done)
                except Unbatched:
                    pass  # something is wrong, or lanes can't do it: exactly, item by item
            run_items(program, todo)
            return _result(program, domain, todo)
        finally:
            # Programs are full of cycles: their tensors would stay until those are collected.
            for tensor in program.tensors.values():
                tensor.array = tensor.owner = tensor.readers = None


def _checked(todo: Sequence[Sequence[int]], program: Program) -> list[Sequence[int]]:
    phases = program.phases
    if len(todo) != len(phases):
        raise ValueError(f"todo must hold {len(phases)} lists, one a phase, not {len(todo)}")
    return [choose(list(numbers), p.items, 0) for numbers, p in zip(todo, phases, strict=True)]


def one_blas_thread() -> AbstractContextManager[Any]:
    """A context in which BLAS uses one thread.

    Tiles are small: a second thread costs more than it brings, much more where cores are shared,
    and results must not depend on how many cores a machine has.
    """
    limiter: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limiter


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _result(
    program: Program,
    domain: Domain,
    todo: Sequence[Sequence[int]],
    batched: Batched | None = None,
) -> Execution:
    outputs: dict[str, Any] = {}
    written: dict[str, NDArray[np.bool_]] = {}
    for name, tensor in program.tensors.items():
        if tensor.kind == "output" and tensor.owner is not None:
            written[name] = tensor.owner > 0 if batched is None else batched.written[name]
            outputs[name] = domain.lower(tensor.array, written[name])
    items = tuple(np.asarray(numbers, np.int64) for numbers in todo)
    count = program.work.instructions if batched is None else batched.instructions
    return Execution(outputs, written, count, items)
