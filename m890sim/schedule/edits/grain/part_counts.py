"""Whether a tunable is the number of parts of a range, or their least length, and nothing else.

It asks for what split_range writes, so that any number computes the same: parts that take whole
shares of a range by their number, leave what they carry in scratch, and are all merged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from m890sim.kernel import ir
from m890sim.kernel.transform import expressions, names_in
from m890sim.schedule.core.effects import effects_of, touches
from m890sim.schedule.core.pieces import tiles_of, writes
from m890sim.schedule.core.running.item import ONE, Softmax, blocks_of
from m890sim.schedule.core.running.weights import Factor
from m890sim.schedule.core.tree import Body
from m890sim.schedule.edit import EditError, refuse, require
from m890sim.schedule.edits.grain.packed_rows import parts_of
from m890sim.schedule.edits.grain.parts import Share, counts_of, largest_count, weighed, weights


def is_of_parts(kernel: ir.Kernel, name: str) -> bool:
    """Whether a tunable looks like a number of parts or a least length."""
    tunables = [ir.Name(tunable) for tunable in kernel.tunables]
    for phase in kernel.phases:
        if any(extent in tunables for extent in phase.extents):
            for stmt in ir.walk(phase.body):
                counts = counts_of(stmt)
                if counts is not None and counts[0] in phase.extents:
                    return ir.Name(name) in counts
    return False


def require_parts(kernel: ir.Kernel, name: str) -> None:
    """Refuses a tunable that is more than a number of parts, or their least length.

    Preconditions: all phases that use it are as split_range writes them, but for edits within the
    loops, fences and queues: the parts' loops, their stores, the loads, weights and sums of the
    phase that merges them. It is used for nothing else, and nothing else writes their scratch.
    """
    counts = {found for stmt in ir.walk(kernel.body) if (found := counts_of(stmt)) is not None}
    parts, least = ({pair[n] for pair in counts} for n in (0, 1))
    if len(parts) != 1 or len(least) != 1 or ir.Name(name) not in parts | least:
        raise EditError(f"{name} is no number of parts of a range")
    check = _PhaseCheck(kernel, parts.pop(), least.pop())
    scratch = check.dims.keys()
    split = [phase for phase in kernel.phases if check.parts in phase.extents]
    merged = [phase for phase in kernel.phases if effects_of(phase).reads & scratch]
    if not split or any(phase in split for phase in merged):
        raise EditError(f"{name} is no number of parts of a range that are merged later")
    for phase in kernel.phases:
        if phase not in split and effects_of(phase).writes & scratch:
            reason = f"the scratch of the parts, {check.parts.id} of them, is written here"
            raise refuse(phase, reason)
    for phase in split:
        check.split(phase)
    for phase in merged:
        check.merged(phase)


def _using(body: Body, names: set[str]) -> Iterator[ir.Stmt]:
    """The statements that use one of the names in a number, or have one below that does."""
    for stmt in body:
        if not names.isdisjoint(effects_of(stmt).uses):
            yield stmt
            yield from _using(ir.children(stmt), names)


class _PhaseCheck:
    """The phases that share a number of parts. Raises: EditError where it is used otherwise."""

    def __init__(self, kernel: ir.Kernel, parts: ir.Name, least: ir.Name) -> None:
        self.parts, self.least = parts, least
        self.lets: dict[str, ir.Expr] = {}  # of the phases that split, by name
        self.factor: dict[str, Factor] = {}  # scratch of a maximum -> in the sums' weights
        self.maximum: dict[str, str] = {}  # scratch -> that of its maximum
        self.used: set[ir.Expr] = set()  # numbers of parts that have something
        self.dims: dict[str, int] = {}  # scratch -> the place of the parts in it
        names = {parts.id, least.id}
        for stmt in _using(kernel.body, names):
            if isinstance(stmt, ir.HbmDecl) and parts in stmt.dims:
                self.dims[stmt.name] = stmt.dims.index(parts)
            extents = isinstance(stmt, (ir.Cores, ir.HbmDecl, ir.TileDecl))
            for expr in expressions(stmt) if counts_of(stmt) is None else ():
                if not (extents and expr == parts) and not names.isdisjoint(names_in(expr)):
                    raise refuse(stmt, f"{parts.id} or {least.id} is used for something else")

    # ---- the phase of the parts ----

    def split(self, phase: ir.Cores) -> None:
        """Refuses a phase that does not take shares of a range, or does more with its parts."""
        once = phase.extents.count(self.parts) == 1
        require(once, phase, f"{self.parts.id} is two of the phase's extents")
        x = ir.Name(phase.vars[phase.extents.index(self.parts)])
        item = Softmax(phase)
        finite = item.begin is item.fill.operands[1]
        require(finite, item.fill, "the maximum of a part without keys must be a finite number")
        lets = {s.name: s.value for s in ir.walk(phase.body) if isinstance(s, ir.Let)}
        loops, shares = zip(*(self.whole(loop, x, lets) for loop in item.loops), strict=True)
        some = ir.Op("max", (ONE, largest_count(shares)))
        used = next((name for name, value in lets.items() if value == some), None)
        if used is None:
            raise refuse(phase, "no scalar is the number of parts that have something")
        guard = ir.Op("<", (x, ir.Name(used)))
        ends = [block[-1] for block in item.outer]
        others = [end for end in ends if expressions(end) != [guard]]
        if len(others) != len(ends) - 1:
            raise refuse(phase, f"no `if {x.id} < {used}` is around the loops")
        rest = [stmt for block in item.outer for stmt in block[:-1]]
        rest += [dataclasses.replace(end, then=()) for end in others if isinstance(end, ir.If)]
        rest += [stmt for stmt in item.body if not isinstance(stmt, ir.Loop)]
        for stmt in (*rest, *loops):
            store = isinstance(stmt, ir.Instr) and stmt.op == "store"
            if x.id in effects_of(stmt).uses and not store:
                raise refuse(stmt, f"`{x.id}` is used for something else than its share")
        homes = self.stored(item, x)
        self.maximum |= dict.fromkeys(homes.values(), homes[item.maximum])
        self.factor[homes[item.maximum]] = item.factor
        self.lets |= lets
        self.used.add(some)

    def whole(self, loop: ir.Loop, x: ir.Name, lets: dict[str, ir.Expr]) -> tuple[ir.Loop, Share]:
        """The loop over the whole range of which a loop takes a share; the share."""
        begin, stop = loop.start, loop.stop
        used = [name for name in lets if name in names_in(begin)]
        name = next((name for name in used if counts_of(ir.Let(name, lets[name]))), "")
        if name and isinstance(begin, ir.Op) and isinstance(stop, ir.Op):
            start = begin.args[0] if begin.op == "+" else ir.Const(0)
            whole = dataclasses.replace(loop, start=start, stop=stop.args[0])
            share = Share.of(whole, name, x, self.parts, self.least)
            if (begin, stop, lets[name]) == (share.begin, share.end, share.length.value):
                return whole, share
        raise refuse(loop, f"the loop over {loop.var} does not take a share of its range")

    def stored(self, item: Softmax, x: ir.Name) -> dict[str, str]:
        """Where a part leaves what it carries; refuses an epilogue that does more."""
        source: dict[object, str] = {piece: name for name, piece in item.pieces.items()}
        homes: dict[str, str] = {}
        for stmt in item.epilogue:
            op = stmt.op if isinstance(stmt, ir.Instr) else ""
            if isinstance(stmt, ir.Instr) and op == "copy" and stmt.operands[1] in source:
                source[stmt.operands[0]] = source[stmt.operands[1]]
                continue
            if isinstance(stmt, ir.Instr) and op == "store":
                tile, place = parts_of(stmt)
                index = dict(enumerate(place.index))
                part = index.pop(self.dims.get(place.tensor, -1), None)
                others = [name for entry in index.values() for name in names_in(entry)]
                if tile in source and part == x and x.id not in (*others, *names_in(tile)):
                    homes[source[tile]] = place.tensor
                    continue
            if op != "fence" and not isinstance(stmt, ir.TileDecl):
                raise refuse(stmt, "a part does more than leave what it carries in scratch")
        left = homes.keys() == item.pieces.keys()
        require(left, item.body[-1], "a part does not leave all that it carries in scratch")
        return homes

    # ---- the phase that merges ----

    def merged(self, phase: ir.Cores) -> None:
        """Refuses a phase that does not weigh and add up all parts, each in one go."""
        own = {s.name: s.value for s in ir.walk(phase.body) if isinstance(s, ir.Let)}
        for name, value in own.items():
            if self.lets.get(name, value) != value:
                raise refuse(phase, f"`{name}` is not what it is in the phase of the parts")
        parts = [ir.Slice(None, ir.Name(name)) for name in own if own[name] in self.used]
        body = blocks_of(phase.body)[-1]
        instructions = [stmt for stmt in body if isinstance(stmt, ir.Instr)]
        loads = [s for s in instructions if effects_of(s).reads & self.dims.keys()]
        held: dict[str, ir.TileRef] = {}  # scratch -> the tile in which all of its parts are
        for stmt in loads:
            tile, piece = parts_of(stmt)
            entry = piece.index[self.dims[piece.tensor]]
            twice = piece.tensor in held or tile.tile in tiles_of(*held.values())
            whole = entry in parts and tile.rows == entry and not twice
            require(whole, stmt, f"this does not load all parts of `{piece.tensor}`")
            held[piece.tensor] = ir.TileRef(tile.tile, tile.rows)
        for part in body:
            if ir.blocks(part):
                found = effects_of(part)
                single = found.reads.isdisjoint(self.dims)
                require(single, part, "parts of several rows are merged; split anew instead")
                apart = tiles_of(*held.values()).isdisjoint(found.reads | found.writes)
                require(apart, part, "the parts are not merged in one block")
        for home, ref in held.items():
            steps = [s for s in instructions if touches(s, ref.tile) and s not in loads]
            total = self.total(home, held, [*map(_without_engine, steps)])
            reason = f"the parts in `{home}` are not merged as split_range does it"
            require(total, steps[0] if steps else phase, reason)
            writers = [s for s in body if writes(s, {total})]
            require(len(writers) == 1, writers[-1], f"`{total}` is written again")

    def total(self, home: str, held: dict[str, ir.TileRef], steps: list[ir.Instr]) -> str:
        """The tile where steps have the largest of the parts, or weigh them and add them up.

        held: scratch -> the tile in which all of its parts are. Empty: they do something else.
        """
        ref, peak = held[home], held.get(self.maximum.get(home, ""))
        if peak is None or len(steps) < 2:
            return ""
        if peak is ref:
            total, factor = steps[0].operands[0], self.factor[home]
            sums = [held[name].tile for name in held if self.maximum.get(name) == home != name]
            used = all(any(touches(step, name) for name in sums) for step in steps[3:])
            made = used and steps[:3] == weights(ref, total, factor)
        else:
            total = steps[1].operands[0]
            made = steps == weighed(ref, total, peak)
        return total.tile if made and isinstance(total, ir.TileRef) else ""


def _without_engine(stmt: ir.Instr) -> ir.Instr:
    """The instruction as split_range writes it, whichever engine it is for now."""
    keywords = tuple((key, value) for key, value in stmt.keywords if key != "engine")
    return ir.Instr(stmt.op, stmt.operands, keywords)
