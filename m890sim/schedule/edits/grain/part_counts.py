"""Whether a tunable is the number of parts of a range, or their least length, and nothing else.

It asks for what split_range writes, so that any number computes the same: parts that take whole
shares of a range by their number, leave what they carry in scratch, and are all merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from m890sim.kernel import ir
from m890sim.kernel.arithmetic import add, subtract, times
from m890sim.kernel.transform import expressions, names_in
from m890sim.schedule.core.effects import known_effects
from m890sim.schedule.core.running.carried import (
    ONE,
    Shape,
    Share,
    beginning,
    carried_by,
    innermost,
    shape_of,
    share_of,
)
from m890sim.schedule.core.running.softmax import weights_of
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import EditError, refuse
from m890sim.schedule.edits.grain.merge import exponential
from m890sim.schedule.edits.grain.packed_rows import parts_of

Lets = dict[str, ir.Expr]


def is_of_parts(kernel: ir.Kernel, name: str) -> bool:
    """Whether a tunable looks like a number of parts or a least length."""
    tunables = [ir.Name(tunable) for tunable in kernel.tunables]
    for phase in kernel.phases:
        if not any(extent in tunables for extent in phase.extents):
            continue
        for stmt in ir.walk(phase.body):
            share = share_of(stmt)
            if share is not None and ir.Name(share.parts) in phase.extents:
                return name in (share.parts, share.least)
    return False


def require_parts(kernel: ir.Kernel, name: str) -> None:
    """Refuses a tunable that is more than a number of parts, or their least length.

    Preconditions: all phases that use it are as split_range writes them, but for edits within the
    loops, fences and queues: the parts' loops, their stores, the loads, weights and sums of the
    phase that merges them. It is used for nothing else, and nothing else writes their scratch.
    """
    shares = [
        s for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Let) and (s := share_of(stmt))
    ]
    parts = {share.parts for share in shares}
    least = {share.least for share in shares}
    if len(parts) != 1 or len(least) != 1 or name not in parts | least:
        raise EditError(f"{name} is no number of parts of a range")
    check = _Check(kernel, parts.pop(), least.pop())
    check.uses()
    split = [s for s in kernel.phases if check.number in s.extents]
    merged = [s for s in kernel.phases if check.reads_scratch(s)]
    if not split or {id(s) for s in split} & {id(s) for s in merged}:
        raise EditError(f"{name} is no number of parts of a range that are merged later")
    for phase in kernel.phases:
        if check.number not in phase.extents and known_effects(phase).writes & set(check.dims):
            raise refuse(phase, f"the scratch of the parts, {check.parts} of them, is written here")
    for phase in split:
        check.split(phase)
    for phase in merged:
        check.merged(phase)


@dataclass(slots=True)
class _Check:
    """One walk over the phases that share a number of parts."""

    kernel: ir.Kernel
    parts: str
    least: str
    lets: Lets = field(default_factory=dict)  # of the phases that split, by name
    factor: dict[str, ir.Instr] = field(default_factory=dict)  # scratch of a maximum -> weights
    maximum: dict[str, str] = field(default_factory=dict)  # scratch of a sum -> of its maximum
    dims: dict[str, int] = field(default_factory=dict)  # scratch -> the place of the parts in it

    @property
    def number(self) -> ir.Name:
        return ir.Name(self.parts)

    def uses(self) -> None:
        """Refuses uses of the two tunables in other places than split_range's."""
        for stmt in ir.walk(self.kernel.body):
            if isinstance(stmt, ir.HbmDecl) and self.number in stmt.dims:
                self.dims[stmt.name] = stmt.dims.index(self.number)
            if isinstance(stmt, ir.Let) and share_of(stmt) is not None:
                continue
            for expr in expressions(stmt):
                whole = expr == self.number and (
                    isinstance(stmt, (ir.Cores, ir.HbmDecl, ir.TileDecl))
                )
                if not whole and {self.parts, self.least} & set(names_in(expr)):
                    raise refuse(stmt, f"{self.parts} or {self.least} is used for something else")

    def reads_scratch(self, phase: ir.Cores) -> bool:
        return bool(known_effects(phase).reads & set(self.dims))

    # ---- the phase of the parts ----

    def split(self, phase: ir.Cores) -> None:
        """Refuses a phase that does not take shares of a range."""
        if phase.extents.count(self.number) != 1:
            raise refuse(phase, f"{self.parts} is two of the phase's extents")
        x = ir.Name(phase.vars[phase.extents.index(self.number)])
        shape = shape_of(phase)
        pieces, maximum = carried_by(shape)
        start = next(
            s
            for s in shape.body
            if isinstance(s, ir.Instr) and s.op == "fill" and maximum in known_effects(s).writes
        )
        if beginning(start, shape.tiles[maximum]) is not start.operands[1]:
            raise refuse(start, "the maximum of a part without keys must be a finite number")
        factors = {
            weights_of(loop, maximum, pieces, shape.written, shape.tiles) for loop in shape.loops
        }
        if len(factors) != 1:
            raise refuse(phase, "the loops weigh by different factors")
        lets = {s.name: s.value for s in ir.walk(phase.body) if isinstance(s, ir.Let)}
        used = self.bounds(phase, shape, x, lets)
        homes = self.stores(shape, pieces, x)
        for name, home in homes.items():
            self.maximum[home] = homes[maximum]
            if name == maximum:
                self.factor[home] = exponential(ir.TileRef(""), factors.copy().pop())
        guards = [c for c in shape.conditions if c.condition == ir.Op("<", (x, used))]
        if len(guards) != 1:
            raise refuse(phase, f"no `if {x.id} < {used.id}` is around the loops")
        allowed = {id(loop.start) for loop in shape.loops} | {id(loop.stop) for loop in shape.loops}
        allowed.add(id(guards[0].condition))
        for stmt in ir.walk(phase.body):
            for expr in expressions(stmt):
                place = isinstance(stmt, ir.Instr) and stmt.op == "store" and expr == x
                if x.id in names_in(expr) and id(expr) not in allowed and not place:
                    raise refuse(stmt, f"`{x.id}` is used for something else than its share")
        self.lets |= lets

    def bounds(self, phase: ir.Cores, shape: Shape, x: ir.Name, lets: Lets) -> ir.Name:
        """The name of the number of parts that have something; refuses loops of other ranges."""
        shares = {
            s.name: share
            for s in ir.walk(phase.body)
            if isinstance(s, ir.Let) and (share := share_of(s)) is not None
        }
        counts: ir.Expr | None = None
        for loop in shape.loops:
            stop = loop.stop
            share = next((s for name, s in shares.items() if name in names_in(loop.start)), None)
            if share is None or not isinstance(stop, ir.Op) or stop.op != "min":
                raise refuse(loop, f"the loop over {loop.var} does not take a share of its range")
            moved = ir.Op("*", (x, ir.Name(share.name)))
            end, first = stop.args[0], ir.Const(0)
            if loop.start != moved:
                if not isinstance(loop.start, ir.Op) or loop.start.args[1:] != (moved,):
                    raise refuse(loop, f"the loop over {loop.var} does not begin at its share")
                first = loop.start.args[0]  # type: ignore[assignment]
            trips = subtract(end, first)
            whole = trips if loop.step == ONE else ir.Op("ceil_div", (trips, loop.step))
            if (
                loop.start != add(first, moved)
                or stop.args[1] != add(loop.start, ir.Name(share.name))
                or share.trips != whole
                or lets[share.name] != times(_cut(share), loop.step)
            ):
                raise refuse(loop, f"the loop over {loop.var} does not take a share of its range")
            count = ir.Op("ceil_div", (trips, ir.Name(share.name)))
            counts = count if counts is None else ir.Op("max", (counts, count))
        wanted = ir.Op("max", (ONE, counts)) if counts is not None else None
        for name, value in lets.items():
            if value == wanted:
                return ir.Name(name)
        raise refuse(phase, "no scalar is the number of parts that have something")

    def stores(self, shape: Shape, pieces: dict[str, ir.TileRef], x: ir.Name) -> dict[str, str]:
        """What is carried -> its scratch; refuses an epilogue that does more than that."""
        source: dict[ir.TileRef, str] = {piece: name for name, piece in pieces.items()}
        homes: dict[str, str] = {}
        for stmt in shape.body[shape.last + 1 :]:
            if isinstance(stmt, ir.TileDecl) or (isinstance(stmt, ir.Instr) and stmt.op == "fence"):
                continue
            if isinstance(stmt, ir.Instr) and stmt.op == "copy" and stmt.operands[1] in source:
                made, origin = stmt.operands
                assert isinstance(made, ir.TileRef) and isinstance(origin, ir.TileRef)
                source[made] = source[origin]
                continue
            if isinstance(stmt, ir.Instr) and stmt.op == "store":
                tile, place = parts_of(stmt)
                at = self.dims.get(place.tensor)
                if tile in source and at is not None and place.index[at] == x:
                    homes[source[tile]] = place.tensor
                    continue
            raise refuse(stmt, "a part does more than leave what it carries in scratch")
        if set(homes) != set(pieces):
            raise refuse(shape.body[-1], "a part does not leave all that it carries in scratch")
        return homes

    # ---- the phase that merges ----

    def merged(self, phase: ir.Cores) -> None:
        """Refuses a phase that does not weigh and add up all parts."""
        own = {s.name: s.value for s in ir.walk(phase.body) if isinstance(s, ir.Let)}
        for name, value in own.items():
            if name in self.lets and self.lets[name] != value:
                raise refuse(phase, f"`{name}` is not what it is in the phase of the parts")
        body = innermost(phase.body)
        inside = {id(stmt) for stmt in ir.walk(body)}
        for stmt in ir.walk(phase.body):
            if isinstance(stmt, ir.Instr) and id(stmt) not in inside:
                raise refuse(stmt, "the parts are not merged in one block")
        single = [s for s in body if isinstance(s, ir.Instr)]
        tiles: dict[str, str] = {}  # tile -> the scratch of the parts that it holds
        for stmt in _instructions(body):
            if stmt.op == "load" and parts_of(stmt)[1].tensor in self.dims:
                if stmt not in single:
                    raise refuse(stmt, "parts of several rows are merged; split anew instead")
                self.load(stmt, own, tiles)
        steps = [
            s
            for s in _instructions(body)
            if (known_effects(s).reads | known_effects(s).writes) & set(tiles)
            and not (s.op == "load" and parts_of(s)[1].tensor in self.dims)
        ]
        if any(stmt not in single for stmt in steps):
            raise refuse(phase, "the parts are not merged in one block")
        self.sums(phase, steps, tiles)

    def load(self, stmt: ir.Instr, lets: Lets, tiles: dict[str, str]) -> None:
        """Refuses a load of other parts than all that have something."""
        tile, piece = parts_of(stmt)
        entry = piece.index[self.dims[piece.tensor]]
        stop = entry.stop if isinstance(entry, ir.Slice) and entry.start is None else None
        known = isinstance(stop, ir.Name) and stop.id in lets and stop.id in self.lets
        if not known or not isinstance(entry, ir.Slice) or tile.rows != entry or tile.tile in tiles:
            raise refuse(stmt, f"this does not load all parts of `{piece.tensor}`")
        value = lets[stop.id] if isinstance(stop, ir.Name) else ONE
        if not (isinstance(value, ir.Op) and value.op == "max" and value.args[0] == ONE):
            raise refuse(stmt, f"this does not load all parts of `{piece.tensor}`")
        tiles[tile.tile] = piece.tensor

    def sums(self, phase: ir.Cores, steps: list[ir.Instr], tiles: dict[str, str]) -> None:
        """Refuses anything but largest maximum, weights, weighed sums, one step after the other."""
        of = {scratch: tile for tile, scratch in tiles.items()}
        expected: dict[str, list[ir.Instr]] = {}
        for stmt in steps:
            read = known_effects(stmt).reads & set(tiles)
            ref = next(
                (o for o in stmt.operands if isinstance(o, ir.TileRef) and o.tile in read), None
            )
            if ref is None:  # read through a keyword, or written anew
                raise refuse(stmt, "this is no step of merging parts as split_range does it")
            plain = ir.Instr(
                stmt.op,
                stmt.operands,
                tuple((key, value) for key, value in stmt.keywords if key != "engine"),
            )
            home = tiles[ref.tile]
            peak = of.get(self.maximum.get(home, ""))
            if peak is None:
                raise refuse(stmt, f"the parts in `{home}` are not merged with a maximum")
            done = expected.setdefault(ref.tile, [])
            whole = ir.TileRef(ref.tile, ref.rows)
            if ref.tile == peak:
                weights = self.factor[home]
                wanted = [
                    ("col_max", whole),
                    ("sub", whole),
                    (weights.op, whole),
                ]
                largest = done[0].operands[0] if done else None
                right = (
                    len(done) < 3
                    and plain.op == wanted[len(done)][0]
                    and {
                        0: plain.operands[1:] == (whole,),
                        1: plain.operands == (whole, whole, largest),
                        2: plain.operands == (whole, whole) and plain.keywords == weights.keywords,
                    }[len(done)]
                )
            else:
                weight = ir.TileRef(peak, ref.rows)
                right = (
                    len(done) < 2
                    and {
                        0: plain.op == "mul"
                        and plain.operands == (whole, whole, weight)
                        and len(expected.get(peak, ())) == 3,
                        1: plain.op == "col_sum" and plain.operands[1:] == (whole,),
                    }[len(done)]
                )
            if not right:
                raise refuse(stmt, f"the parts in `{home}` are not merged as split_range does it")
            done.append(plain)
        for tile, home in tiles.items():
            if len(expected.get(tile, ())) != (3 if home in self.factor else 2):
                raise refuse(phase, f"the parts in `{home}` are not merged as split_range does it")
            largest = expected[tile][0 if home in self.factor else 1].operands[0]
            assert isinstance(largest, ir.TileRef)
            writers = [
                s for s in _instructions(phase.body) if largest.tile in known_effects(s).writes
            ]
            if len(writers) != 1:
                raise refuse(writers[-1], f"`{largest.tile}` is written again")


def _cut(share: Share) -> ir.Expr:
    cut = ir.Op("ceil_div", (share.trips, ir.Name(share.parts)))
    return ir.Op("max", (cut, ir.Name(share.least)))


def _instructions(body: Body) -> Iterator[ir.Instr]:
    return (stmt for stmt in ir.walk(body) if isinstance(stmt, ir.Instr))
