"""Edits, family motion: what changes where a statement stands, not what it does."""

from __future__ import annotations

from itertools import takewhile

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, independent
from m890sim.schedule.core.tree import block, replace
from m890sim.schedule.edit import Argument, Context, Only, Planned, Site, edit, heads, refuse

_MOVED = heads("Instr", "If", "Loop") - {"fence"}


def _move(kernel: ir.Kernel, site: Site, step: int, least: int) -> Planned:
    """Moves a statement up (-1) or down (1) past one, or past `least` and as many as it can."""
    body, index = block(kernel, site)
    stmt = body[index]
    others = body[index + 1 :] if step > 0 else body[:index][::-1]  # the nearest first
    if least == 1:
        others = others[:1]
    passed = tuple(takewhile(lambda other: independent(stmt, other), others))
    if len(passed) < least:
        line = others[len(passed)].loc.line
        where = f" in line {line}" if line else ""
        found = f"it and its neighbour{where} use the same tile, tensor or name"
        raise refuse(stmt, f"this statement cannot move {'up' if step < 0 else 'down'}: {found}")
    # What writes and defines nothing passes its equals, and nothing would change.
    if all(other == stmt for other in passed):
        raise refuse(stmt, "it would pass its equals only")

    def build() -> ir.Kernel:
        if step > 0:
            return replace(kernel, site, *passed, stmt, count=len(passed) + 1)
        first = (*site[:-1], site[-1] - len(passed))
        return replace(kernel, first, stmt, *reversed(passed), count=len(passed) + 1)

    return build


def _neighbours(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement and the two on either side of it; all where it may pass its equals."""
    body, index = block(kernel, site)
    if isinstance(stmt, ir.If) and not (effects_of(stmt).writes or effects_of(stmt).defines):
        return (*body[:index], None, *body[index:])
    return (*body[max(index - 2, 0) : index], None, *body[index : index + 3])


def _past(step: int, least: int) -> Only:
    """Places with so many statements above (-1) or below (1) in the block."""

    def has_room(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> bool:
        body, index = block(kernel, site)
        return (index if step < 0 else len(body) - 1 - index) >= least

    return has_room, f"its block ends there, before it has passed {least}"


@edit(12, on=_MOVED | {"Let", "TileDecl"}, only=_past(-1, 1), scope=_neighbours, exact=True)
def move_up(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Exchanges a statement with the one above it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    Neither may write what the other reads or writes (whole tiles and tensors count), nor define a
    name that the other uses or defines. Fences pass everything. Stages keep their order, phases
    their places.
    """
    return _move(kernel, site, -1, 1)


@edit(13, on=_MOVED, only=_past(1, 1), scope=_neighbours, exact=True)
def move_down(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Exchanges a statement with the one below it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up`.
    """
    return _move(kernel, site, 1, 1)


@edit(14, on=_MOVED, only=_past(-1, 2), scope=_neighbours, exact=True)
def move_up_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement up past all statements above it of which it is independent.

    fill(m, 0.0)         ->  load(a, x[:, :])
    fence()                  fill(m, 0.0)
    load(a, x[:, :])         fence()

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, -1, 2)


@edit(15, on=_MOVED, only=_past(1, 2), scope=_neighbours, exact=True)
def move_down_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement down past all statements below it of which it is independent.

    fill(m, 0.0)         ->  fence()
    fence()                  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, 1, 2)
