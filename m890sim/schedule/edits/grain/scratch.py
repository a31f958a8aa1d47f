"""The order of an HBM scratch's dimensions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

from m890sim.kernel import ir
from m890sim.kernel.transform import map_pieces
from m890sim.schedule.core.tree import expect, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse

_T = TypeVar("_T")
MOST = 4  # dimensions that are offered


def swap_dims_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The first dimensions of a scratch, but for its last one."""
    if isinstance(stmt, ir.HbmDecl):
        yield from range(min(len(stmt.dims) - 1, MOST))


@edit(58, on="HbmDecl", arguments=swap_dims_arguments, exact=True)
def swap_dims(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Two neighbouring dimensions of an HBM scratch change places, in every use of it.

    before: scores = hbm(H, T, S, f32)
            store(scores[h, i : i + n, :], st)
    after:  scores = hbm(T, H, S, f32)
            store(scores[i : i + n, h, :], st)

    Argument: the number of the first of the two.
    Preconditions: a scratch with a dimension behind the one named; no piece of it takes a slice of
    both, as the rows of such a piece would come in another order.
    """
    stmt = expect(kernel, site, ir.HbmDecl)
    if not isinstance(argument, int) or not 0 <= argument < len(stmt.dims) - 1:
        raise refuse(stmt, f"`{stmt.name}` has dimensions 0 to {len(stmt.dims) - 1}")
    name, first = stmt.name, argument
    for user in ir.walk(kernel.body):
        for ref in user.operands if isinstance(user, ir.Instr) else ():
            if isinstance(ref, ir.TensorRef) and ref.tensor == name:
                pair = ref.index[first : first + 2]
                if all(isinstance(entry, ir.Slice | ir.Gather) for entry in pair):
                    raise refuse(user, f"this piece of `{name}` takes a slice of both dimensions")

    def swapped(_: ir.Instr, ref: ir.TensorRef) -> ir.TensorRef:
        swap = ref.tensor == name
        return dataclasses.replace(ref, index=_swap(ref.index, first)) if swap else ref

    def build() -> ir.Kernel:
        body = map_pieces(kernel.body, tensor=swapped)
        changed = dataclasses.replace(stmt, dims=_swap(stmt.dims, first))
        return replace(dataclasses.replace(kernel, body=body), site, changed)

    # Where nothing uses a square scratch, it stays as it was.
    return build() if stmt.dims[first] == stmt.dims[first + 1] else build


def _swap(parts: tuple[_T, ...], first: int) -> tuple[_T, ...]:
    return (*parts[:first], parts[first + 1], parts[first], *parts[first + 2 :])
