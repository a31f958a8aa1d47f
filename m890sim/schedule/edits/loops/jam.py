"""Unroll-and-jam of work items: two items in one, their statements interleaved one by one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import Transformer, copied, header, names_in, substitute
from m890sim.schedule.core.effects import effects_of
from m890sim.schedule.core.memo import Memo, by_node
from m890sim.schedule.core.names import Namer, all_names
from m890sim.schedule.core.room import (
    MOST_STATEMENTS,
    nodes,
    require_nodes,
    require_room,
    require_shallow,
    statements,
)
from m890sim.schedule.core.tree import Body, replace
from m890sim.schedule.edit import Argument, Context, Planned, Site, edit, refuse
from m890sim.schedule.edits.loops.items import in_any_order, on_variables, phase_at, with_items

SECOND = "'"  # ends a name of the second item, which no kernel has, until it gets a free one


@edit(35, on="Cores", arguments=on_variables, scope=in_any_order, exact=True)
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
    stmt, number = phase_at(kernel, site, argument)
    require_room(kernel, site, stmt, 1)
    var, extent = stmt.vars[number], stmt.extents[number]
    found = effects_of(stmt)
    for name in sorted(found.reads & found.writes - found.defines):
        raise refuse(stmt, f"`{name}` is both loaded and stored in the phase")
    counts = Counter(all_names(kernel.body))
    several = frozenset(name for name, count in counts.items() if count > 1)
    jam = _Jam(_differing(stmt.body, var), several)
    body = jam.block(stmt.body, {var})

    def phase(outer: str) -> ir.Cores:
        after = add(times(ir.Name(outer), 2), ir.Const(1))
        second = ir.Op("min", (after, subtract(extent, ir.Const(1))))
        require_shallow(stmt, second)
        lets = (
            ir.Let(var, times(ir.Name(outer), 2), loc=stmt.loc),
            ir.Let(var + SECOND, second, loc=stmt.loc),
        )
        pairs = ir.Op("ceil_div", (extent, ir.Const(2)))
        return with_items(stmt, number, outer, pairs, (*lets, *body))

    result = replace(kernel, site, phase(var))
    size = statements(result.body) - jam.copies  # which stand in a stage each
    if size > MOST_STATEMENTS:
        limit = f"the most is {MOST_STATEMENTS} for edits that copy"
        raise refuse(stmt, f"the kernel would have {size} statements, {limit}")
    require_nodes(stmt, nodes(result) - jam.copies)

    def build() -> ir.Kernel:
        free = _FreeNames(kernel)
        return replace(kernel, site, free.statement(phase(free.namer.fresh(var))))

    return build


def _differing(body: Body, var: str) -> set[str]:
    """Scalars and tiles that differ between two items, whatever the order of the statements."""
    flows = [flow for stmt in body for flow in _flows(stmt)]
    found, before = {var}, 0
    while len(found) > before:
        before = len(found)
        for sources, results in flows:
            if not found.isdisjoint(sources):
                found |= results
    return found


_Flow = tuple[Iterable[str], frozenset[str]]  # where one of the first differs, so do the second


@by_node
def _flows(stmt: ir.Stmt) -> tuple[_Flow, ...]:
    found = effects_of(stmt)
    if isinstance(stmt, ir.Instr):
        return (found.touched, found.writes), (found.scalars, found.writes)
    if isinstance(stmt, ir.Let):
        return ((found.uses, found.defines),)
    bounds = tuple(name for expr in header(stmt) for name in names_in(expr))
    below = [flow for child in ir.children(stmt) for flow in _flows(child)]
    return ((bounds, found.writes - found.defines), *below)


# What a loop or branch becomes, the names that it adds, the copies in it.
_Jammed = tuple[Body, set[str], int]
_JAMMED: Memo[_Jammed] = Memo()
_COPY = -1  # the stage that a statement of the second item is put in


@by_node
def _second(stmt: ir.Stmt) -> ir.Stmt:
    """What stands for the second item's copy of a statement, until it is written out."""
    return ir.Stage(_COPY, (stmt,))


class _Jam:
    """Puts two copies of a block together.

    differing: names of what may differ between the two items; of another tile one is enough.
    several: names that the kernel defines several times. copies: statements of the second item.
    """

    def __init__(self, differing: set[str], several: frozenset[str]) -> None:
        self.differing = differing
        self.several = several
        self.copies = 0

    def block(self, body: Body, names: set[str]) -> Body:
        """The block and its copy; `names`, of which the second item has its own, grow by theirs."""
        result: list[ir.Stmt] = []
        for stmt in body:
            result += self.pair(stmt, names)
        return tuple(result)

    def inner(self, body: Body, names: set[str]) -> Body:
        """A nested block: its names end with it."""
        return self.block(body, set(names))

    def pair(self, stmt: ir.Stmt, names: set[str]) -> Body:
        """One statement of both items."""
        if isinstance(stmt, ir.Stage):
            return (dataclasses.replace(stmt, body=self.inner(stmt.body, names)),)
        if isinstance(stmt, (ir.Loop, ir.If)):
            return self.remembered(stmt, names)
        found = effects_of(stmt)
        if isinstance(stmt, ir.Instr):
            same = names.isdisjoint(found.touched) and names.isdisjoint(found.scalars)
            if stmt.op == "fence" or (same and stmt.op != "store"):
                return (stmt,)
        else:
            assert isinstance(stmt, (ir.Let, ir.TileDecl))
            same = isinstance(stmt, ir.Let) and names.isdisjoint(found.uses)
            if same or stmt.name not in self.differing:
                return (stmt,)
            names.add(stmt.name)
        return self.apart(stmt)

    def apart(self, stmt: ir.Stmt) -> Body:
        """The statement of the first item, then that of the second."""
        self.copies += 1
        return stmt, _second(stmt)

    def remembered(self, stmt: ir.Loop | ir.If, names: set[str]) -> Body:
        """A loop or branch of both items; a branch may add names of its tiles."""
        used = _names(stmt)

        def make() -> _Jammed:
            jam, inside = _Jam(self.differing, self.several), set(names)
            body = jam.loop(stmt, inside) if isinstance(stmt, ir.Loop) else jam.branch(stmt, inside)
            return body, inside - names, jam.copies

        key = (used & names, used & self.differing, used & self.several)
        body, added, copies = _JAMMED.get((stmt,), make, *key)
        names |= added
        self.copies += copies
        return body

    def loop(self, stmt: ir.Loop, names: set[str]) -> Body:
        if not names.isdisjoint((*names_in(stmt.start), *names_in(stmt.step))):
            return self.apart(stmt)
        stop = _of_second(stmt.stop, names)
        both = ir.Op("min", (stmt.stop, stop))
        # Where the first loop leaves its iterations: start + a multiple of the step.
        count: ir.Expr = ir.Op("max", (ir.Const(0), subtract(both, stmt.start)))
        if stmt.step != ir.Const(1):
            count = ir.Op("ceil_div", (count, stmt.step))
        behind = add(stmt.start, times(count, stmt.step))
        require_shallow(stmt, behind)
        body = self.inner(stmt.body, names)
        if stop is stmt.stop:
            return (dataclasses.replace(stmt, body=body),)
        main = dataclasses.replace(stmt, stop=both, body=body)
        rest = ir.Let(f"{stmt.var}_rest{SECOND}", behind, loc=stmt.loc)
        tail = dataclasses.replace(stmt, start=ir.Name(rest.name), comments=ir.NO_COMMENTS)
        return main, rest, *self.apart(tail)

    def branch(self, stmt: ir.If, names: set[str]) -> Body:
        condition = _of_second(stmt.condition, names)
        both = ir.Op("and", (stmt.condition, condition))
        require_shallow(stmt, both)
        if condition is stmt.condition:
            then, orelse = self.inner(stmt.then, names), self.inner(stmt.orelse, names)
            return (dataclasses.replace(stmt, then=then, orelse=orelse),)
        if not stmt.orelse and all(isinstance(child, ir.Instr) for child in stmt.then):
            return self.apart(stmt)
        # Every declaration takes memory of its own: that of a tile in a branch that will be written
        # twice stands in front of the `if` instead.
        hoisted: Body = ()
        kept: Body = ()
        for child in stmt.then:
            own = isinstance(child, ir.TileDecl) and child.name in self.differing - self.several
            if own:
                hoisted += self.pair(child, names)
            else:
                kept += (child,)
        plain = dataclasses.replace(stmt, then=kept, comments=ir.NO_COMMENTS)
        then, orelse = self.inner(kept, names), self.apart(plain)
        return *hoisted, dataclasses.replace(stmt, condition=both, then=then, orelse=orelse)


def _of_second(expr: ir.Expr, names: set[str]) -> ir.Expr:
    return substitute(expr, {name: ir.Name(name + SECOND) for name in names})


@by_node
def _names(stmt: ir.Stmt) -> frozenset[str]:
    """All names that a statement and those below it use or define, tiles and tensors too."""
    found = effects_of(stmt)
    return frozenset(found.uses | found.reads | found.writes | found.defines)


class _FreeNames(Transformer):
    """Writes the second item out, under names that are free, each to the end of its block."""

    def __init__(self, kernel: ir.Kernel) -> None:
        self.namer = Namer(kernel)
        self.names: dict[str, str] = {}

    def define(self, name: str) -> None:
        plain = name.removesuffix(SECOND)
        self.names[plain] = self.names[plain + SECOND] = self.namer.fresh(plain)

    def name(self, name: str) -> str:
        return self.names[name] if name.endswith(SECOND) else name

    def use(self, name: ir.Name) -> ir.Expr:
        return ir.Name(self.names[name.id]) if name.id.endswith(SECOND) else name

    def block(self, body: Body) -> Body:
        around, self.names = self.names, dict(self.names)
        found = super().block(body)
        self.names = around
        return found

    def statement(self, stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.Stage) and stmt.index == _COPY:
            (first,) = stmt.body
            if isinstance(first, (ir.Let, ir.TileDecl)):
                self.define(first.name)
            return copied(first, self.names)
        if isinstance(stmt, ir.Let) and stmt.name.endswith(SECOND):
            self.define(stmt.name)
        return super().statement(stmt)
