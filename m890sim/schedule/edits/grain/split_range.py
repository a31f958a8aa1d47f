"""Cutting the range of an online softmax into parts, with a phase that merges them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import names_in
from m890sim.schedule.core.effects import known_effects, touches
from m890sim.schedule.core.fingerprints import of_kernel
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.names import Namer
from m890sim.schedule.core.room import require_room, require_shallow
from m890sim.schedule.core.running.carried import (
    Shape,
    beginning,
    carried_by,
    innermost,
    shape_of,
    share_of,
)
from m890sim.schedule.core.running.softmax import weights_of
from m890sim.schedule.core.running.weights import Factor
from m890sim.schedule.core.tree import Body, node, replace
from m890sim.schedule.edit import Argument, Context, EditError, Planned, Site, edit, refuse
from m890sim.schedule.edits.grain.merge import Merge, merge_phase

PARTS = (2, 4, 8, 16)
ONE = ir.Const(1)


def split_arguments(
    kernel: ir.Kernel, site: Site, stmt: ir.Stmt | None, context: Context
) -> Iterator[Argument]:
    """Numbers of parts, at a phase with a matmul in a loop and an exponential."""
    if isinstance(stmt, ir.Cores):
        loops = [known_effects(s).ops for s in innermost(stmt.body) if isinstance(s, ir.Loop)]
        if any("matmul" in ops and "max" in ops and ops & {"exp", "exp2"} for ops in loops):
            yield from PARTS


@edit(55, on="Cores", arguments=split_arguments, exact=False)
def split_range(kernel: ir.Kernel, site: Site, argument: Argument, context: Context) -> Planned:
    """The range of an online softmax is cut into parts; a second phase weighs and adds them up.

    for b, h in cores(B, H):          ->   for b, h, x in cores(B, H, PARTS):
        fill(m, -inf)                          ...  # the x-th share of the range
        fill(l, 0.0); fill(out, 0.0)           if x < used:
        for j in range(0, n, BK):                  fill(m, -1e30); fill(l, 0.0); fill(out, 0.0)
            online softmax                         for j in range(begin, end, BK):
        div(ot, out, l)                                online softmax
        store(o[b, h, :], ot)                      store(part_m[b, h, x, :], m); ...
                                           for b, h in cores(B, H):
                                               # m, l, out from the parts
                                               div(ot, out, l)
                                               store(o[b, h, :], ot)

    Argument: 2, 4, 8 or 16 parts, a Tunable of the new kernel. A part has whole steps of the loop,
    at least LEAST of them, another Tunable; parts that nothing is left for cost next to nothing.
    Sums are added in another order. A part may hide all of its keys from a row: an m that began at
    -inf begins at -1e30 there, and no difference is inf - inf. Limits: a score below -1e30 counts
    as hidden, and -1e30 times the c below must be finite in f32.
    Preconditions:
    - an item is prologue, range loops and epilogue in one block, under `if`s without `else` that
      have only assignments and declarations beside them;
    - of what the loops write, the epilogue reads a maximum m, filled with one number in the
      prologue, without Scalars, and sums l, out, ... filled with 0.0, and nothing else that the
      item has written; which piece of them is known in front of the epilogue;
    - m is of f32 or bf16; m and its copies are of one dtype, factors of it are of f32;
    - by data flow, each iteration takes m to max(m, ...), and each sum to itself times
      e ** (c * (old m - new m)) plus terms with e ** (-c * new m) and no other trace of what is
      carried, for one c: of loads, row_max, row_sum, matmul, exp, exp2, +, -, *, fma, copy, masks;
    - c is a product of Scalars and numbers, in size from 1e-30 to 1e8, without sums of Scalars;
    - it is not cut into parts already;
    - prologue and loops store nothing; between the loops nothing touches m and the sums; the
      epilogue has no loops and m has one column, the rows of all of them are the same piece.
    """
    if argument not in PARTS or not isinstance(argument, int):
        raise EditError(f"split_range takes one of {PARTS} parts, not {argument!r}")

    def make() -> bool:
        _plan(kernel, site)[0].shares()
        return True

    _LEGAL.checked((of_kernel(kernel),), make, site)  # one answer for all numbers of parts

    def build() -> ir.Kernel:
        splitter, factor = _plan(kernel, site)
        return splitter.split(argument, factor)

    return build


_LEGAL: Memo[bool] = Memo()


def _plan(kernel: ir.Kernel, site: Site) -> tuple[_Splitter, Factor]:
    """What will write the two phases, and the factor of the maximum in the weights."""
    stmt = node(kernel, site)
    if not isinstance(stmt, ir.Cores):
        raise refuse(stmt, "the edit acts on a phase (`for ... in cores(...)`), this is none")
    shape = shape_of(stmt)
    for part in (*shape.outer, *shape.body):
        share = share_of(part)
        if share is not None and ir.Name(share.parts) in stmt.extents:
            found = f"the range is cut into parts already, {share.parts} says how many"
            raise refuse(stmt, found)
    pieces, maximum = carried_by(shape)
    factors: set[Factor] = set()
    for loop in shape.loops:
        # What one loop writes is no less a trace of the share where another one reads it.
        factors.add(weights_of(loop, maximum, pieces, shape.written, shape.tiles))
    if len(factors) != 1:
        raise refuse(stmt, "the loops weigh by different factors")
    require_room(kernel, site, stmt, 1, 2)
    return _Splitter(kernel, site, stmt, shape, pieces, maximum), factors.pop()


class _Splitter:
    """Writes the two phases."""

    def __init__(
        self,
        kernel: ir.Kernel,
        site: Site,
        stmt: ir.Cores,
        shape: Shape,
        pieces: dict[str, ir.TileRef],
        maximum: str,
    ) -> None:
        self.kernel, self.site, self.stmt = kernel, site, stmt
        self.shape, self.pieces, self.maximum = shape, pieces, maximum
        (self.fill,) = (
            s for s in shape.body[: shape.first] if isinstance(s, ir.Instr) and touches(s, maximum)
        )
        self.begin = beginning(self.fill, shape.tiles[maximum])
        self.namer = Namer(kernel)
        self.x = ir.Name(self.namer.fresh("x"))
        self.parts = ir.Name(self.namer.fresh("PARTS"))
        self.least = ir.Name(self.namer.fresh("LEAST"))

    def split(self, parts: int, factor: Factor) -> ir.Kernel:
        """The kernel with the phase cut in two."""
        kernel, stmt, shape = self.kernel, self.stmt, self.shape
        lets, used, bounds = self.shares()
        prologue = [self.floored(s) for s in shape.body[: shape.first]]
        scalars = [s for s in prologue if isinstance(s, ir.Let)]
        later = shape.body[shape.first : shape.last + 1]
        rest = [s for s in prologue if not isinstance(s, ir.Let)]
        used_here = known_effects(*rest, *later)
        touched = used_here.reads | used_here.writes
        rest = [s for s in rest if not isinstance(s, ir.TileDecl) or s.name in touched]
        scratch: list[ir.HbmDecl] = []
        stores: list[ir.Stmt] = []
        merge = Merge(
            kernel,
            self.namer,
            stmt,
            self.x,
            used,
            self.maximum,
            self.begin,
            self.pieces,
            shape.tiles,
        )
        for name in self.pieces:
            decl, made = merge.scratch(name, self.parts)
            scratch.append(decl)
            stores += made
        loops = list(shape.body[shape.first : shape.last + 1])
        for place, loop in enumerate(loops):
            if isinstance(loop, ir.Loop):
                begin, end = bounds.pop(0)
                loops[place] = dataclasses.replace(loop, start=begin, stop=end)
        some = ir.If(ir.Op("<", (self.x, used)), (*rest, *loops, *stores), loc=stmt.loc)
        inner: Body = (*scalars, *lets, some)
        body = self.nested(inner)
        first = dataclasses.replace(
            stmt,
            vars=(*stmt.vars, self.x.id),
            extents=(*stmt.extents, self.parts),
            body=body,
        )
        second = merge_phase(
            merge,
            shape,
            lets,
            factor,
            self.parts,
        )
        params = (
            *kernel.params,
            ir.Param(self.parts.id, "tunable", default=parts),
            ir.Param(self.least.id, "tunable", default=1),
        )
        changed = replace(kernel, self.site, *scratch, first, second)
        return dataclasses.replace(_scratch_first(changed), params=params)

    def nested(self, inner: Body) -> Body:
        """The block put back under the ifs around it."""
        body = inner
        before = self.stmt.body
        levels = [before]
        for _ in self.shape.path:
            last = levels[-1][-1]
            assert isinstance(last, ir.If)
            levels.append(last.then)
        for level in reversed(levels[:-1]):
            last = level[-1]
            assert isinstance(last, ir.If)
            body = (*level[:-1], dataclasses.replace(last, then=body))
        return body

    def shares(self) -> tuple[list[ir.Let], ir.Expr, list[tuple[ir.Expr, ir.Expr]]]:
        """Scalars of the parts' lengths, the number of parts that have anything, loops' bounds."""
        lets: list[ir.Let] = []
        bounds: list[tuple[ir.Expr, ir.Expr]] = []
        used: ir.Expr | None = None
        known = {s.name for s in self.shape.body[: self.shape.first] if isinstance(s, ir.Let)}
        late = {
            s.name
            for s in self.shape.body[self.shape.first : self.shape.last]
            if isinstance(s, ir.Let)
        } - known
        for loop in self.shape.loops:
            for part in (loop.start, loop.stop, loop.step):
                if late & set(names_in(part)):
                    raise refuse(
                        loop,
                        f"the bounds of the loop over {loop.var} are known only between the loops",
                    )
            trips = ir.Op("ceil_div", (subtract(loop.stop, loop.start), loop.step))
            if loop.step == ONE:
                trips_of: ir.Expr = subtract(loop.stop, loop.start)
            else:
                trips_of = trips
            share = ir.Op("max", (ir.Op("ceil_div", (trips_of, self.parts)), self.least))
            steps = ir.Name(self.namer.fresh("share"))
            lets.append(ir.Let(steps.id, times(share, loop.step), loc=loop.loc))
            count = ir.Op("ceil_div", (subtract(loop.stop, loop.start), steps))
            used = count if used is None else ir.Op("max", (used, count))
            begin = add(loop.start, ir.Op("*", (self.x, steps)))
            end = ir.Op("min", (loop.stop, add(begin, steps)))
            require_shallow(loop, end, share, used)
            bounds.append((begin, end))
        assert used is not None
        name = ir.Name(self.namer.fresh("used"))
        lets.append(ir.Let(name.id, ir.Op("max", (ONE, used)), loc=self.stmt.loc))
        return lets, name, bounds

    def floored(self, stmt: ir.Stmt) -> ir.Stmt:
        """The maximum begins at a finite number; other statements stay."""
        if stmt is not self.fill or self.begin is self.fill.operands[1]:
            return stmt
        return dataclasses.replace(self.fill, operands=(self.fill.operands[0], self.begin))


def _scratch_first(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel with declarations in front of its first phase."""
    top = [s for s in kernel.body if not isinstance(s, ir.Cores)]
    phases = [s for s in kernel.body if isinstance(s, ir.Cores)]
    return dataclasses.replace(kernel, body=(*top, *phases))
