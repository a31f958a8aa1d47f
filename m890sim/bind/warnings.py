"""What costs cycles unseen, or does nothing, on one chip and case: banks that collide, spare slots.

`m890sim.language.warnings` has what the text alone shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m890sim.bind import bind
from m890sim.bind.program import BoundLaunch, BoundProgram, TileInfo
from m890sim.chip import ChipSpec
from m890sim.errors import Diagnostic
from m890sim.isa import OPS
from m890sim.kernel import ir
from m890sim.kernel.shapes import evaluate
from m890sim.messages import shown

_UNKNOWN = (KeyError, IndexError, ZeroDivisionError)


def launch_warnings(
    kernel: ir.Kernel, chip: ChipSpec, symbols: Mapping[str, int], tables: Mapping[str, Any]
) -> list[Diagnostic]:
    """W2xx of a checked kernel on a chip and a case, in the order of its text.

    The cycles of W201 are those of the first work item and the first passes of its loops, from
    docs/timing.md, section 5, "Inside an instruction".
    Raises: as `bind` and its `launch`.
    """
    program = bind(kernel, chip)
    return _LaunchWarnings(program, program.launch(symbols, tables), symbols, tables).run()


@dataclass(frozen=True, slots=True)
class _PortDemand:
    """One mention of a tile in SRAM by an instruction: what one bank's port must serve of it."""

    tile: TileInfo
    piece: tuple[int, int, int, int, int]  # first row, row step, first column, rows, columns
    share: int  # bytes
    first: int  # byte of the slot
    last: int


class _LaunchWarnings:
    def __init__(
        self,
        program: BoundProgram,
        launch: BoundLaunch,
        symbols: Mapping[str, int],
        tables: Mapping[str, Sequence[int]],
    ) -> None:
        self.kernel, self.chip, self.program = program.kernel, program.chip, program
        self.tables, self.places = tables, launch.places
        numbers = {value: n for n, value in enumerate(program.kernel_values)}
        self.sizes = {
            id(tile.stmt): (
                int(launch.registers[numbers[rows]]),
                int(launch.registers[numbers[cols]]),
            )
            for tile, (rows, cols) in zip(program.tiles, program.shapes, strict=True)
        }
        self.infos = {id(tile.stmt): tile for tile in program.tiles}
        self.values = {**self.kernel.tunables, **{name: int(n) for name, n in symbols.items()}}
        self.sight: dict[str, TileInfo] = {}
        self.found: dict[tuple[str, ir.SourceLoc], Diagnostic] = {}

    def run(self) -> list[Diagnostic]:
        for stmt in self.kernel.body:
            if isinstance(stmt, ir.Let):
                self.let(stmt.name, stmt.value)
            elif isinstance(stmt, ir.Cores):
                self.phase(stmt)
        return sorted(self.found.values(), key=lambda one: (one.line, one.column, one.code))

    def add(self, code: str, message: str, loc: ir.SourceLoc) -> None:
        found = Diagnostic(code, message, loc.line, loc.column, self.kernel.filename)
        self.found.setdefault((code, loc), found)

    def let(self, name: str, value: ir.Expr) -> None:
        number = self.value(value)
        self.values.pop(name, None)
        if number is not None:
            self.values[name] = number

    def value(self, expr: ir.Expr) -> int | None:
        try:
            return evaluate(expr, self.values, self.tables)
        except _UNKNOWN:
            return None

    def phase(self, stmt: ir.Cores) -> None:
        items = 1
        for extent in stmt.extents:
            items *= max(self.value(extent) or 0, 0)
        once = items <= (1 if stmt.order == "dynamic" else self.chip.cores)
        if items:
            self.block(stmt.body, dict.fromkeys(stmt.vars, 0), items if once else 0)

    def block(self, body: tuple[ir.Stmt, ...], names: Mapping[str, int], items: int) -> None:
        """items: of the phase, where no core passes the block twice; else 0."""
        sight, values = dict(self.sight), dict(self.values)
        self.values |= names
        for stmt in body:
            if isinstance(stmt, ir.Let):
                self.let(stmt.name, stmt.value)
            elif isinstance(stmt, ir.TileDecl):
                self.sight[stmt.name] = tile = self.infos[id(stmt)]
                if items > 1 and tile.slots > 1:
                    self.spare(tile, items)
            elif isinstance(stmt, ir.Instr):
                self.instruction(stmt)
            elif isinstance(stmt, ir.Loop):
                start = self.value(stmt.start)
                self.block(stmt.body, {} if start is None else {stmt.var: start}, 0)
            else:
                for inner in ir.blocks(stmt):
                    self.block(inner, {}, items)
        self.sight, self.values = sight, values

    def spare(self, tile: TileInfo, items: int) -> None:
        name = shown(tile.stmt.name)
        found = f"slots={tile.slots} of `{name}` does nothing here: with {items} work items on "
        found += f"{self.chip.cores} cores no core passes its declaration twice"
        self.add("W202", f"{found}; declare it inside a loop, or leave slots= out", tile.stmt.loc)

    def instruction(self, stmt: ir.Instr) -> None:
        streams = [*self.streams(stmt)]
        if len({id(stream.tile) for stream in streams}) < 2:
            return
        flow = self.flow(stmt)
        port = self.chip.sram_port_bytes_per_cycle
        alone = max(0, -(-max(stream.share for stream in streams) // port) - flow)
        worst: tuple[int, int, list[_PortDemand]] = (0, 0, [])
        for slot in range(max(stream.tile.slots for stream in streams)):
            banks: dict[int, list[_PortDemand]] = {}
            for stream in streams:
                for bank in self.banks(stream, slot):
                    banks.setdefault(bank, []).append(stream)
            for bank, together in banks.items():
                demand = sum(stream.share for stream in together)
                cycles = max(0, -(-demand // port) - flow) - alone
                if cycles > worst[0] and len({id(one.tile) for one in together}) > 1:
                    worst = cycles, bank, together
        cycles, bank, together = worst
        if not cycles:
            return
        names = dict.fromkeys(f"`{shown(stream.tile.stmt.name)}`" for stream in together)
        found = f"{' and '.join(names)} share bank {bank} of SRAM, whose port serves {port} "
        longer = "1 cycle" if cycles == 1 else f"{cycles} cycles"
        found += f"bytes a cycle: {stmt.op} takes {longer} longer each time"
        count = self.chip.sram_banks
        remedy = f"put one into another bank with at= (0 to {count - 1})"
        self.add("W201", f"{found}; {remedy}, or use smaller tiles", stmt.loc)

    def streams(self, stmt: ir.Instr) -> Iterator[_PortDemand]:
        """What flows through the ports; nothing where an extent is unknown."""
        row = OPS[stmt.op]
        values = [*stmt.operands, *(v for o in row.operands if (v := stmt.keyword(o.name)))]
        seen = set()
        for number, ref in enumerate(values):
            if not isinstance(ref, ir.TileRef) or ref.tile not in self.sight:
                continue
            tile = self.sight[ref.tile]
            piece = self.piece(ref)
            if tile.stmt.space != "sram" or piece is None or 0 in piece[3:]:
                continue
            if (ref.tile, piece) in seen and row.family != "matrix":
                continue
            seen.add((ref.tile, piece))
            first, step, column, rows, cols = piece
            size = ir.DTYPES[tile.stmt.dtype]
            width = self.sizes[id(tile.stmt)][1]
            share = min(rows * cols * size, self.chip.bank_bytes)
            if row.family == "matrix" and number == 1:
                across = self.oriented(stmt.operands[2])
                share *= -(-across[1] // self.chip.matrix_columns) if across else 1
            begin = (first * width + column) * size
            end = ((first + (rows - 1) * step) * width + column + cols) * size - 1
            yield _PortDemand(tile, piece, share, begin, end)

    def piece(self, ref: ir.TileRef) -> tuple[int, int, int, int, int] | None:
        """First row, row step, first column, rows and columns, as stored."""
        taken = []
        whole = self.sizes[id(self.sight[ref.tile].stmt)]
        for part, extent in zip((ref.rows, ref.cols), whole, strict=True):
            start = 0 if part.start is None else self.value(part.start)
            stop = extent if part.stop is None else self.value(part.stop)
            step = 1 if part.step is None else self.value(part.step)
            if start is None or stop is None or not step or step < 1 or start < 0:
                return None
            taken.append((start, step, max(0, -(-(min(stop, extent) - start) // step))))
        (first, step, rows), (column, _, cols) = taken
        return first, step, column, rows, cols

    def oriented(self, ref: ir.Operand) -> tuple[int, int] | None:
        """Rows and columns of a tile operand, after `.T`."""
        piece = self.piece(ref) if isinstance(ref, ir.TileRef) else None
        if piece is None or not isinstance(ref, ir.TileRef):
            return None
        return (piece[4], piece[3]) if ref.transposed else (piece[3], piece[4])

    def banks(self, stream: _PortDemand, slot: int) -> range:
        at = 2 * (stream.tile.first_slot + slot % stream.tile.slots) + 1
        address = int(self.places[at])
        size = self.chip.bank_bytes
        return range((address + stream.first) // size, (address + stream.last) // size + 1)

    def flow(self, stmt: ir.Instr) -> int:
        """w of an instruction: the cycles in which its data flow (docs/timing.md, section 3)."""
        row, chip = OPS[stmt.op], self.chip
        if row.family == "matrix":
            a, b = (self.oriented(ref) for ref in stmt.operands[1:3])
            ref = stmt.operands[1]
            if a is None or b is None or not isinstance(ref, ir.TileRef):
                return 0
            itemsize = ir.DTYPES[self.sight[ref.tile].stmt.dtype]
            rows = a[0]
            if itemsize == 4:
                rows *= chip.matrix_f32_cycles_per_row
            elif itemsize == 1:
                rows = -(-rows // chip.matrix_f8_rows_per_cycle)
            passes = -(-a[1] // chip.matrix_rows) * -(-b[1] // chip.matrix_columns)
            return passes * max(rows, chip.matrix_load_cycles)
        engine = str(stmt.keyword("engine") or row.engines[0])
        passes = row.passes.get(engine, 0) + sum(
            count
            for (unit, key), count in row.extra_passes.items()
            if unit == engine and stmt.keyword(key) is not None
        )
        positional = [operand.name for operand in row.operands if not operand.keyword]
        sized = stmt.operands[positional.index(row.size_of)] if row.size_of in positional else None
        extent = self.oriented(sized) if isinstance(sized, ir.TileRef) else None
        if extent is None or engine not in ("vector", "sfu"):
            return 0
        tiles = [
            self.sight[ref.tile].stmt.dtype
            for ref in (*stmt.operands, *(value for _, value in stmt.keywords))
            if isinstance(ref, ir.TileRef) and ref.tile in self.sight
        ]
        wide = any(ir.DTYPES[dtype] == 4 for dtype in tiles)
        lanes = chip.vector_f32_lanes if wide else chip.vector_bf16_lanes
        lanes = chip.sfu_elements_per_cycle if engine == "sfu" else lanes
        return -(-passes * extent[0] * extent[1] // lanes)
