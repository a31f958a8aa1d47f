"""Whether a loop is an online softmax, and by which power of its maximum its sums are weighed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set

from m890sim.kernel import ir
from m890sim.schedule.core.effects import operand_roles, touches
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.running.values import BodyValues
from m890sim.schedule.core.running.weights import (
    ONE,
    PLAIN,
    Factor,
    Trace,
    Value,
    combined,
    exponential,
    level,
    named,
    plus,
    times,
    weight,
)
from m890sim.schedule.edit import EditError, refuse

CELL = ir.Const(1)
_FIRST = "0"  # the version of the maximum when an iteration begins
_UNKNOWN = "holds no weight of the running maximum that could be brought to another one"


class _Pass(BodyValues[Trace | None]):
    """One pass over the body of a loop: the trace of the maximum in every tile; None: unknown.

    maximum: the tile of the running maximum. states: the tiles that are weighed by it, by factor;
    None: it is looked for. outside: tiles declared outside the loops and written in one of them.
    tiles: declarations.
    """

    def __init__(
        self,
        tiles: Mapping[str, ir.TileDecl],
        outside: Set[str],
        states: Iterable[str],
        maximum: str,
        factor: Factor | None,
    ) -> None:
        super().__init__(tiles, tiles)
        self.maximum, self.factor = maximum, factor
        self.parents = {_FIRST: ""}  # version -> the one that it is the larger of
        start = _weighed(_FIRST, named("?") if factor is None else factor)
        self.first: dict[str, Trace | None] = dict.fromkeys(outside)
        self.first |= {name: weight(start, False, name) for name in states}
        self.first[maximum] = level(named(_FIRST), True)

    # ---- values ----

    def joined(self, values: Sequence[Trace | None]) -> Trace | None:
        return values[0] if all(value == values[0] for value in values) else None

    def begin(self, name: str) -> Trace | None:
        return self.first.get(name, PLAIN) if name in self.kept else PLAIN

    def ended(self, name: str) -> Trace | None:
        plain = all(value == PLAIN for _, value, _ in self.logs[name])
        return PLAIN if plain and name not in self.kept else None

    def left(self, written: Mapping[str, list[Trace | None]]) -> dict[str, Trace | None]:
        # Where all is plain that the body writes, it is so in the iterations to come.
        steady = all(value == PLAIN for values in written.values() for value in values)
        return {name: self.ended(name) if steady else None for name in written}

    def known(self, ref: ir.TileRef, stmt: ir.Stmt) -> Trace:
        """The trace in a piece of a tile. Raises: EditError where it is unknown."""
        found = self.read(ref)
        if found is None:
            raise refuse(stmt, f"this reads a piece of `{ref.tile}` that {_UNKNOWN}")
        return found

    # ---- instructions ----

    def instruction(self, stmt: ir.Instr) -> None:
        inputs: dict[str, Value] = {}
        targets: dict[str, ir.TileRef] = {}
        rows: set[tuple[ir.Slice, ir.Expr | None]] = set()
        for name, read, written, value in operand_roles(stmt):
            if isinstance(value, ir.TileRef):
                if written:
                    targets[name] = value
                if read:
                    inputs[name] = self.known(value, stmt)
                if written or not _is_plain(inputs[name]):
                    rows.add(self.rows(value))
            elif isinstance(value, ir.Const | ir.Name | ir.Op):
                inputs[name] = value
        result = self.result(stmt, inputs)
        if result is None:
            raise refuse(stmt, f"the result of {stmt.op} {_UNKNOWN}")
        if len(rows) > 1 and not all(map(_is_plain, (result, *inputs.values()))):
            raise refuse(stmt, f"{stmt.op} takes its operands from different rows")
        if stmt.op == "max" and not result.plain and self.tiles[targets["dst"].tile].cols != CELL:
            raise refuse(stmt, f"`{targets['dst'].tile}` is no maximum of whole rows")
        for name, ref in targets.items():
            total = name == "row_sum" and result.weight
            trace = dataclasses.replace(result, pure=False) if total else result
            self.require_wide(ref, trace, stmt)
            self.write(ref, trace)

    def require_wide(self, ref: ir.TileRef, trace: Trace, stmt: ir.Instr) -> None:
        """Refuses a maximum that is rounded: the parts are weighed by what `maximum` holds."""
        factors = [*trace.factors().values()]
        if trace.weight or len(factors) != 1:
            return
        own, dtype = self.tiles[self.maximum].dtype, self.tiles[ref.tile].dtype
        if trace.pure and dtype != (own if factors == [ONE] else "f32"):
            found = f"`{ref.tile}` holds the maximum in {dtype}"
            raise refuse(stmt, f"{found}, the parts are weighed by `{self.maximum}` in {own}")
        if factors == [ONE] and dtype not in (own, "f32"):
            raise refuse(stmt, f"`{ref.tile}` rounds what hangs on the maximum to {dtype}")

    def rows(self, ref: ir.TileRef) -> tuple[ir.Slice, ir.Expr | None]:
        """The rows of an operand; equal where row n of one belongs to row n of another."""
        if ref.transposed or ref.rows.step is not None:
            return ir.Slice(step=ir.Name(ref.tile)), None  # equal to no other
        return ref.rows, self.tiles[ref.tile].rows if ref.rows.stop is None else None

    def result(self, stmt: ir.Instr, inputs: Mapping[str, Value]) -> Trace | None:
        """What an instruction makes of its operands; None where that is no such value."""
        op, src, a, b = stmt.op, *map(inputs.get, ("src", "a", "b"))
        traces = [value for value in inputs.values() if isinstance(value, Trace)]
        if all(trace == PLAIN for trace in traces):
            return PLAIN
        if op in ("add", "sub", "mul", "div"):
            return combined(op, a, b)
        if op == "fma":
            return combined("add", combined("mul", a, b), inputs["c"])
        if op == "max":
            return self.larger([trace for trace in traces if trace != PLAIN])
        if op in ("exp", "exp2"):
            return self.power(op, inputs)
        if op.endswith("_mask"):
            src = inputs["dst"]
        if op == "matmul" and isinstance(a, Trace):
            if b != PLAIN or not (a == PLAIN or a.weight) or a.state:
                return None
            product = dataclasses.replace(a, pure=False)
            return combined("add", inputs["dst"], product) if "dst" in inputs else product
        if not isinstance(src, Trace):
            return None
        if op == "copy":
            return src
        if op == "recip" and len(inputs) == 1 and src.weight:
            return combined("div", weight((), True), src)
        summed = op == "row_sum" and src.weight and not src.state
        if summed or (not src.weight and (op == "row_max" or op.endswith("_mask"))):
            return dataclasses.replace(src, pure=False)
        return None

    def larger(self, traces: list[Trace]) -> Trace | None:
        """The larger of a running maximum and something plain is the next running maximum."""
        old, new = traces[0].version, traces[-1].version
        if len(traces) == 1 and old:
            new = str(len(self.parents))
            self.parents[new] = old
        elif not self.goes_into(old, new):
            old, new = new, old
        return level(named(new), True) if self.goes_into(old, new) else None

    def goes_into(self, old: str, new: str) -> bool:
        """Whether a version of the maximum is the larger of an older one and more."""
        while new not in (old, ""):
            new = self.parents[new]
        return new == old != ""

    def power(self, op: str, inputs: Mapping[str, Value]) -> Trace | None:
        """exp and exp2, with scale and bias; the first that brings sums to a maximum shows how."""
        found: Value | None = inputs["src"]
        for name, step in (("scale", "mul"), ("bias", "add")):
            if name in inputs:
                found = combined(step, found, inputs[name])
        result = exponential(found, op == "exp2") if isinstance(found, Trace) else None
        if self.factor is None and result is not None and result.pure:
            factors = result.factors()
            old = factors.pop(_FIRST, ())
            if old and [*factors.values()] == [plus((), old, -1)]:
                self.factor = old
        return result


def _weighed(version: str, factor: Factor) -> Factor:
    """What a sum is the power of: -factor * maximum."""
    return plus((), times(named(version), factor), -1)


def _is_plain(value: Value) -> bool:
    """Whether a value does not depend on what the loop carries."""
    return not isinstance(value, Trace) or value.plain


def weights_of(
    loop: ir.Loop,
    maximum: str,
    pieces: dict[str, ir.TileRef],
    outside: Set[str],
    tiles: Mapping[str, ir.TileDecl],
) -> Factor:
    """The factor of the maximum in the weights of a loop's sums: they are e ** (factor * x - ...).

    maximum: a tile of `pieces`; the others are sums. outside, tiles: as for `_Pass`. The loop
    stores nothing. Raises: EditError where it is no online softmax with this maximum and sums.
    """
    states = [name for name in pieces if name != maximum]

    def find() -> Factor:
        walk = _Pass(tiles, outside, states, maximum, None)
        try:
            walk.body(loop.body)
        except EditError:  # of sums by an unknown factor, once it is found
            if walk.factor is None:
                raise
        factor = walk.factor
        if factor is None:
            raise refuse(loop, f"no sum is brought from one maximum in `{maximum}` to the next")
        walk = _Pass(tiles, outside, states, maximum, factor)
        walk.body(loop.body)
        last = walk.known(pieces[maximum], loop).version
        if not last:
            raise refuse(loop, f"`{maximum}` is no running maximum at the end of the loop")
        for name in states:
            if walk.known(pieces[name], loop) != weight(_weighed(last, factor), False, name):
                raise refuse(loop, f"`{name}` is no sum that is weighed by `{maximum}`")
        return factor

    decls = [decl for name, decl in tiles.items() if touches(loop, name)]
    return _WEIGHTS.checked(
        (loop, *decls), find, maximum, tuple(pieces.items()), frozenset(outside)
    )


_WEIGHTS: Memo[Factor] = Memo()
