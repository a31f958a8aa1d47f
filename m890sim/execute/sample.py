"""Choosing work items to run, and finding those of earlier phases that they depend on."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from m890sim.execute.compile import ItemCompiler, Program, tensor_uses
from m890sim.execute.domain import Domain
from m890sim.execute.items import run_items
from m890sim.execute.launch import Launch
from m890sim.kernel import ir
from m890sim.kernel.transform import Body, Transformer
from m890sim.language import Limits
from m890sim.messages import described

Items = int | float | Sequence[int] | None


def choose(items: int | float | Sequence[int], total: int, seed: int) -> list[int]:
    """Numbers of the chosen work items, ascending. Raises: TypeError, ValueError."""
    if isinstance(items, (Sequence, np.ndarray)) and not isinstance(items, (str, bytes)):
        numbers = sorted({operator.index(n) for n in items})
        if numbers and not 0 <= numbers[0] <= numbers[-1] < total:
            raise ValueError(
                f"items must lie between 0 and {total - 1}, not {numbers[0]} to {numbers[-1]}"
            )
        return numbers
    if isinstance(items, bool) or not isinstance(items, (int, float, np.integer, np.floating)):
        raise TypeError(f"items must be a number, a share or item numbers, not {described(items)}")
    if isinstance(items, (float, np.floating)):
        if not 0.0 < items <= 1.0:
            raise ValueError(f"items as a share must be above 0 and at most 1, not {items}")
        count = max(1, round(items * total)) if total else 0
    else:
        count = min(int(items), total)
        if items < 1:
            raise ValueError(f"items must be at least 1, not {described(items)}")
    drawn: Any = np.random.default_rng(seed).choice(total, count, replace=False) if count else []
    return sorted(int(n) for n in drawn)


def needed_items(
    kernel: ir.Kernel, launch: Launch, chosen: list[int] | None, program: Program, limits: Limits
) -> list[Sequence[int]]:
    """Items to run, a phase each: those chosen of the last phase, and whatever they depend on.

    Found by running the loads and stores of HBM scratch alone, without values, and noting whose
    elements each work item reads.
    """
    sizes = [phase.items for phase in program.phases]
    if chosen is None:
        return [range(n) for n in sizes]
    if len(sizes) == 1:
        return [chosen]
    shadow = ItemCompiler(
        addresses_only(kernel), launch, cast(Domain, ShapeDomain()), limits
    ).program()
    sources: dict[int, set[int]] = {}
    run_items(shadow, [*(range(n) for n in sizes[:-1]), chosen], sources)
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    needed: set[int] = {starts[-1] + item + 1 for item in chosen}
    for item in range(starts[-1] + sizes[-1], 0, -1):  # readers come after those that they read
        if item in needed:
            needed |= sources.get(item, set())
    return [
        sorted(item - start - 1 for item in needed if start < item <= start + size)
        for start, size in zip(starts, sizes, strict=True)
    ]


def addresses_only(kernel: ir.Kernel, *, outputs: bool = False) -> ir.Kernel:
    """The kernel with nothing left but what moves HBM scratch; what is stored is filled first.

    outputs: what stores to parameters stays too.
    """
    kept = {stmt.name for stmt in kernel.body if isinstance(stmt, ir.HbmDecl)}
    if outputs:
        kept |= set(tensor_uses(kernel.body)[1])
    return replace(kernel, body=_Addresses(kept).block(kernel.body))


class _Addresses(Transformer):
    """Leaves what moves some tensors, and the blocks that hold it."""

    def __init__(self, tensors: set[str]) -> None:
        self.tensors = tensors

    def block(self, body: Body) -> Body:
        kept: list[ir.Stmt] = []
        for stmt in body:
            if isinstance(stmt, ir.Instr):
                refs = [ref for ref in stmt.operands if isinstance(ref, ir.TensorRef)]
                if any(ref.tensor in self.tensors for ref in refs):
                    if stmt.op == "store":
                        filled = (stmt.operands[1], ir.Const(0.0))
                        kept.append(ir.Instr("fill", filled, loc=stmt.loc))
                    kept.append(stmt)
                continue
            made = self.statement(stmt)
            if not isinstance(made, (ir.Loop, ir.Stage, ir.If)) or any(
                isinstance(inner, ir.Instr) for inner in ir.walk((made,))
            ):
                kept.append(made)
        return tuple(kept)


class ShapeDomain:
    """As much of a domain as loads, stores and fills use: arrays of a shape, without values."""

    def lift(self, name: str, values: Any, dtype: str) -> Any:
        return self.empty(np.shape(values), dtype)

    def number(self, value: float) -> Any:
        return self.empty((1, 1), "f32")

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        return np.broadcast_to(np.float32(0.0), shape)

    pick = staticmethod(operator.getitem)

    def take(self, array: Any, rows: Any, axis: int) -> Any:
        return self.empty((*array.shape[:axis], len(rows), *array.shape[axis + 1 :]), "f32")

    def reshape(self, array: Any, shape: tuple[int, ...]) -> Any:
        return self.empty(shape, "f32")

    def write(self, target: Any, value: Any, dtype: str | None) -> None:
        pass

    def put(self, array: Any, rows: Any, value: Any, dtype: str | None) -> None:
        pass
