"""A table of toy edits, so that what a session does is tested apart from what edits there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.schedule import Context, Edit, EditError, EditSpec, Site
from m890sim.schedule.core.tree import node, replace, sites
from m890sim.workloads import AttentionCase

# Small, so that the functional gate takes milliseconds.
CASE = AttentionCase("toy", "extend", (20, 0), (30, 65), 2, 1, 32, 4, True)
OTHER_CASE = AttentionCase("toy-2", "extend", (0,), (40,), 2, 2, 32, 4)


def tile_arguments(
    _kernel: ir.Kernel, _site: Site, stmt: ir.Stmt | None, _context: Context
) -> Iterable[int]:
    return () if stmt is not None else (16, 32, 128)


def set_tile(kernel: ir.Kernel, _site: Site, argument: object, _context: Context) -> ir.Kernel:
    """Set the tunable BQ.

    before: `BQ: Tunable = 64`
    after: `BQ: Tunable = 32`
    """
    assert isinstance(argument, int)
    params = tuple(
        dataclasses.replace(p, default=argument) if p.name == "BQ" else p for p in kernel.params
    )
    return dataclasses.replace(kernel, params=params)


def instr_arguments(op: str):
    def arguments(
        _kernel: ir.Kernel, _site: Site, stmt: ir.Stmt | None, _context: Context
    ) -> Iterable[None]:
        return (None,) if isinstance(stmt, ir.Instr) and stmt.op == op else ()

    return arguments


def drop_instr(op: str):
    def rewrite(kernel: ir.Kernel, site: Site, _argument: object, _context: Context) -> ir.Kernel:
        stmt = node(kernel, site)
        if not isinstance(stmt, ir.Instr) or stmt.op != op:
            raise EditError(f"there is no {op} at {site}")
        return replace(kernel, site)

    return rewrite


def remark(kernel: ir.Kernel, _site: Site, argument: object, _context: Context) -> ir.Kernel:
    """Change the docstring, and with it neither meaning nor digest."""
    return dataclasses.replace(kernel, doc=str(argument))


TOYS = {
    row.name: row
    for row in (
        EditSpec("set_tile", "set the tunable BQ", tile_arguments, set_tile),
        EditSpec("drop_fence", "remove a fence", instr_arguments("fence"), drop_instr("fence")),
        # Against what an edit promises: it changes the meaning.
        EditSpec(
            "drop_mask",
            "remove a causal mask",
            instr_arguments("causal_mask"),
            drop_instr("causal_mask"),
        ),
        EditSpec("remark", "change the docstring", lambda *_: (), remark),
    )
}


def fences(kernel: ir.Kernel) -> list[Edit]:
    """An edit for every fence of the kernel, in source order."""
    return [
        Edit("drop_fence", site)
        for site, stmt in sites(kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == "fence"
    ]


def mask(kernel: ir.Kernel) -> Edit:
    """The edit that makes the kernel wrong."""
    return next(
        Edit("drop_mask", site)
        for site, stmt in sites(kernel)
        if isinstance(stmt, ir.Instr) and stmt.op == "causal_mask"
    )
