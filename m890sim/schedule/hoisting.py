"""Edits that move a statement out of the block around it, or into the block that uses it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.shapes import simplify
from m890sim.schedule.edit import Argument, Context, EditSpec, Site, refuse
from m890sim.schedule.effects import known_effects, names_in
from m890sim.schedule.stages import has_stages
from m890sim.schedule.tree import Body, block, insert, node, replace, with_children
from m890sim.schedule.written import uncovered_read

_NAMED = (ir.Let, ir.TileDecl)
_BLOCKS = (ir.Loop, ir.If, ir.Stage, ir.Cores)


def hoist(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves a statement out of its block, to before the loop, `if` or stage that it stands in.

    for j in range(n):             ->  b = 2 * i
        b = 2 * i                      a = sram(8, 8, bf16)
        a = sram(8, 8, bf16)           if 0 < n:
        load(a, x[b, :, :])                load(a, x[b, :, :])
        add(s, s, a)                   for j in range(n):
                                           add(s, s, a)

    What it uses is not defined in that block, and its name is free from there on. An assignment
    cannot fail (tables, divisions) unless the block is certain to run. A tile of a loop with stages
    is used in one stage. An instruction leaves a loop only, also from a stage of it: nothing else
    in the loop writes its operands, and nothing above it in the loop reads its result; where the
    loop may have no iteration, a condition guards it.
    """
    stmt = node(kernel, site)
    if len(site) < 2:
        raise refuse(stmt, "this statement stands in no block that it could leave")
    parent = node(kernel, site[:-1])
    if isinstance(stmt, ir.Instr):
        return _hoist_instruction(kernel, site, stmt)
    if not isinstance(stmt, _NAMED):
        raise refuse(stmt, "only assignments, tiles and instructions leave their block")
    used = known_effects(stmt).uses & _own_names(parent, site[-1])
    if used:
        raise refuse(stmt, f"`{stmt.name}` depends on `{min(used)}`, which belongs to its block")
    if isinstance(parent, ir.Cores):
        if isinstance(stmt, ir.TileDecl):
            raise refuse(stmt, "a tile belongs to its phase")
        place: Site = (next(i for i, s in enumerate(kernel.body) if isinstance(s, ir.Cores)),)
        around = _but(kernel.body, site[0])[place[0] :]
    else:
        place = site[:-1]
        siblings, at = block(kernel, place)
        around = siblings[at + 1 :]
    others = (*_but(ir.children(parent), site[-1]), *around)
    if any(stmt.name in known_effects(other).defines for other in others):
        raise refuse(stmt, f"`{stmt.name}` has another meaning beside or below that block")
    if isinstance(stmt, ir.Let):
        certain = isinstance(parent, ir.Stage) or (
            isinstance(parent, ir.Loop) and _runs(kernel, parent)
        )
        if not certain and not _total(stmt.value):
            raise refuse(
                stmt,
                f"`{stmt.name}` reads a table or divides, and would do so where its block may "
                "not run",
            )
    elif not has_an_extent(kernel, stmt):
        raise refuse(stmt, f"the extents of `{stmt.name}` would be negative")
    elif isinstance(parent, ir.Loop) and has_stages(parent):
        _refuse_carried(stmt, parent)
    left = with_children(parent, ir.children(parent), site[-1], 1, ())
    if isinstance(parent, ir.Cores):
        return insert(replace(kernel, site[:-1], left), place, stmt)
    return replace(kernel, place, stmt, left)


def _own_names(parent: ir.Stmt, before: int) -> set[str]:
    """Names that a block's header and its own statements up to a place define."""
    names: set[str] = set()
    if isinstance(parent, ir.Loop):
        names.add(parent.var)
    elif isinstance(parent, ir.Cores):
        names.update(parent.vars)
    names.update(c.name for c in ir.children(parent)[:before] if isinstance(c, _NAMED))
    return names


def _but(body: Body, index: int) -> Body:
    return body[:index] + body[index + 1 :]


def _runs(kernel: ir.Kernel, loop: ir.Loop) -> bool:
    """Whether a loop is certain to have an iteration."""
    trips = simplify(ir.Op("-", (loop.stop, loop.start)), kernel.tunables)
    return isinstance(trips, ir.Const) and trips.value > 0


def _total(expr: ir.Expr) -> bool:
    """Whether an integer expression has a value whatever its names stand for."""
    if isinstance(expr, ir.TableRef):
        return False
    if isinstance(expr, ir.Op):
        if expr.op in ("//", "%", "ceil_div"):
            divisor = expr.args[1]
            if not isinstance(divisor, ir.Const) or divisor.value == 0:
                return False
        return all(_total(arg) for arg in expr.args)
    return True


def has_an_extent(kernel: ir.Kernel, tile: ir.TileDecl) -> bool:
    """Whether a tile's extents are not known to be negative."""
    sizes = (simplify(dim, kernel.tunables) for dim in (tile.rows, tile.cols))
    return not any(isinstance(size, ir.Const) and size.value < 0 for size in sizes)


def _refuse_carried(tile: ir.TileDecl, loop: ir.Loop) -> None:
    stages = [
        child.index
        for child in loop.body
        if isinstance(child, ir.Stage) and _touches(child, tile.name)
    ]
    if len(stages) > 1:
        both = " and ".join(map(str, stages))
        raise refuse(tile, f"`{tile.name}` is used in stages {both}, so it belongs to the loop")


def _touches(stmt: ir.Stmt, name: str) -> bool:
    found = known_effects(stmt)
    return name in found.reads or name in found.writes


def _hoist_instruction(kernel: ir.Kernel, site: Site, stmt: ir.Instr) -> ir.Kernel:
    found = known_effects(stmt)
    place = site[:-1]
    if isinstance(node(kernel, place), ir.Stage):
        place = place[:-1]
    loop = node(kernel, place)
    if not isinstance(loop, ir.Loop):
        raise refuse(stmt, "an instruction leaves a loop only")
    if not found.writes:
        raise refuse(stmt, "a fence stays in its loop")
    names = found.uses | found.reads | found.writes
    own = names & known_effects(loop).defines
    if own:
        raise refuse(stmt, f"this instruction depends on `{min(own)}`, which belongs to the loop")
    if found.reads & found.writes:
        raise refuse(stmt, f"it changes `{min(found.reads & found.writes)}` in every iteration")
    if any(isinstance(ref, ir.TensorRef) for ref in stmt.operands[:1]):
        raise refuse(stmt, "a store stays in its loop")
    above, others = _around(loop, site[len(place) :])
    rest = known_effects(*others)
    clash = rest.writes & (found.reads | found.writes)
    if clash:
        raise refuse(stmt, f"`{min(clash)}` is written elsewhere in the loop too")
    early = known_effects(*above).reads & found.writes
    if early:
        raise refuse(stmt, f"`{min(early)}` is read above it in the loop")
    changed = _without(loop, site[len(place) :])
    out: ir.Stmt = stmt
    if not _runs(kernel, loop):
        out = ir.If(ir.Op("<", (loop.start, loop.stop)), (stmt,), loc=stmt.loc)
    return replace(kernel, place, out, changed)


def _around(loop: ir.Loop, path: Site) -> tuple[Body, Body]:
    """What stands above a statement in a loop, and everything in it but the statement."""
    above: Body = ()
    below: Body = ()
    stmt: ir.Stmt = loop
    for index in path:
        body = ir.children(stmt)
        above += body[:index]
        below = body[index + 1 :] + below
        stmt = body[index]
    return above, above + below


def _without(stmt: ir.Stmt, path: Site) -> ir.Stmt:
    body = ir.children(stmt)
    if len(path) == 1:
        return with_children(stmt, body, path[0], 1, ())
    return with_children(stmt, body, path[0], 1, (_without(body[path[0]], path[1:]),))


def sink(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> ir.Kernel:
    """Moves a statement into the block below that uses it: a loop, a stage, a branch of an `if`.

    a = sram(8, 8, bf16)           ->  for j in range(n):
    for j in range(n):                     a = sram(8, 8, bf16)
        load(a, x[j, :, :])                load(a, x[j, :, :])
        add(s, s, a)                       add(s, s, a)

    Nothing else uses what it defines or writes. A tile goes into every block that uses it, a tile
    of its own each, where no read can see what an earlier iteration or block wrote: what is read is
    written before, as the same piece or as the whole tile. An instruction reads and writes nothing
    that the statements in between or the rest of the block write, and its result is read in that
    block only.
    """
    stmt = node(kernel, site)
    body, index = block(kernel, site)
    below = body[index + 1 :]
    if isinstance(stmt, ir.Instr):
        return _sink_instruction(kernel, site, stmt, below)
    if not isinstance(stmt, _NAMED):
        raise refuse(stmt, "only assignments, tiles and instructions can sink")
    users = [i for i, other in enumerate(below) if _mentions(other, stmt.name)]
    if not users:
        raise refuse(stmt, f"nothing uses `{stmt.name}`; drop it instead")
    if isinstance(stmt, ir.Let) and len(users) > 1:
        raise refuse(stmt, f"`{stmt.name}` is used by several statements of its block")
    changed = list(below)
    for number, i in enumerate(users):
        if number:
            stmt = dataclasses.replace(stmt, comments=ir.NO_COMMENTS)
        changed[i] = _sunk_name(stmt, below[i])
    return replace(kernel, site, *changed, count=1 + len(below))


def _mentions(stmt: ir.Stmt, name: str) -> bool:
    found = known_effects(stmt)
    return name in found.uses or name in found.reads or name in found.writes


def _sunk_name(stmt: ir.Let | ir.TileDecl, target: ir.Stmt) -> ir.Stmt:
    """The target with a definition at the beginning of each block of it that uses it."""
    if not isinstance(target, _BLOCKS):
        raise refuse(stmt, f"`{stmt.name}` is used beside loops and branches too")
    branches = _branches(target)
    users = [
        number
        for number, body in enumerate(branches)
        if any(_mentions(child, stmt.name) for child in body)
    ]
    if isinstance(stmt, ir.Let):
        if _in_header(target, stmt.name):
            raise refuse(stmt, f"`{stmt.name}` is used by the bounds or the condition below")
        if len(users) > 1:
            raise refuse(stmt, f"both branches below use `{stmt.name}`")
        if isinstance(target, ir.Cores) and any(
            isinstance(part, ir.TileDecl) and stmt.name in known_effects(part).uses
            for part in ir.walk(target.body)
        ):
            raise refuse(stmt, f"`{stmt.name}` is the extent of a tile, which is fixed at launch")
    else:
        if isinstance(target, ir.Cores):
            raise refuse(stmt, "a tile belongs to its phase")
        for number in users:
            reader = uncovered_read(stmt, branches[number])
            if reader is not None:
                where = f" in line {reader.loc.line}" if reader.loc.line else ""
                raise refuse(
                    stmt,
                    f"`{stmt.name}` may be read{where} where this pass of the block below has not "
                    "written it",
                )
    for number in reversed(users):
        target = _begin(target, len(branches[0]) if number else 0, stmt)
    return target


def _branches(stmt: ir.Stmt) -> tuple[Body, ...]:
    return (stmt.then, stmt.orelse) if isinstance(stmt, ir.If) else (ir.children(stmt),)


def _begin(stmt: ir.Stmt, first: int, added: ir.Stmt) -> ir.Stmt:
    """A block with a statement before its child number `first`, in that child's branch."""
    body = ir.children(stmt)
    return with_children(stmt, body, first, 1, (added, body[first]))


def _in_header(stmt: ir.Stmt, name: str) -> bool:
    if isinstance(stmt, ir.Loop):
        parts: tuple[ir.Expr, ...] = (stmt.start, stmt.stop, stmt.step)
    elif isinstance(stmt, ir.If):
        parts = (stmt.condition,)
    elif isinstance(stmt, ir.Cores):
        parts = stmt.extents
    else:
        parts = ()
    return any(name in names_in(part) for part in parts)


def _sink_instruction(kernel: ir.Kernel, site: Site, stmt: ir.Instr, below: Body) -> ir.Kernel:
    found = known_effects(stmt)
    if not found.writes or not isinstance(stmt.operands[0], ir.TileRef):
        raise refuse(stmt, "only instructions that write tiles can sink")
    if found.reads & found.writes:
        raise refuse(stmt, f"it changes `{min(found.reads & found.writes)}`")
    offset = next(
        (i for i, other in enumerate(below) if known_effects(other).reads & found.writes),
        len(below),
    )
    target = below[offset] if offset < len(below) else None
    if not isinstance(target, (ir.Loop, ir.If)):
        raise refuse(stmt, "its result is not first read in a loop or a branch of its block")
    if isinstance(target, ir.Loop) and has_stages(target):
        raise refuse(stmt, "the loop that reads its result has stages; unstage it first")
    between = known_effects(*below[:offset])
    if between.writes & (found.reads | found.writes):
        clash = min(between.writes & (found.reads | found.writes))
        raise refuse(stmt, f"`{clash}` is written before the block that reads its result")
    branches = _branches(target)
    users = [i for i, part in enumerate(branches) if known_effects(*part).reads & found.writes]
    if len(users) > 1:
        raise refuse(stmt, "both branches below read its result")
    inside = known_effects(target)
    if isinstance(target, ir.Loop) and inside.writes & (found.reads | found.writes):
        clash = min(inside.writes & (found.reads | found.writes))
        raise refuse(stmt, f"`{clash}` is written in the loop too")
    for other in _elsewhere(kernel, (*site[:-1], site[-1] + 1 + offset)):
        seen = known_effects(other).reads & found.writes
        if seen:
            raise refuse(stmt, f"`{min(seen)}` is read outside that block too")
    for name in found.writes:
        tile = _declaration(kernel, site, name)
        if tile is None or uncovered_read(tile, branches[users[0]], (stmt,)) is not None:
            raise refuse(stmt, f"`{name}` may be read there in rows that this does not write")
    first = len(branches[0]) if users[0] else 0
    changed = (*below[:offset], _begin(target, first, stmt))
    return replace(kernel, site, *changed, count=2 + offset)


def _elsewhere(kernel: ir.Kernel, site: Site) -> Iterator[ir.Stmt]:
    """All statements of the kernel that lie neither at a site, below it nor around it."""
    body: Body = kernel.body
    for index in site:
        for at, stmt in enumerate(body):
            if at != index:
                yield stmt
        body = ir.children(body[index])


def _declaration(kernel: ir.Kernel, site: Site, name: str) -> ir.TileDecl | None:
    """The declaration of a tile that is visible at a site."""
    body: Body = kernel.body
    for index in site:
        for stmt in body[:index]:
            if isinstance(stmt, ir.TileDecl) and stmt.name == name:
                return stmt
        body = ir.children(body[index])
    return None


def _up(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if len(site) > 1 and isinstance(stmt, _NAMED):
        yield None
    elif len(site) > 2 and isinstance(stmt, ir.Instr) and stmt.op not in ("store", "fence"):
        parent = node(kernel, site[:-1])
        if isinstance(parent, (ir.Loop, ir.Stage)):
            yield None


def _down(kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context) -> Iterator[None]:
    if not isinstance(stmt, (*_NAMED, ir.Instr)):
        return
    if isinstance(stmt, ir.Instr) and stmt.op in ("store", "fence"):
        return
    body, index = block(kernel, site)
    if any(isinstance(other, _BLOCKS) for other in body[index + 1 :]):
        yield None


ROWS: tuple[EditSpec, ...] = (
    EditSpec("hoist", "move a statement out of the loop, branch or stage around it", _up, hoist),
    EditSpec("sink", "move a statement into the block below that alone uses it", _down, sink),
)
