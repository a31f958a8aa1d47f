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
    added,
    exponential,
    factor_of,
    level,
    multiplied,
    plus,
    scaled,
    weight,
)
from m890sim.schedule.edit import refuse

CELL = ir.Const(1)
_UNKNOWN = "holds no weight of the running maximum that could be brought to another one"


class _Found(Exception):
    """The factor of the maximum in a loop's weights."""

    def __init__(self, factor: Factor) -> None:
        self.factor = factor


class _Pass(BodyValues[Trace | None]):
    """One pass over the body of a loop: the trace of the maximum in every tile; None: unknown.

    maximum: the tile of the running maximum. states: the tiles that are weighed by it, by factor.
    outside: tiles declared outside the loops and written in one of them. tiles: declarations.
    factor: None while it is looked for.
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
        self.parents: list[int] = [-1]  # version -> the one that it is the larger of
        start = plus((), factor if factor is not None else ((("?",), ONE[0][1]),), -1)
        self.first: dict[str, Trace | None] = dict.fromkeys(outside)
        self.first |= {name: weight({0: start}, False, name) for name in states}
        self.first[maximum] = level({0: ONE}, True)

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

    def instruction(self, stmt: ir.Instr) -> None:
        if stmt.op == "store":
            raise refuse(stmt, "the loop stores: every part of its range would")
        inputs: dict[str, Trace | ir.Expr] = {}
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
        if trace.weight or len(trace.maxima) != 1:
            return
        whole = trace.maxima[0][1] == ONE
        own, dtype = self.tiles[self.maximum].dtype, self.tiles[ref.tile].dtype
        if trace.pure and dtype != (own if whole else "f32"):
            found = f"`{ref.tile}` holds the maximum in {dtype}"
            raise refuse(stmt, f"{found}, the parts are weighed by `{self.maximum}` in {own}")
        if whole and dtype not in (own, "f32"):
            raise refuse(stmt, f"`{ref.tile}` rounds what hangs on the maximum to {dtype}")

    def rows(self, ref: ir.TileRef) -> tuple[ir.Slice, ir.Expr | None]:
        """The rows of an operand; equal where row n of one belongs to row n of another."""
        if ref.transposed or ref.rows.step is not None:
            return ir.Slice(step=ir.Name(ref.tile)), None  # equal to no other
        return ref.rows, self.tiles[ref.tile].rows if ref.rows.stop is None else None

    def result(self, stmt: ir.Instr, inputs: Mapping[str, Trace | ir.Expr]) -> Trace | None:
        """What an instruction makes of its operands; None where that is no such value."""
        op, src, a, b = stmt.op, *map(inputs.get, ("src", "a", "b"))
        traces = [value for value in inputs.values() if isinstance(value, Trace)]
        if all(trace == PLAIN for trace in traces):
            return PLAIN
        if op in ("add", "sub", "mul", "div"):
            return self.binary(op, a, b)
        if op == "fma":
            return self.binary("add", self.binary("mul", a, b), inputs["c"])
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
            return self.binary("add", inputs["dst"], product) if "dst" in inputs else product
        if not isinstance(src, Trace):
            return None
        if op == "copy":
            return src
        if op == "recip" and len(inputs) == 1 and src.weight:
            return multiplied(weight({}, True), src, -1)
        summed = op == "row_sum" and src.weight and not src.state
        if summed or (not src.weight and (op == "row_max" or op.endswith("_mask"))):
            return dataclasses.replace(src, pure=False)
        return None

    def binary(self, op: str, a: Trace | ir.Expr | None, b: Trace | ir.Expr | None) -> Trace | None:
        """add, sub, mul or div of a tile, and a tile or a float."""
        if not isinstance(a, Trace) or b is None:
            return None
        if op in ("add", "sub"):
            return added(a, b if isinstance(b, Trace) else PLAIN, 1 if op == "add" else -1)
        if isinstance(b, Trace):
            return multiplied(a, b, 1 if op == "mul" else -1)
        return scaled(a, factor_of(b if op == "mul" else ir.Op("/", (ir.Const(1.0), b))))

    def larger(self, traces: list[Trace]) -> Trace | None:
        """The larger of a running maximum and something plain is the next running maximum."""
        versions = [trace.version for trace in traces]
        if None in versions:
            return None
        old, new = versions[0], versions[-1]
        assert old is not None and new is not None
        if len(versions) == 1:
            self.parents.append(old)
            new = len(self.parents) - 1
        elif not self.goes_into(old, new):
            old, new = new, old
        return level({new: ONE}, True) if self.goes_into(old, new) else None

    def goes_into(self, old: int, new: int) -> bool:
        """Whether a version of the maximum is the larger of an older one and more."""
        while new not in (old, -1):
            new = self.parents[new]
        return new == old

    def power(self, op: str, inputs: Mapping[str, Trace | ir.Expr]) -> Trace | None:
        """exp and exp2, with scale and bias."""
        found: Trace | ir.Expr | None = inputs["src"]
        for name, step in (("scale", "mul"), ("bias", "add")):
            if name in inputs:
                found = self.binary(step, found, inputs[name])
        result = exponential(found, op == "exp2") if isinstance(found, Trace) else None
        if self.factor is None and result is not None and result.pure and len(result.maxima) == 2:
            (old, factor), (_, other) = result.maxima
            if old == 0 and not plus(factor, other):
                raise _Found(factor)
        return result


def _is_plain(value: Trace | ir.Expr) -> bool:
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

    maximum: a tile of `pieces`; the others are sums. outside, tiles: as for `_Pass`.
    Raises: EditError where the loop is no online softmax with this maximum and these sums.
    """
    states = [name for name in pieces if name != maximum]

    def find() -> Factor:
        factor: Factor | None = None
        try:
            _Pass(tiles, outside, states, maximum, None).body(loop.body)
        except _Found as found:
            factor = found.factor
        if factor is None:
            raise refuse(loop, f"no sum is brought from one maximum in `{maximum}` to the next")
        walk = _Pass(tiles, outside, states, maximum, factor)
        walk.body(loop.body)
        last = walk.known(pieces[maximum], loop).version
        if last is None:
            raise refuse(loop, f"`{maximum}` is no running maximum at the end of the loop")
        for name in states:
            wanted = weight({last: plus((), factor, -1)}, False, name)
            if walk.known(pieces[name], loop) != wanted:
                raise refuse(loop, f"`{name}` is no sum that is weighed by `{maximum}`")
        return factor

    decls = [decl for name, decl in tiles.items() if touches(loop, name)]
    carried = tuple(pieces.items())
    return _WEIGHTS.checked((loop, *decls), find, maximum, carried, frozenset(outside))


_WEIGHTS: Memo[Factor] = Memo()
