"""Float instructions of a block, taken apart and put together again as few compiled chains.

An instruction becomes parts: what `compiled.run_chain` does row by row, and calls of NumPy (matrix
products, functions). A part joins the last chain before it that no part in between forbids, so that
a chain takes a few rows through scaling, masking, maximum and subtraction while they are in cache.
Parts that touch the same tile, one of them writing it, stay in order. The operations and their
roundings are those of `isa.OPS[...].meaning` on a FloatDomain: the bits are the same, but for which
zero is the larger of 0.0 and -0.0, and the payloads of NaNs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from m890sim.execute.domain import Domain
from m890sim.execute.lane_flow import LaneStep
from m890sim.execute.lane_operands import TileLanes, Unchanged
from m890sim.execute.lanes import LaneEnv
from m890sim.execute.rounding import F32, round_to

_FOLDS = ("row_max", "row_sum")
MASKS = {"causal_mask": "causal", "window_mask": "window", "limit_mask": "limit"}
_MOST_KNOWN = 256  # extents that a chain remembers
_MOST = 1 << 40  # beyond every tile's extent
BINARY: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}


class ChainOperand(NamedTuple):
    """An array, (lanes, rows, columns), or a number; and the piece of a tile that it is."""

    value: Any
    place: TileLanes | None = None


class Operation(NamedTuple):
    """One operation on tiles: dst = name(operands). arguments: settings of a mask."""

    name: str
    dst: F32
    place: TileLanes
    operands: tuple[ChainOperand, ...]
    arguments: Mapping[str, Any] = {}


@dataclass(slots=True, eq=False)
class Instruction:
    """An instruction for all lanes: its operands, resolved when one of them has changed."""

    name: str
    arguments: dict[str, Any]
    moving: Sequence[tuple[str, Callable[[LaneEnv], int]]]
    reads: Sequence[tuple[str, TileLanes]]
    writes: Sequence[tuple[str, TileLanes, str | None]]
    settle: Callable[[], None]  # compares extents, and measures what it does
    pay: Callable[[], None]  # counts that. Raises: LimitError E510
    targets: list[tuple[Any, str | None]] = field(default_factory=list)

    def prepare(self, env: LaneEnv) -> None:
        """Resolve the operands. Raises: Split, Unbatched."""
        for key, place in self.reads:
            self.arguments[key] = place.read(env)
        self.targets[:] = [(place.target(env), dtype) for _, place, dtype in self.writes]
        self.settle()

    def renew(self) -> None:
        """Look at the tiles' memory again, where all bounds are as before. Raises: Unbatched."""
        for key, place in self.reads:
            if place.moved:
                place.renew()
            self.arguments[key] = place.view
        for n, (_, place, dtype) in enumerate(self.writes):
            if place.moved:
                place.renew()
            self.targets[n] = (place.view, dtype)

    def set(self, env: LaneEnv) -> None:
        """Work out the settings. Raises: Split, Unbatched."""
        for key, code in self.moving:
            self.arguments[key] = code(env)

    @property
    def places(self) -> list[TileLanes]:
        """Every piece of a tile that it names."""
        return [place for _, place in self.reads] + [place for _, place, _ in self.writes]

    def forget(self) -> None:
        """Let go of all arrays."""
        self.targets.clear()
        self.arguments.clear()


@dataclass(frozen=True, slots=True, eq=False)
class ChainPart:
    """A part of an instruction: operations for a chain, or a call.

    first: the instruction's operands are to be resolved before it. reads, writes: ids of tiles.
    places: the pieces of tiles that its operations name.
    """

    instruction: Instruction | None
    reads: frozenset[int]
    writes: frozenset[int]
    operations: Callable[[], list[Operation]] | None = None
    call: LaneStep | None = None
    first: bool = False
    places: Sequence[TileLanes] = ()

    def follows(self, other: ChainPart) -> bool:
        """Whether it must stay behind that part."""
        return bool(
            self.reads & other.writes or self.writes & other.writes or self.writes & other.reads
        )


@dataclass(slots=True, eq=False)
class ChainParts:
    """What an instruction comes to, in order, until a block is put together."""

    parts: list[ChainPart]

    def __call__(self, env: LaneEnv) -> None:
        raise ValueError("an instruction's parts run in chains alone")


def transfer(step: LaneStep, place: TileLanes, loads: bool) -> ChainParts:
    """A load or a store as a part of its own."""
    tile, none = frozenset({id(place.tile)}), frozenset[int]()
    return ChainParts(
        [ChainPart(None, none if loads else tile, tile if loads else none, call=step)]
    )


def arrange(steps: Sequence[LaneStep], domain: Domain, held: list[Any]) -> tuple[LaneStep, ...]:
    """Steps with all parts in chains and calls; other steps stay between those around them.

    held: gets what holds arrays.
    """
    done: list[LaneStep] = []
    behind: list[
        tuple[int, list[ChainPart]]
    ] = []  # parts since the last other step, by place in `done`
    for step in steps:
        if not isinstance(step, ChainParts):
            done.append(step)
            behind.clear()
            continue
        for part in step.parts:
            chain = _chain_for(part, done, behind)
            if chain is None:
                behind.append((len(done), [part]))
                if part.operations is None:
                    assert part.call is not None
                    done.append(part.call)
                    continue
                chain = Chain(domain)
                done.append(chain)
                held.append(chain)
            chain.parts.append(part)
    for step in done:
        if isinstance(step, Chain):
            step.begin()
    return tuple(done)


def _chain_for(
    part: ChainPart, done: list[LaneStep], behind: list[tuple[int, list[ChainPart]]]
) -> Any:
    """The last chain that the part may join."""
    if part.operations is None:
        return None
    for place, parts in reversed(behind):
        step = done[place]
        if isinstance(step, Chain):
            parts.append(part)
            return step
        if any(part.follows(other) for other in parts):
            return None
    return None


class Chain:
    """Operations that run together; those in a row that go row by row are compiled."""

    __slots__ = ("_domain", "_known", "_moving", "_paying", "_places", "_segments", "_tiles",
                 "_unchanged", "parts")  # fmt: skip

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self.parts: list[ChainPart] = []
        self._places: list[TileLanes] = []
        self._tiles: list[Any] = []
        # by the places' extents: segments, and arrays that must not go
        self._known: dict[tuple[Any, ...], tuple[list[Segment], list[Any]]] = {}
        self._segments: list[Segment] = []
        self._unchanged: Any = None
        self._moving: list[Instruction] = []
        self._paying: list[Callable[[], None]] = []

    def begin(self) -> None:
        """All parts are there."""
        self._places = list(dict.fromkeys(p for part in self.parts for p in part.places))
        self._tiles = list({id(place.tile): place.tile for place in self._places}.values())
        self._unchanged = Unchanged(self._places)
        self._moving = [
            part.instruction
            for part in self.parts
            if part.instruction is not None and part.instruction.moving
        ]
        self._paying = [p.instruction.pay for p in self.parts if p.first and p.instruction]

    def forget(self) -> None:
        """Let go of all arrays."""
        self._segments = []
        self._known.clear()
        self._unchanged.forget()

    def __call__(self, env: LaneEnv) -> None:
        """Run it. Raises: Split, Unbatched."""
        if not self._unchanged(env):
            self._prepare(env)
        for instruction in self._moving:
            instruction.set(env)
        for pay in self._paying:
            pay()
        for segment in self._segments:
            segment.run(self._domain)

    def _prepare(self, env: LaneEnv) -> None:
        for part in self.parts:
            if part.first and part.instruction is not None:
                part.instruction.prepare(env)
        self._unchanged.note(env)
        # A tile's own memory stays where it is, so these decide every address.
        key = (
            *[place.extent for place in self._places],
            *[id(t.array) if t.lent else t.array.shape[0] for t in self._tiles],
        )
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            operations = [o for part in self.parts if part.operations for o in part.operations()]
            # An id is of this array only while the array is there.
            found = self._known[key] = segments_of(operations), [t.array for t in self._tiles]
        self._segments = found[0]


@dataclass(slots=True, eq=False)
class Segment:
    """Operations that run in one call, or one that NumPy runs."""

    operations: list[Operation]
    accesses: dict[int, set[Any]] = field(default_factory=dict)  # by tile: rows, None: one for all
    written: set[int] = field(default_factory=set)
    table: Any = None
    masks: list[tuple[int, Operation]] = field(default_factory=list)
    lanes: int = 0
    rows: int = 0

    def takes(self, operation: Operation) -> bool:
        """Whether the operation goes row by row along with the others; it is noted if so."""
        dst, place = operation.dst, operation.place
        if dst.shape[:2] != self.operations[0].dst.shape[:2]:
            return False
        accesses = {tile: set(rows) for tile, rows in self.accesses.items()}
        own = id(place.tile)
        written = {*self.written, own}
        accesses.setdefault(own, set()).add(place.extent[:3])
        for value, where in operation.operands:
            if where is None:
                continue
            tile = id(where.tile)
            if tile == own and (operation.name in _FOLDS or where.extent != place.extent):
                return False
            rows = where.extent[:3] if value.shape[1] == dst.shape[1] else None
            accesses.setdefault(tile, set()).add(rows)
        if any(len(rows) > 1 or None in rows for t, rows in accesses.items() if t in written):
            return False
        self.accesses, self.written = accesses, written
        return True

    def run(self, domain: Domain) -> None:
        """Run the operations with the settings of the moment."""
        if self.table is None:
            for operation in self.operations:
                run_operation(operation, domain)
            return
        for row, operation in self.masks:
            self.table[row, 2:4] = edge_of(operation)
        _compiled().run_chain(self.table, self.lanes, self.rows)


def segments_of(operations: Sequence[Operation]) -> list[Segment]:
    """The operations in as few segments as their order allows."""
    found: list[Segment] = []
    joins = False
    for operation in operations:
        if not operation.dst.size:
            continue
        if joins and _fits(operation) and found[-1].takes(operation):
            found[-1].operations.append(operation)
            continue
        segment = Segment([operation])
        joins = _fits(operation) and segment.takes(operation)
        found.append(segment)
        if joins:
            segment.lanes, segment.rows = operation.dst.shape[:2]
            segment.table = ()
    for segment in found:
        if segment.table is not None:
            segment.table = np.array([_row(operation) for operation in segment.operations])
            segment.masks = [(n, o) for n, o in enumerate(segment.operations) if o.name in MASKS]
    return found


def _fits(operation: Operation) -> bool:
    """Whether the compiled chain can address the operands: columns side by side."""
    arrays = [operation.dst, *(o.value for o in operation.operands if o.place is not None)]
    if operation.name in _FOLDS and not operation.operands[0].value.shape[2]:
        return False
    return all(a.strides[2] == a.itemsize or a.shape[2] == 1 for a in arrays)


def _row(operation: Operation) -> list[int]:
    """The operation's row in `compiled.run_chain`'s table."""
    compiled = _compiled()
    operands = [operand.value for operand in operation.operands]
    cols = (operands[0] if operation.name in _FOLDS else operation.dst).shape[2]
    row = [compiled.CODES[operation.name], cols, 0, 1]
    for value in (operation.dst, *operands):
        by_lane, by_row, _ = (
            0 if extent == 1 else stride
            for extent, stride in zip(value.shape, value.strides, strict=True)
        )
        row += [_address(value), by_lane, by_row, 4 if value.shape[2] > 1 or cols == 1 else 0]
    return row + [0] * (compiled.WIDTH - len(row))


def _address(array: F32) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def edge_of(operation: Operation) -> tuple[int, int]:
    """A mask as shift and group: row r's last column before the edge is shift + r // group."""
    x = operation.arguments
    if operation.name == "limit_mask":
        return min(x["limit"], _MOST) - 1, _MOST
    shift = x["row"] - x["col"] - x.get("window", 0)
    return max(-_MOST, min(shift, _MOST)), min(x["group"], _MOST)


def run_operation(operation: Operation, domain: Domain) -> None:
    """The operation in NumPy: what the compiled chain does, one array after another."""
    name, dst, values = operation.name, operation.dst, [o.value for o in operation.operands]
    if name in BINARY:
        BINARY[name](*values, out=dst)
    elif name == "round":
        dst[...] = round_to(dst, "bf16")
    elif name == "fma":
        dst[...] = domain.fma(*values)
    elif name == "row_max":
        dst[...] = domain.row_max(*values)
    elif name == "row_sum":
        dst[...] = domain.row_sum(*values)
    elif name in MASKS:
        dst[...] = domain.mask(dst, MASKS[name], operation.arguments)
    else:
        dst[...] = values[0]


@cache
def _compiled() -> Any:
    """The compiled module. Imports numba, and compiles on a user's first run."""
    from m890sim.execute import compiled

    return compiled
