"""Edits, family motion: what changes where a statement stands, not what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from m890sim.kernel import ir
from m890sim.schedule.core.effects import effects_of, independent
from m890sim.schedule.core.tree import Body, block, node, replace
from m890sim.schedule.edit import Argument, Context, EditSpec, Site, heads, refuse
from m890sim.schedule.edits.motion import hoist as hoisting
from m890sim.schedule.edits.motion import pipeline as pipelining
from m890sim.schedule.edits.motion import sink as sinking
from m890sim.schedule.edits.motion import stages, transfers

_DEFINITIONS = (ir.Let, ir.TileDecl)


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


def _move(kernel: ir.Kernel, site: Site, step: int, least: int, most: int) -> ir.Kernel:
    stmt = node(kernel, site)
    body, index = block(kernel, site)
    passed, reason = _distance(body, index, step, most)
    if passed < least:
        way = "up" if step < 0 else "down"
        far = "" if least == 1 else f" past {least} statements"
        raise refuse(stmt, f"this statement cannot move {way}{far}: {reason}")
    if step < 0:
        first = (*site[:-1], site[-1] - passed)
        return replace(kernel, first, stmt, *body[index - passed : index], count=passed + 1)
    others = body[index + 1 : index + 1 + passed]
    return replace(kernel, site, *others, stmt, count=passed + 1)


def move_up(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Exchanges a statement with the one above it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    Neither may write what the other reads or writes (whole tiles and tensors count), nor define a
    name that the other uses or defines. Fences pass everything. Stages keep their order, phases
    their places.
    """
    return _move(kernel, site, -1, 1, 1)


def move_down(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Exchanges a statement with the one below it in its block.

    fill(m, 0.0)         ->  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up`.
    """
    return _move(kernel, site, 1, 1, 1)


def move_up_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves a statement up past all statements above it of which it is independent.

    fill(m, 0.0)         ->  load(a, x[:, :])
    fence()                  fill(m, 0.0)
    load(a, x[:, :])         fence()

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, -1, 2, len(block(kernel, site)[0]))


def move_down_far(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves a statement down past all statements below it of which it is independent.

    fill(m, 0.0)         ->  fence()
    fence()                  load(a, x[:, :])
    load(a, x[:, :])         fill(m, 0.0)

    The preconditions of `move_up` for each statement that it passes, at least two.
    """
    return _move(kernel, site, 1, 2, len(block(kernel, site)[0]))


def _movable(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, definitions: bool
) -> tuple[int, int]:
    """How many statements stand above and below in the block; none for what is not worth moving.

    A fence is not: other statements move past it, it can be removed and put elsewhere.
    """
    kinds = (ir.Instr, ir.If, ir.Loop, *(_DEFINITIONS if definitions else ()))
    if not isinstance(stmt, kinds) or (isinstance(stmt, ir.Instr) and stmt.op == "fence"):
        return 0, 0
    body, index = block(kernel, site)
    return index, len(body) - 1 - index


def _up(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if _movable(kernel, site, stmt, True)[0] >= 1:
        yield None


def _down(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if _movable(kernel, site, stmt, False)[1] >= 1:
        yield None


def _up_far(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if _movable(kernel, site, stmt, False)[0] >= 2:
        yield None


def _down_far(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[None]:
    if _movable(kernel, site, stmt, False)[1] >= 2:
        yield None


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


def _require(step: int, least: int) -> Callable[[ir.Kernel, Site, Argument, Context], None]:
    """Whether a statement can pass so many neighbours."""

    def require(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> None:
        body, index = block(kernel, site)
        passed, reason = _distance(body, index, step, least)
        if passed < least:
            raise refuse(body[index], reason)
        if _idle(body[index]) and _passes_equals(body, index, step, 1 if least == 1 else len(body)):
            raise refuse(body[index], "it would pass its equals only")

    return require


_MOVED = heads("Instr", "If", "Loop") - {"fence"}

ROWS: tuple[EditSpec, ...] = (
    EditSpec(
        "move_up",
        "exchange a statement with the one above it",
        _up,
        move_up,
        _MOVED | {"Let", "TileDecl"},
        neighbours,
        _require(-1, 1),
    ),
    EditSpec(
        "move_down",
        "exchange a statement with the one below it",
        _down,
        move_down,
        _MOVED,
        neighbours,
        _require(1, 1),
    ),
    EditSpec(
        "move_up_far",
        "move a statement up past all that it is independent of",
        _up_far,
        move_up_far,
        _MOVED,
        neighbours,
        _require(-1, 2),
    ),
    EditSpec(
        "move_down_far",
        "move a statement down past all that it is independent of",
        _down_far,
        move_down_far,
        _MOVED,
        neighbours,
        _require(1, 2),
    ),
    *hoisting.ROWS,
    *sinking.ROWS,
    *pipelining.ROWS,
    *stages.ROWS,
    *transfers.ROWS,
)
