"""Edits, family motion: what changes where a statement stands, not what it does."""

from __future__ import annotations

from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, independent
from m890sim.schedule.core.tree import Body, block, node, replace
from m890sim.schedule.edit import Argument, Context, Offers, Planned, Site, edit, heads, refuse

_MOVED = heads("Instr", "If", "Loop") - {"fence"}


def _obstacle(stmt: ir.Stmt, other: ir.Stmt) -> str:
    """Why two neighbours may not change places; "" where they may."""
    if isinstance(stmt, ir.Cores) or isinstance(other, ir.Cores):
        return "phases keep their places, and what stands above them stays there"
    if isinstance(stmt, ir.Stage) and isinstance(other, ir.Stage):
        return "stages stand in the order of their numbers"
    if not independent(stmt, other):
        where = f" in line {other.loc.line}" if other.loc.line else ""
        return f"it and its neighbour{where} use the same tile, tensor or name"
    return ""


def _distance(body: Body, index: int, step: int, most: int) -> tuple[int, str]:
    """How many neighbours a statement can pass, at most `most`, and what stops it."""
    passed = 0
    at = index + step
    while passed < most and 0 <= at < len(body):
        reason = _obstacle(body[index], body[at])
        if reason:
            return passed, reason
        passed += 1
        at += step
    return passed, "" if passed == most else "its block ends there"


def _move(kernel: ir.Kernel, site: Site, step: int, least: int) -> Planned:
    """Moves a statement up (-1) or down (1) past one, or past `least` and as many as it can."""
    stmt = node(kernel, site)
    body, index = block(kernel, site)
    passed, reason = _distance(body, index, step, least)
    if passed < least:
        way = "up" if step < 0 else "down"
        far = "" if least == 1 else f" past {least} statements"
        raise refuse(stmt, f"this statement cannot move {way}{far}: {reason}")
    most = 1 if least == 1 else len(body)
    if _idle(stmt) and _passes_equals(body, index, step, most):
        raise refuse(stmt, "it would pass its equals only")

    def build() -> ir.Kernel:
        passed, _ = _distance(body, index, step, most)
        if step < 0:
            first = (*site[:-1], site[-1] - passed)
            return replace(kernel, first, stmt, *body[index - passed : index], count=passed + 1)
        others = body[index + 1 : index + 1 + passed]
        return replace(kernel, site, *others, stmt, count=passed + 1)

    return build


def _idle(stmt: ir.Stmt) -> bool:
    """Whether it writes and defines nothing: alone such statements can pass their equals."""
    if not isinstance(stmt, ir.If):
        return False
    found = effects_of(stmt)
    return not found.writes and not found.defines


def _passes_equals(body: Body, index: int, step: int, most: int) -> bool:
    """Whether all that a statement can pass are equal to it."""
    at = index + step
    for _ in range(most):
        if not 0 <= at < len(body) or _obstacle(body[index], body[at]):
            return True
        if body[at] != body[index]:
            return False
        at += step
    return True


def neighbours(kernel: ir.Kernel, site: Site, stmt: ir.Stmt) -> tuple[object, ...]:
    """Scope: a statement and the two on either side of it."""
    body, index = block(kernel, site)
    if _idle(stmt):
        return (*body[:index], None, *body[index:])
    last = len(body) - 1
    return (
        body[index - 2] if index > 1 else None,
        body[index - 1] if index else None,
        stmt,
        body[index + 1] if index < last else None,
        body[index + 2] if index + 1 < last else None,
    )


def _past(step: int, least: int) -> Offers:
    """Offers no argument where so many statements stand above (-1) or below (1) in the block."""

    def arguments(
        kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
    ) -> Iterator[None]:
        body, index = block(kernel, site)
        if (index if step < 0 else len(body) - 1 - index) >= least:
            yield None

    return arguments


@edit(12, on=_MOVED | {"Let", "TileDecl"}, arguments=_past(-1, 1), scope=neighbours, exact=True)
def move_up(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Exchanges a statement with the one above it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    Neither may write what the other reads or writes (whole tiles and tensors count), nor define a
    name that the other uses or defines. Fences pass everything. Stages keep their order, phases
    their places.
    """
    return _move(kernel, site, -1, 1)


@edit(13, on=_MOVED, arguments=_past(1, 1), scope=neighbours, exact=True)
def move_down(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Exchanges a statement with the one below it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up`.
    """
    return _move(kernel, site, 1, 1)


@edit(14, on=_MOVED, arguments=_past(-1, 2), scope=neighbours, exact=True)
def move_up_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement up past all statements above it of which it is independent.

    fill(m, 0.0)         ->  load(a, x[:, :])
    fence()                  fill(m, 0.0)
    load(a, x[:, :])         fence()

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, -1, 2)


@edit(15, on=_MOVED, arguments=_past(1, 2), scope=neighbours, exact=True)
def move_down_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Moves a statement down past all statements below it of which it is independent.

    fill(m, 0.0)         ->  fence()
    fence()                  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, 1, 2)
