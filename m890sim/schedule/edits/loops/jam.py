"""Unroll-and-jam of work items: two items in one, their statements interleaved one by one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import partial

from m890sim.kernel import ir
from m890sim.kernel.transform import copied
from m890sim.schedule.core.copying import (
    MOST_NODES,
    MOST_STATEMENTS,
    Namer,
    all_names,
    operators,
    require_nodes,
    require_room,
    require_shallow,
    touched,
)
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.fingerprints import bag_of_kernel
from m890sim.schedule.core.scope_keys import Remembered
from m890sim.schedule.core.sizes import nodes, size_of, statements
from m890sim.schedule.core.tree import Body, replace
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.items import on_variables, phase_at
from m890sim.schedule.edits.loops.jam_size import at_most, different, jammed
from m890sim.schedule.edits.loops.unroll import add, subtract, times


@edit(35, on="Cores", arguments=on_variables, exact=True)
def unroll_jam(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """Two neighbouring work items become one, which does them side by side, in ping-pong.

    for i in cores(n):   ->   for i_2 in cores(ceil_div(n, 2)):
        load(a, q[i, :])          i = i_2 * 2
        for j in range(m):        i_3 = min(i_2 * 2 + 1, n - 1)
            load(k, x[j, :])      load(a, q[i, :])
            mul(a, a, k)          load(a_2, q[i_3, :])
        store(o[i, :], a)         for j in range(m):
                                      load(k, x[j, :])
                                      mul(a, a, k)
                                      mul(a_2, a_2, k)
                                  store(o[i, :], a)
                                  store(o[i_3, :], a_2)

    Argument: the variable's number. Where the number of items is odd, the last item is done twice,
    with the same results. Loops of the two with equal bounds become one; where only their ends
    differ, one loop as far as both go, and the rest behind it. A tile to which both do the same
    is kept once.
    Preconditions: a phase with that variable; no HBM scratch is both loaded and stored in it (done
    twice, an item would read its own results); the kernel stays within the limits on its size and
    depth.
    """

    def make() -> EditError | None:
        try:
            *_, small = _required(kernel, site, argument, quick=True)
            if not small:
                _jammed(kernel, site, argument)
        except EditError as error:
            return error
        return None

    found = _LEGAL.get((bag_of_kernel(kernel),), make, site, argument)
    if found is not None:
        raise EditError(str(found))
    return lambda: _jammed(kernel, site, argument)


_LEGAL: Remembered[EditError | None] = Remembered(5_000)


def _jammed(kernel: ir.Kernel, site: Site, argument: Argument) -> ir.Kernel:
    stmt, number, own, _ = _required(kernel, site, argument)
    var, extent = stmt.vars[number], stmt.extents[number]
    counts = Counter(all_names(kernel.body))
    while True:
        namer = Namer(kernel)
        outer, second = namer.fresh(var), namer.fresh(var)
        jam = _Jam(namer, set(own), counts)
        body = jam.block(stmt.body, {var: second})
        if jam.shared == own:
            break
        own = jam.shared
    lets = (
        ir.Let(var, times(ir.Name(outer), 2), loc=stmt.loc),
        ir.Let(second, _second(outer, extent), loc=stmt.loc),
    )
    extents = list(stmt.extents)
    extents[number] = ir.Op("ceil_div", (extent, ir.Const(2)))
    names = (*stmt.vars[:number], outer, *stmt.vars[number + 1 :])
    changed = dataclasses.replace(stmt, vars=names, extents=tuple(extents), body=(*lets, *body))
    result = replace(kernel, site, changed)
    require_nodes(stmt, nodes(result))
    return result


def _second(outer: str, extent: ir.Expr) -> ir.Expr:
    """The second of the two items; the last one again where there is none."""
    after = add(times(ir.Name(outer), 2), ir.Const(1))
    return ir.Op("min", (after, subtract(extent, ir.Const(1))))


def _required(
    kernel: ir.Kernel, site: Site, argument: Argument, quick: bool = False
) -> tuple[ir.Cores, int, set[str], bool]:
    """The phase, the number of the variable, and the tiles of which one may be enough.

    Last, whether the kernel is sure to stay within the limit on nodes.
    """
    stmt, number = phase_at(kernel, site, argument)
    require_room(kernel, site, stmt, 1)
    require_shallow(stmt, _second(stmt.vars[number], stmt.extents[number]))
    require_shallow(stmt, *map(_deepest, stmt.body))
    found = effects_of(stmt)
    for name in sorted(found.reads & found.writes - found.defines):
        raise refuse(stmt, f"`{name}` is both loaded and stored in the phase")
    var = stmt.vars[number]
    # In place of the body: the two variables, and both copies.
    rest = statements(kernel.body) - statements(stmt.body) + 2
    own: set[str] = set()
    most, most_nodes = at_most(stmt.body)
    small = nodes(kernel) + 6 * size_of(stmt).own + 20 + most_nodes <= MOST_NODES
    if not quick or rest + most > MOST_STATEMENTS:
        own = _tiles(stmt.body) - different(stmt.body, var)
        once = {name for name, count in Counter(all_names(kernel.body)).items() if count == 1}
        size = rest + jammed(stmt.body, var, own, once)
    else:
        size = 0
    if size > MOST_STATEMENTS:
        limit = f"the most is {MOST_STATEMENTS} for edits that copy"
        raise refuse(stmt, f"the kernel would have {size} statements, {limit}")
    return stmt, number, own, small


def _tiles(body: Body) -> set[str]:
    found: set[str] = set()
    for stmt in body:
        if not isinstance(stmt, ir.Instr):
            found |= _TILES.get((stmt,), partial(_tiles_of, stmt))
    return found


_TILES: Remembered[frozenset[str]] = Remembered(20_000)


def _tiles_of(stmt: ir.Stmt) -> frozenset[str]:
    own = frozenset((stmt.name,)) if isinstance(stmt, ir.TileDecl) else frozenset()
    return own | _tiles(ir.children(stmt))


def _behind(loop: ir.Loop, stop: ir.Expr) -> ir.Expr:
    """Where a loop with another end leaves its iterations: start + a multiple of the step."""
    count: ir.Expr = ir.Op("max", (ir.Const(0), subtract(stop, loop.start)))
    if loop.step != ir.Const(1):
        count = ir.Op("ceil_div", (count, loop.step))
    return add(loop.start, times(count, loop.step))


_DEEPEST: Remembered[ir.Expr] = Remembered(20_000)


def _deepest(stmt: ir.Stmt) -> ir.Expr:
    """The deepest expression that the edit may write for a statement or one below it."""
    if isinstance(stmt, (ir.Instr, ir.Let, ir.TileDecl)):
        return ir.Const(0)
    return _DEEPEST.get((stmt,), lambda: _made(stmt))


def _made(stmt: ir.Stmt) -> ir.Expr:
    found: list[ir.Expr] = [ir.Const(0), *map(_deepest, ir.children(stmt))]
    if isinstance(stmt, ir.Loop):
        found.append(_behind(stmt, ir.Op("min", (stmt.stop, stmt.stop))))
    elif isinstance(stmt, ir.If):
        found.append(ir.Op("and", (stmt.condition, stmt.condition)))
    return max(found, key=operators)


class _Jam:
    """Puts two copies of a block together; the second one's names are in a map.

    shared: tiles of which one is enough as far as is known. What contradicts this takes the tile
    out, and the caller starts again.
    """

    def __init__(self, namer: Namer, shared: set[str], counts: Counter[str]) -> None:
        self.namer = namer
        self.counts = counts  # how often the kernel defines a name
        self.shared = shared

    def block(self, body: Body, names: dict[str, str]) -> Body:
        """The block and its copy; `names` grows by what the block defines."""
        result: list[ir.Stmt] = []
        for stmt in body:
            result += self.pair(stmt, names)
        return tuple(result)

    def inner(self, body: Body, names: dict[str, str]) -> Body:
        """A nested block: its names end with it."""
        return self.block(body, dict(names))

    def pair(self, stmt: ir.Stmt, names: dict[str, str]) -> list[ir.Stmt]:
        """One statement of both items."""
        if isinstance(stmt, ir.Let):
            copy = copied(stmt, names)
            if isinstance(copy, ir.Let) and copy.value == stmt.value:
                return [stmt]
            names[stmt.name] = self.namer.fresh(stmt.name)
            return [stmt, copied(stmt, names)]
        if isinstance(stmt, ir.TileDecl):
            if stmt.name in self.shared:
                return [stmt]
            names[stmt.name] = self.namer.fresh(stmt.name)
            return [stmt, copied(stmt, names)]
        if isinstance(stmt, ir.Instr):
            return self.instruction(stmt, names)
        if isinstance(stmt, ir.Loop):
            return self.loop(stmt, names)
        if isinstance(stmt, ir.If):
            return self.branches(stmt, names)
        assert isinstance(stmt, ir.Stage)
        return [dataclasses.replace(stmt, body=self.inner(stmt.body, names))]

    def instruction(self, stmt: ir.Instr, names: dict[str, str]) -> list[ir.Stmt]:
        copy = copied(stmt, names)
        assert isinstance(copy, ir.Instr)
        same = copy.operands == stmt.operands and copy.keywords == stmt.keywords
        if stmt.op == "fence" or (same and stmt.op != "store"):
            return [stmt]
        self.separate(stmt)
        return [stmt, copy]

    def separate(self, *stmts: ir.Stmt) -> None:
        """What these write is not the same in both items, or not at the same time."""
        # A tile declared inside has a declaration in each copy.
        self.shared -= touched(stmts)[1] - set(all_names(stmts))

    def apart(self, stmt: ir.Stmt, names: dict[str, str]) -> list[ir.Stmt]:
        """The statement of the first item, then that of the second."""
        self.separate(stmt)
        return [stmt, copied(stmt, names)]

    def loop(self, stmt: ir.Loop, names: dict[str, str]) -> list[ir.Stmt]:
        copy = copied(dataclasses.replace(stmt, body=()), names)
        assert isinstance(copy, ir.Loop)
        if (copy.start, copy.step) != (stmt.start, stmt.step):
            return self.apart(stmt, names)
        if copy.stop == stmt.stop:
            return [dataclasses.replace(stmt, body=self.inner(stmt.body, names))]
        both = ir.Op("min", (stmt.stop, copy.stop))
        rest = self.namer.fresh(f"{stmt.var}_rest")
        value = _behind(stmt, both)
        main = dataclasses.replace(stmt, stop=both, body=self.inner(stmt.body, names))
        tail = dataclasses.replace(stmt, start=ir.Name(rest), comments=ir.NO_COMMENTS)
        return [main, ir.Let(rest, value, loc=stmt.loc), *self.apart(tail, names)]

    def branches(self, stmt: ir.If, names: dict[str, str]) -> list[ir.Stmt]:
        copy = copied(dataclasses.replace(stmt, then=(), orelse=()), names)
        assert isinstance(copy, ir.If)
        if copy.condition == stmt.condition:
            then, orelse = self.inner(stmt.then, names), self.inner(stmt.orelse, names)
            return [dataclasses.replace(stmt, then=then, orelse=orelse)]
        if not stmt.orelse and all(isinstance(child, ir.Instr) for child in stmt.then):
            return self.apart(stmt, names)
        hoisted, stmt = self.tiles_out(stmt, names)
        both = ir.Op("and", (stmt.condition, copy.condition))
        plain = dataclasses.replace(stmt, comments=ir.NO_COMMENTS)
        then = self.inner(stmt.then, names)
        orelse = tuple(self.apart(plain, names))
        return [*hoisted, dataclasses.replace(stmt, condition=both, then=then, orelse=orelse)]

    def tiles_out(self, stmt: ir.If, names: dict[str, str]) -> tuple[list[ir.Stmt], ir.If]:
        """The tiles of a branch that will be written twice, declared in front of the `if` instead.

        Every declaration takes memory of its own.
        """
        out: list[ir.Stmt] = []
        kept: list[ir.Stmt] = []
        for child in stmt.then:
            if (
                isinstance(child, ir.TileDecl)
                and child.name not in self.shared
                and self.counts[child.name] == 1
            ):
                out += self.pair(child, names)
            else:
                kept.append(child)
        return out, dataclasses.replace(stmt, then=tuple(kept))
