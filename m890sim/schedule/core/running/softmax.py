"""Whether a loop is an online softmax, and by which power of its maximum its sums are weighed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from m890sim.kernel import ir
from m890sim.schedule.core.effects import operand_roles, touches
from m890sim.schedule.core.memo import Memo
from m890sim.schedule.core.running.values import BodyValues
from m890sim.schedule.core.running.weights import (
    ONE,
    PLAIN,
    Factor,
    Kind,
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


class _Pass(BodyValues[Kind | None]):
    """One pass over the body of a loop, with the kind of what every tile holds; None: unknown.

    maximum: the tile of the running maximum. states: the tiles that are weighed by it, by factor.
    outside: tiles declared outside the loops and written in one of them. tiles: declarations.
    factor: None while it is looked for.
    """

    def __init__(
        self,
        maximum: str,
        states: set[str],
        outside: set[str],
        tiles: Mapping[str, ir.TileDecl],
        factor: Factor | None,
    ) -> None:
        super().__init__(tiles, tiles)
        self.maximum, self.factor = maximum, factor
        self.parents: list[int] = [-1]  # version -> the one that it is the larger of
        start = plus((), factor if factor is not None else ((("?",), ONE[0][1]),), -1)
        self.first: dict[str, Kind | None] = {name: None for name in outside}
        self.first |= {name: weight({0: start}, False, name) for name in states}
        self.first[maximum] = level({0: ONE}, True)

    def joined(self, values: Sequence[Kind | None]) -> Kind | None:
        return values[0] if all(value == values[0] for value in values) else None

    def begin(self, name: str) -> Kind | None:
        return self.first.get(name, PLAIN) if name in self.kept else PLAIN

    def ended(self, name: str) -> Kind | None:
        plain = all(value == PLAIN for _, value, _ in self.logs[name])
        return PLAIN if plain and name not in self.kept else None

    def left(self, written: Mapping[str, list[Kind | None]]) -> dict[str, Kind | None]:
        # Where all is plain that the body writes, it is so in the iterations to come.
        steady = all(value == PLAIN for values in written.values() for value in values)
        return {name: self.ended(name) if steady else None for name in written}

    def known(self, ref: ir.TileRef, stmt: ir.Stmt) -> Kind:
        """The kind of a piece of a tile. Raises: EditError where it is unknown."""
        found = self.read(ref)
        if found is None:
            raise refuse(stmt, f"this reads a piece of `{ref.tile}` that {_UNKNOWN}")
        return found

    def instruction(self, stmt: ir.Instr) -> None:
        if stmt.op == "store":
            raise refuse(stmt, "the loop stores: every part of its range would")
        kinds: dict[str, Kind] = {}
        targets: dict[str, ir.TileRef] = {}
        values: dict[str, ir.Expr] = {}
        rows: set[tuple[ir.Slice, ir.Expr | None]] = set()
        for name, read, written, value in operand_roles(stmt):
            if isinstance(value, ir.TileRef):
                if read:
                    kinds[name] = self.known(value, stmt)
                if written:
                    targets[name] = value
                if written or not kinds[name].plain:
                    rows.add(self.rows(value, stmt))
            elif isinstance(value, ir.Const | ir.Name | ir.Op):
                values[name] = value
        result = self.result(stmt, kinds, values)
        if result is None:
            raise refuse(stmt, f"the result of {stmt.op} {_UNKNOWN}")
        if len(rows) > 1 and not (result.plain and all(k.plain for k in kinds.values())):
            raise refuse(stmt, f"{stmt.op} takes its operands from different rows")
        if stmt.op == "max" and not result.plain and self.tiles[targets["dst"].tile].cols != CELL:
            raise refuse(stmt, f"`{targets['dst'].tile}` is no maximum of whole rows")
        for name, ref in targets.items():
            total = name == "row_sum" and result.weight
            kind = dataclasses.replace(result, pure=False) if total else result
            self.require_wide(ref, kind, stmt)
            self.write(ref, kind)

    def require_wide(self, ref: ir.TileRef, kind: Kind, stmt: ir.Instr) -> None:
        """Refuses a maximum that is rounded: the parts are weighed by what `maximum` holds."""
        if kind.weight or len(kind.maxima) != 1:
            return
        whole = kind.maxima[0][1] == ONE
        own, dtype = self.tiles[self.maximum].dtype, self.tiles[ref.tile].dtype
        if kind.pure and dtype != (own if whole else "f32"):
            found = f"`{ref.tile}` holds the maximum in {dtype}"
            raise refuse(stmt, f"{found}, the parts are weighed by `{self.maximum}` in {own}")
        if whole and dtype not in (own, "f32"):
            raise refuse(stmt, f"`{ref.tile}` rounds what hangs on the maximum to {dtype}")

    def rows(self, ref: ir.TileRef, stmt: ir.Instr) -> tuple[ir.Slice, ir.Expr | None]:
        """The rows of an operand; equal where row n of one belongs to row n of another."""
        if ref.transposed or ref.rows.step is not None:
            return ir.Slice(step=ir.Name(ref.tile)), None  # equal to no other
        return ref.rows, self.tiles[ref.tile].rows if ref.rows.stop is None else None

    def result(
        self, stmt: ir.Instr, kinds: dict[str, Kind], values: dict[str, ir.Expr]
    ) -> Kind | None:
        op = stmt.op
        if all(kind == PLAIN for kind in kinds.values()):
            return PLAIN
        if op == "copy":
            return kinds["src"]
        if op in ("add", "sub", "mul", "div"):
            return self.binary(op, kinds["a"], kinds.get("b"), values.get("b"))
        if op == "max":
            return self.larger(kinds["a"], kinds.get("b"))
        if op == "fma":
            product = self.binary("mul", kinds["a"], kinds.get("b"), values.get("b"))
            if product is None:
                return None
            return self.binary("add", product, kinds.get("c"), values.get("c"))
        if op == "row_sum" and kinds["src"].weight and not kinds["src"].state:
            return dataclasses.replace(kinds["src"], pure=False)
        if op == "row_max" and not kinds["src"].weight:
            return dataclasses.replace(kinds["src"], pure=False)
        if op.endswith("_mask") and not kinds["dst"].weight:
            return dataclasses.replace(kinds["dst"], pure=False)
        if op == "matmul":
            a, b, dst = kinds["a"], kinds["b"], kinds.get("dst")
            if b != PLAIN or not (a == PLAIN or a.weight) or a.state:
                return None
            product = dataclasses.replace(a, pure=False)
            return product if dst is None else added(dst, product)
        if op in ("exp", "exp2"):
            return self.power(op, kinds, values)
        if op == "recip" and set(kinds) == {"src"} and not values:
            one = weight({}, True)
            return multiplied(one, kinds["src"], -1) if kinds["src"].weight else None
        return None

    def binary(self, op: str, a: Kind, b: Kind | None, value: ir.Expr | None) -> Kind | None:
        """add, sub, mul or div of a tile, and a tile or a value."""
        if b is not None:
            if op in ("add", "sub"):
                return added(a, b, 1 if op == "add" else -1)
            return multiplied(a, b, 1 if op == "mul" else -1)
        assert value is not None
        if op in ("add", "sub"):
            return added(a, PLAIN)
        if op == "div":
            value = ir.Op("/", (ir.Const(1.0), value))
        return scaled(a, factor_of(value))

    def larger(self, a: Kind, b: Kind | None) -> Kind | None:
        """The larger of a running maximum and something plain is the next running maximum."""
        pair = [kind for kind in (a, b) if kind is not None and kind != PLAIN]
        versions = []
        for kind in pair:
            if kind.weight or not kind.pure or len(kind.maxima) != 1 or kind.maxima[0][1] != ONE:
                return None
            versions.append(kind.maxima[0][0])
        if len(versions) == 2:
            for old, new in (versions, versions[::-1]):
                at = new
                while at not in (old, -1):
                    at = self.parents[at]
                if at == old:
                    return level({new: ONE}, True)
            return None
        self.parents.append(versions[0])
        return level({len(self.parents) - 1: ONE}, True)

    def power(self, op: str, kinds: dict[str, Kind], values: dict[str, ir.Expr]) -> Kind | None:
        """exp and exp2, with scale and bias."""
        found: Kind | None = kinds["src"]
        for name, step in (("scale", "mul"), ("bias", "add")):
            if found is not None and (name in kinds or name in values):
                found = self.binary(step, found, kinds.get(name), values.get(name))
        result = None if found is None else exponential(found, op == "exp2")
        if self.factor is None and result is not None and result.pure and len(result.maxima) == 2:
            (old, factor), (_, other) = result.maxima
            if old == 0 and not plus(factor, other):
                raise _Found(factor)
        return result

    def ends(self, pieces: dict[str, ir.TileRef], stmt: ir.Stmt) -> None:
        """Refuses a body that does not leave the maximum and the states as it found them."""
        assert self.factor is not None
        last = self.known(pieces[self.maximum], stmt)
        if last.weight or not last.pure or len(last.maxima) != 1 or last.maxima[0][1] != ONE:
            raise refuse(stmt, f"`{self.maximum}` is no running maximum at the end of the loop")
        for name, piece in pieces.items():
            if name == self.maximum:
                continue
            wanted = weight({last.maxima[0][0]: plus((), self.factor, -1)}, False, name)
            if self.known(piece, stmt) != wanted:
                raise refuse(stmt, f"`{name}` is no sum that is weighed by `{self.maximum}`")


def weights_of(
    loop: ir.Loop,
    maximum: str,
    pieces: dict[str, ir.TileRef],
    outside: set[str],
    tiles: Mapping[str, ir.TileDecl],
) -> Factor:
    """The factor of the maximum in the weights of a loop's sums: they are e ** (factor * x - ...).

    maximum: a tile of `pieces`; the others are sums. outside, tiles: as for `_Pass`.
    Raises: EditError where the loop is no online softmax with this maximum and
    these sums.
    """

    carried = tuple(pieces.items())
    decls = [decl for name, decl in tiles.items() if touches(loop, name)]
    return _WEIGHTS.checked(
        (loop, *decls),
        lambda: _weights_of(loop, maximum, pieces, outside, tiles),
        maximum,
        carried,
        frozenset(outside),
    )


_WEIGHTS: Memo[Factor] = Memo()


def _weights_of(
    loop: ir.Loop,
    maximum: str,
    pieces: dict[str, ir.TileRef],
    outside: set[str],
    tiles: Mapping[str, ir.TileDecl],
) -> Factor:
    states = set(pieces) - {maximum}
    factor: Factor | None = None
    try:
        _Pass(maximum, states, outside, tiles, None).body(loop.body)
    except _Found as found:
        factor = found.factor
    if factor is None:
        raise refuse(loop, f"no sum is brought from one maximum in `{maximum}` to the next")
    walk = _Pass(maximum, states, outside, tiles, factor)
    walk.body(loop.body)
    walk.ends(pieces, loop)
    return factor
