"""How much a functional run has done, and how much it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from m890sim.errors import LimitError
from m890sim.isa import OpSpec
from m890sim.kernel import ir
from m890sim.kernel.transform import expressions
from m890sim.language import Limits

OPERATIONS = 16  # on integers that take about as long as a loop trip


@dataclass(slots=True)
class Work:
    """What has been run, and how much may be."""

    limits: Limits
    instructions: int = 0
    trips: int = 0
    bytes: int = 0
    products: int = 0
    elements: int = 0

    def add(self, trips: int, instructions: int) -> None:
        """Count a loop before it runs. Raises: LimitError E505, E506."""
        self.trips += trips
        self.instructions += instructions
        names = ("run_instructions", "instructions")
        limit, name = min((getattr(self.limits, name), name) for name in names)
        if self.instructions > limit:
            raise LimitError(
                "E505",
                f"the run comes to more than {limit:,} instructions; use larger tiles, or give "
                f"more from Python: limits=Limits({name}=...)",
            )
        if self.trips > limit:
            raise LimitError(
                "E506",
                f"the run comes to more than {limit:,} work items and loop trips, or {OPERATIONS} "
                "operations on integers for each; use larger steps",
            )

    def allocate(self, what: str, elements: int, itemsize: int) -> None:
        """Count memory before it is taken. Raises: LimitError E509."""
        self.bytes += elements * itemsize
        limit = self.limits.memory_bytes
        if self.bytes > limit:
            raise LimitError(
                "E509",
                f"{what} brings the functional run to {self.bytes:,} bytes of at most {limit:,}; "
                "use a smaller case, or give more from Python: limits=Limits(memory_bytes=...)",
            )

    def touch(self, shape: tuple[int, ...]) -> None:
        """Count the elements of an instruction that does no multiply-adds. Raises: as `spend`."""
        self.elements += shape[-2] * shape[-1]
        if self.elements > self.limits.run_elements:
            self.spend(0, 0)

    def spend(self, products: int, elements: int) -> None:
        """Count an instruction's arithmetic before it is done. Raises: LimitError E510."""
        self.products += products
        self.elements += elements
        limits = self.limits
        if self.products > limits.run_products or self.elements > limits.run_elements:
            found, name = (
                (f"{limits.run_products:,} multiply-adds", "run_products")
                if self.products > limits.run_products
                else (f"{limits.run_elements:,} elements of its other instructions", "run_elements")
            )
            raise LimitError(
                "E510",
                f"the run comes to more than {found}; compute less, run fewer items, or "
                f"give more from Python: limits=Limits({name}=...)",
            )

    def restart(self) -> None:
        """Count from 0 again; memory stays taken."""
        self.instructions = self.trips = self.products = self.elements = 0


def arithmetic(spec: OpSpec, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Multiply-adds and elements of an instruction, of its operands' last two extents."""
    if spec.family == "matrix":
        return shapes["a"][-2] * shapes["a"][-1] * shapes["b"][-1], 0
    rows, cols = shapes[spec.size_of][-2:]
    return 0, rows * cols


def trip_work(body: tuple[ir.Stmt, ...]) -> int:
    """What a pass through a body counts against the limit of loop trips: 1, and its integers."""
    return 1 + _operations(body) // OPERATIONS


def _operations(body: tuple[ir.Stmt, ...]) -> int:
    """Operations on integers in a body.

    Remembered, as a kernel is compiled for one case after another; by identity, as to hash a body
    takes as long as to count.
    """
    found = _counted.get(id(body))
    if found is not None and found[0] is body:
        return found[1]
    count = 0
    for stmt in body:
        if not isinstance(stmt, (ir.TileDecl, ir.HbmDecl, ir.Cores)):
            for expr in expressions(stmt):
                count += sum(isinstance(n, (ir.Op, ir.TableRef)) for n in ir.walk_expr(expr))
        count += sum(map(_operations, ir.blocks(stmt)))
    if len(_counted) >= _MOST_COUNTED:
        _counted.clear()
    _counted[id(body)] = body, count
    return count


_counted: dict[int, tuple[tuple[ir.Stmt, ...], int]] = {}
_MOST_COUNTED = 1024
