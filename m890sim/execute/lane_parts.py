"""Float instructions taken apart: operations for chains, and calls of NumPy.

The same operations in the same order as `isa.OPS[...].meaning` on a FloatDomain, with results
written where they belong instead of to arrays of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from m890sim.execute.chains import (
    BINARY,
    MASKS,
    ChainOperand,
    ChainPart,
    ChainParts,
    Instruction,
    Operation,
)
from m890sim.execute.lane_operands import TileLanes, Unchanged
from m890sim.execute.lanes import LaneEnv
from m890sim.execute.rounding import F32, round_to

_FUNCTIONS = {"exp": np.exp, "exp2": np.exp2, "log2": np.log2, "tanh": np.tanh}
_ONE = np.ones((1, 1, 1), np.float32)
_MINUS_INF = np.full((1, 1, 1), -np.inf, np.float32)
_SOURCES = {  # operands that a chain's operation reads
    **dict.fromkeys(BINARY, ("a", "b")),
    "fma": ("a", "b", "c"),
    "copy": ("src",),
    "fill": ("value",),
    "row_max": ("src",),
    "row_sum": ("src",),
}


class Product:
    """Memory that the products of a phase share until they are added where they belong."""

    def __init__(self) -> None:
        self._size = 0
        self._array: F32 | None = None

    def reserve(self, elements: int) -> None:
        """Say how much a product may take, before any is made."""
        self._size = max(self._size, elements)

    def view(self, shape: tuple[int, ...]) -> F32:
        """An array of that shape."""
        if self._array is None:
            self._array = np.empty(self._size, np.float32)
        return self._array[: math.prod(shape)].reshape(shape)

    def forget(self) -> None:
        """Let go of it."""
        self._array = None


class FloatParts:
    """Takes instructions of a phase apart. held: gets what holds arrays."""

    def __init__(self, held: list[Any]) -> None:
        self.product = Product()
        self._held = held

    def of(self, instruction: Instruction, run: Callable[[], None], lanes: int) -> ChainParts:
        """The parts of an instruction. run: its whole meaning. lanes: the most of a batch."""
        name, x = instruction.name, instruction.arguments
        (_, place, dtype), *more = instruction.writes
        if name in _SOURCES or name in MASKS:
            self._numbers(x)
            return self._simple(instruction, place, dtype)
        if name == "matmul" and x["accumulate"]:
            self.product.reserve(lanes * place.tile.rows * place.tile.cols)
            return self._accumulate(instruction, place, dtype)
        if name == "matmul":
            call = self._first(instruction, lambda: _product(instruction))
            return ChainParts([call, *_rounded(instruction, 0)])
        scaling = [where for key, where in instruction.reads if key in ("scale", "bias")]
        apart = {id(where.tile) for where in scaling} | {id(where.tile) for _, where, _ in more}
        if (name in _FUNCTIONS or name == "recip") and id(place.tile) not in apart:
            self._numbers(x)
            return self._function(instruction, place)
        return ChainParts([self._first(instruction, run)])

    def _first(self, i: Instruction, run: Callable[[], None]) -> ChainPart:
        """A call that comes first of an instruction's parts."""
        unchanged = Unchanged(i.places)
        self._held.append(unchanged)
        bounds, moving = unchanged.bounds, bool(i.moving)

        def call(env: LaneEnv) -> None:
            if bounds(env):
                i.renew()
            else:
                i.prepare(env)
                unchanged.note(env)
            if moving:
                i.set(env)
            i.pay()
            run()

        return ChainPart(i, *_touched(i), call=call, first=True)

    def _numbers(self, arguments: dict[str, Any]) -> None:
        for key, value in arguments.items():
            if isinstance(value, np.float32):
                arguments[key] = np.full((1, 1, 1), value)

    def _simple(self, i: Instruction, place: TileLanes, dtype: str | None) -> ChainParts:
        """One operation, rounded."""
        mask = i.name in MASKS
        name = "copy" if i.name == "fill" else i.name
        places = dict(i.reads)

        def operations() -> list[Operation]:
            operands: tuple[ChainOperand, ...]
            if mask:
                operands = (ChainOperand(_MINUS_INF),)
            else:
                operands = tuple(
                    ChainOperand(i.arguments[k], places.get(k)) for k in _SOURCES[i.name]
                )
            return [Operation(name, i.targets[0][0], place, operands, i.arguments)]

        return ChainParts([_chain(i, operations, first=True), *_rounded(i, 0)])

    def _accumulate(self, i: Instruction, place: TileLanes, dtype: str | None) -> ChainParts:
        """A product to memory of its own, and a sum."""
        x, memory, shared = i.arguments, self.product, frozenset({id(self.product)})

        def multiply() -> None:
            shape = i.targets[0][0].shape
            if "product" not in x or x["product"].shape != shape:
                x["product"] = memory.view(shape)
            np.matmul(x["a"], x["b"], out=x["product"])

        def operations() -> list[Operation]:
            target = i.targets[0][0]
            operands = (ChainOperand(x["product"]), ChainOperand(target, place))
            return [Operation("add", target, place, operands)]

        tiles = frozenset(id(where.tile) for key, where in i.reads if key != "dst")
        call = self._first(i, multiply)
        call = ChainPart(i, tiles, shared, call=call.call, first=True)
        own = frozenset({id(place.tile)})
        add = ChainPart(i, own | shared, own, operations, places=[place])
        return ChainParts([call, add, *_rounded(i, 0)])

    def _function(self, i: Instruction, place: TileLanes) -> ChainParts:
        """Scale and bias, the function in place, the sum, rounding."""
        x, places = i.arguments, dict(i.reads)
        steps = [(op, key) for op, key in (("mul", "scale"), ("add", "bias")) if _given(i, key)]

        def before() -> list[Operation]:
            target = i.targets[0][0]
            value = ChainOperand(x["src"], places["src"])
            found: list[Operation] = []
            for op, key in steps:
                operands = (value, ChainOperand(x[key], places.get(key)))
                found.append(Operation(op, target, place, operands))
                value = ChainOperand(target, place)
            if i.name == "recip":
                found.append(Operation("div", target, place, (ChainOperand(_ONE), value)))
            return found

        def sums() -> list[Operation]:
            source = ChainOperand(i.targets[0][0], place)
            return [Operation("row_sum", i.targets[1][0], i.writes[1][1], (source,))]

        parts: list[ChainPart] = []
        if steps or i.name == "recip":
            parts.append(_chain(i, before, first=True))
        if i.name != "recip":
            apply = _FUNCTIONS[i.name]
            if steps:
                own = frozenset({id(place.tile)})

                def again(env: LaneEnv) -> None:
                    apply(i.targets[0][0], out=i.targets[0][0])

                parts.append(ChainPart(i, own, own, call=again))
            else:
                parts.append(self._first(i, lambda: apply(x["src"], out=i.targets[0][0])))
        if len(i.writes) > 1:
            parts += [_chain(i, sums), *_rounded(i, 1)]
        return ChainParts([*parts, *_rounded(i, 0)])


def _given(i: Instruction, key: str) -> bool:
    return key in i.arguments or key in dict(i.reads)


def _product(i: Instruction) -> None:
    np.matmul(i.arguments["a"], i.arguments["b"], out=i.targets[0][0])


def _touched(i: Instruction) -> tuple[frozenset[int], frozenset[int]]:
    """Tiles that an instruction reads, and that it writes."""
    reads = frozenset(id(where.tile) for _, where in i.reads)
    return reads, frozenset(id(where.tile) for _, where, _ in i.writes)


def _chain(
    i: Instruction, operations: Callable[[], list[Operation]], first: bool = False
) -> ChainPart:
    return ChainPart(i, *_touched(i), operations, first=first, places=i.places)


def _rounded(i: Instruction, n: int) -> list[ChainPart]:
    """The rounding of what is written; none to f32."""
    _, place, dtype = i.writes[n]
    own = frozenset({id(place.tile)})
    if dtype is None or dtype == "f32":
        return []
    narrow = dtype

    def operations() -> list[Operation]:
        target = i.targets[n][0]
        return [Operation("round", target, place, (ChainOperand(target, place),))]

    def settle(env: LaneEnv) -> None:
        target = i.targets[n][0]
        target[...] = round_to(target, narrow)

    if narrow == "bf16":
        return [ChainPart(i, own, own, operations, places=[place])]
    return [ChainPart(i, own, own, call=settle)]
