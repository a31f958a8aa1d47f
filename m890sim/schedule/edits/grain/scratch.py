"""The order of an HBM scratch's dimensions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

from m890sim.kernel import ir
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.tree import Body, node
from m890sim.schedule.edit import Argument, Context, Site, edit, refuse

_T = TypeVar("_T")
MOST = 4  # dimensions that are offered


def swap_dims_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """The first dimensions of a scratch, but for its last one."""
    if isinstance(stmt, ir.HbmDecl):
        yield from range(min(len(stmt.dims) - 1, MOST))


@edit(
    58,
    "exchange two dimensions of an HBM scratch",
    on="HbmDecl",
    arguments=swap_dims_arguments,
    exact=True,
)
def swap_dims(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Two neighbouring dimensions of an HBM scratch change places, in every use of it.

    before: scores = hbm(H, T, S, f32)
            store(scores[h, i : i + n, :], st)
    after:  scores = hbm(T, H, S, f32)
            store(scores[i : i + n, h, :], st)

    Argument: the number of the first of the two.
    Preconditions: a scratch with a dimension behind the one named; no piece of it takes a slice of
    both, as the rows of such a piece would come in another order.
    """
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.HbmDecl):
        raise refuse(stmt, "the edit acts on HBM scratch (`name = hbm(...)`), this is none")
    if not isinstance(argument, int) or not 0 <= argument < len(stmt.dims) - 1:
        raise refuse(stmt, f"`{stmt.name}` has dimensions 0 to {len(stmt.dims) - 1}")
    swapped = dataclasses.replace(stmt, dims=_swap(stmt.dims, argument))
    body = [_in(part, stmt.name, argument) for part in kernel.body]
    body[site[0]] = swapped
    return dataclasses.replace(kernel, body=tuple(body))


def _swap(parts: tuple[_T, ...], first: int) -> tuple[_T, ...]:
    return (*parts[:first], parts[first + 1], parts[first], *parts[first + 2 :])


def _in(stmt: ir.Stmt, name: str, first: int) -> ir.Stmt:
    """A statement with the dimensions of a scratch swapped; itself where it does not touch it."""
    found = known_effects(stmt)
    if name not in found.reads and name not in found.writes:
        return stmt
    if isinstance(stmt, ir.Instr):
        operands = tuple(_operand(stmt, value, name, first) for value in stmt.operands)
        return dataclasses.replace(stmt, operands=operands)
    if isinstance(stmt, ir.If):
        then, orelse = _all(stmt.then, name, first), _all(stmt.orelse, name, first)
        return dataclasses.replace(stmt, then=then, orelse=orelse)
    if isinstance(stmt, (ir.Loop, ir.Stage, ir.Cores)):
        return dataclasses.replace(stmt, body=_all(stmt.body, name, first))
    return stmt


def _all(body: Body, name: str, first: int) -> Body:
    return tuple(_in(stmt, name, first) for stmt in body)


def _operand(stmt: ir.Instr, value: ir.Operand, name: str, first: int) -> ir.Operand:
    if not isinstance(value, ir.TensorRef) or value.tensor != name:
        return value
    pair = value.index[first : first + 2]
    if all(isinstance(entry, ir.Slice | ir.Gather) for entry in pair):
        raise refuse(stmt, f"this piece of `{name}` takes a slice of both dimensions")
    return dataclasses.replace(value, index=_swap(value.index, first))
