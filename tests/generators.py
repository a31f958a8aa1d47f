"""Random valid programs: a kernel, a case and a small chip from a seed.

What is promised of every program: the kernel keeps all rules of the language, every element that is
read has been written, slices stay inside their tiles and tensors, and work items of a phase write
disjoint elements of outputs and HBM scratch and read nothing that another item writes. Chips are
small and odd, so that queues fill, ports and HBM are fought over, and slots run out.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from m890sim.chip import M890, ChipSpec
from m890sim.kernel import ir, printer
from m890sim.timing.oracle_program import OracleScope, place_tiles
from tests.generator_bodies import BodyWriter
from tests.generator_parts import Block, Extent, Integer, Piece, Tensor, const, op, plus
from tests.generator_pieces import DTYPES, SIDE_MOST

# Dispatched in all, over the work items of all phases: keeps the oracle at some 20 ms a program.
INSTRUCTIONS_MOST = 240
_NUMPY_DTYPES: dict[str, Any] = {
    "f32": np.float32,
    "bf16": ml_dtypes.bfloat16,
    "f16": np.float16,
    "f8e4m3": ml_dtypes.float8_e4m3fn,
}


@dataclass(frozen=True)
class Program:
    """A kernel, the chip it runs on, and what a launch gives it."""

    kernel: ir.Kernel
    chip: ChipSpec
    symbols: dict[str, int]
    tables: dict[str, np.ndarray]
    scalars: dict[str, float]

    def describe(self) -> str:
        """The whole program as text, for messages of failed tests."""
        changed = {
            entry.name: getattr(self.chip, entry.name)
            for entry in dataclasses.fields(ChipSpec)
            if getattr(self.chip, entry.name) != getattr(M890, entry.name)
        }
        tables = {name: table.tolist() for name, table in self.tables.items()}
        text = printer.print_kernel(self.kernel)
        return f"{text}\nchip: {changed}\nsymbols: {self.symbols}\ntables: {tables}"


def random_program(
    seed: int, instructions: int = INSTRUCTIONS_MOST, chip: ChipSpec | None = None
) -> Program:
    """The program of a seed; `instructions` bounds how many are dispatched.

    chip: to run on this one, a full-sized one, and not on a small one that is made up too.
    """
    rng = random.Random(seed)
    return _ProgramWriter(rng, instructions, chip).program(seed)


def random_inputs(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """Input tensors by name: float32 arrays, rounded to the dtypes of the parameters."""
    rng = np.random.default_rng(seed)
    scope = OracleScope({**program.symbols, **program.kernel.tunables}, program.tables)
    loaded = _tensors_of(program.kernel, "load")
    inputs = {}
    for param in program.kernel.params:
        if param.kind == "tensor" and param.name in loaded:
            shape = [scope.value(dim) for dim in param.dims]
            values = rng.standard_normal(shape).astype(_NUMPY_DTYPES[param.dtype])
            inputs[param.name] = values.astype(np.float32)
    return inputs


def random_chip(rng: random.Random) -> ChipSpec:
    """A small chip with more SRAM and ACC than any generated kernel needs."""

    def pick(*values: int) -> int:
        return rng.choice(values)

    window = pick(1, 2, 3, 4, 7, 8, 16)
    chip_rate, core_rate = pick(2, 3, 5, 8, 16), pick(2, 3, 4, 8)
    banks = pick(1, 2, 3, 5, 8, 16, 40)
    rate = min(pick(2, 3, 4, 8, 16), min(chip_rate, core_rate) * window)
    return M890.replace(
        name="generated",
        cores=pick(1, 1, 2, 3, 4),
        sram_bytes=2**12 * banks,
        sram_banks=banks,
        sram_port_bytes_per_cycle=pick(1, 2, 4, 8, 16, 64),
        acc_bytes=2**20,
        matrix_rows=pick(1, 2, 3, 4, 8),
        matrix_columns=pick(1, 2, 3, 4, 8),
        matrix_load_cycles=pick(0, 1, 5, 12, 20),
        matrix_fill_cycles=pick(0, 3, 10, 25),
        matrix_f32_cycles_per_row=pick(1, 2, 4),
        matrix_f8_rows_per_cycle=pick(1, 2, 3),
        vector_f32_lanes=pick(1, 2, 3, 4, 8),
        vector_bf16_lanes=pick(2, 4, 5, 16),
        vector_startup_cycles=pick(0, 1, 4, 10),
        vector_latency_cycles=pick(0, 0, 3, 7),
        sfu_elements_per_cycle=pick(1, 2, 3, 4),
        sfu_startup_cycles=pick(0, 0, 2, 6),
        sfu_latency_cycles=pick(0, 0, 3, 9),
        dma_queues=pick(1, 2, 3, 4),
        dma_bytes_per_cycle=rate,
        dma_issue_cycles=pick(0, 1, 5, 10),
        dma_latency_cycles=pick(0, 5, 20, 60),
        dma_completion_cycles=pick(0, 2, 8),
        dma_run_cycles=pick(1, 2, 3, 5),
        dma_in_flight=pick(1, 2, 3, 4, 6),
        hbm_bytes_per_cycle=chip_rate,
        hbm_core_bytes_per_cycle=core_rate,
        hbm_window_cycles=window,
        sequencer_dispatch_cycles=pick(1, 1, 2, 4),
        sequencer_loop_cycles=pick(0, 1, 4),
        sequencer_scalar_cycles=pick(0, 1, 3),
        sequencer_address_operations=pick(0, 0, 1, 2, 4),
        sequencer_queue_entries=pick(1, 1, 2, 3, 6),
        dynamic_fetch_cycles=pick(0, 3, 10),
        dependence_cycles=pick(0, 1, 5, 12),
        launch_cycles=pick(0, 1, 20),
        core_start_cycles=pick(0, 3),
        barrier_cycles=pick(0, 1, 20),
    )


def fit_sram(
    rng: random.Random,
    kernel: ir.Kernel,
    chip: ChipSpec,
    symbols: dict[str, int],
    tables: dict[str, np.ndarray],
) -> ChipSpec:
    """The chip with banks that are hardly large enough for the kernel's tiles."""
    scope = OracleScope({**symbols, **kernel.tunables}, tables)
    for stmt in kernel.body:
        if isinstance(stmt, ir.Let):
            scope.scalars[stmt.name] = scope.value(stmt.value)
    bank = rng.choice((64, 64, 100, 128, 192, 256))
    while True:
        fitted = chip.replace(sram_bytes=bank * chip.sram_banks)
        try:
            for phase in kernel.phases:
                place_tiles(phase, fitted, scope)
        except ValueError:
            bank += rng.choice((64, 100, bank))
        else:
            return fitted


def _tensors_of(kernel: ir.Kernel, name: str) -> set[str]:
    return {
        operand.tensor
        for stmt in ir.walk(kernel.body)
        if isinstance(stmt, ir.Instr) and stmt.op == name
        for operand in stmt.operands
        if isinstance(operand, ir.TensorRef)
    }


class _ProgramWriter:
    """Makes up a case, then a kernel that fits it, phase by phase."""

    def __init__(self, rng: random.Random, instructions: int, chip: ChipSpec | None) -> None:
        self.rng = rng
        self.instructions = instructions
        self.given = chip is not None
        self.chip = random_chip(rng) if chip is None else chip
        pages = rng.choice((0, 5, 7, 9, 14, 14))
        self.sizes = {
            "N": rng.choice((0, 1, 3, 6, 6, 9, 9, 13)),
            "H": rng.randint(1, 3),
            "D": rng.choice((1, 2, 4, 7, 8)),
            "E": rng.choice((0, 1, 3, 3, 4, 5)),
            "B": rng.randint(1, 4),
            "P": pages,
            "S": rng.choice((4, 7, 12)),
        }
        self.sizes |= {"B+1": self.sizes["B"] + 1, "#3": 3, "#4": 4}
        self.tunables = {
            "BR": rng.choice((2, 3, 4, 8)),
            "BC": rng.choice((1, 2, 4, 5)),
            "QUEUE": rng.randrange(self.chip.dma_queues),
            "SLOTS": rng.randint(1, 3),
            "AT": 0,
        }
        cuts = sorted(rng.randint(0, self.sizes["N"]) for _ in range(self.sizes["B"] - 1))
        self.tables = {
            "ptr": np.array([0, *cuts, self.sizes["N"]], dtype=np.int64),
            "pages": np.array(self._pages(pages), dtype=np.int64),
            "pick": np.array([rng.randrange(4) for _ in range(5)], dtype=np.int64),
        }
        self.params: list[ir.Param] = []
        self.top: list[ir.Stmt] = []
        self.tensors: list[Tensor] = []
        for _ in range(rng.randint(2, 4)):
            self._input()

    def _pages(self, count: int) -> list[int]:
        pages: list[int] = []
        while len(pages) < count:
            first = self.rng.randrange(self.sizes["S"])
            run = range(first, min(self.sizes["S"], first + self.rng.randint(1, 4)))
            pages.extend(run)
        return pages[:count]

    def _dims(self, keys: tuple[str, ...]) -> tuple[ir.Expr, ...]:
        writer = BodyWriter(self.rng, self.sizes, self.tunables, {}, 1, 1, 0)
        return tuple(writer.size_of(key) for key in keys)

    def _input(self) -> None:
        rng = self.rng
        shapes = (("N", "D"), ("S", "D"), ("N", "H", "D"), ("S", "H", "D"), ("D", "E"), ("H", "N"))
        shapes += (
            ("#4", "D"),
            ("B+1", "#3"),
            ("D",),
            ("S", "#4", "H", "E"),
            ("P", "D"),
            ("H", "S", "D"),
            ("#3", "S"),
        )
        keys = rng.choice(shapes)
        self._parameter(Tensor(f"in{len(self.tensors)}", keys=keys, owned=False))

    def _parameter(self, tensor: Tensor) -> None:
        tensor.dtype = self.rng.choice(DTYPES)
        self.tensors.append(tensor)
        dims = self._dims(tensor.keys)
        self.params.append(ir.Param(tensor.name, "tensor", dims, tensor.dtype))

    def program(self, seed: int) -> Program:
        """The finished program."""
        rng = self.rng
        tops = []
        if rng.random() < 0.5:
            tops.append(Integer("g0", self.sizes["H"] // 2, self.sizes["H"] // 2))
            self.top.append(ir.Let("g0", op("//", ir.Name("H"), const(2))))
        phases = rng.choice((1, 1, 2, 3))
        cores = [self._phase(tops, self.instructions // phases) for _ in range(phases)]
        body = (*self.top, *cores)
        params = self._used_params(body)
        kernel = ir.Kernel(f"generated_{seed}", params, body)
        symbols = {name: self.sizes[name] for name in kernel.symbols}
        tables = {p.name: self.tables[p.name] for p in params if p.kind == "table"}
        scalars = {p.name: rng.uniform(-1, 1) for p in params if p.kind == "scalar"}
        chip = self.chip
        if not self.given:
            chip = fit_sram(rng, kernel, chip, symbols, tables)
        return Program(kernel, chip, symbols, tables, scalars)

    def _used_params(self, body: tuple[ir.Stmt, ...]) -> tuple[ir.Param, ...]:
        used: set[str] = set()
        for stmt in ir.walk(body):
            used |= _names(stmt)
        params = [param for param in self.params if param.name in used]
        lengths = {
            "ptr": op("+", ir.Name("B"), const(1)),
            "pages": ir.Name("P"),
            "pick": const(5),
        }
        for name, dim in lengths.items():
            if name in used:
                params.append(ir.Param(name, "table", (dim,)))
        for name in ("sc", "off"):
            if name in used:
                params.append(ir.Param(name, "scalar"))
        symbols = ir.Kernel("k", tuple(params), ()).symbols
        for name in self.sizes:
            if name in used and name not in symbols:
                params.append(ir.Param(name, "size"))
        for name, value in self.tunables.items():
            if name in used:
                params.append(ir.Param(name, "tunable", default=value))
        return tuple(params)

    # ---- phases ----

    def _phase(self, tops: list[Integer], instructions: int) -> ir.Cores:
        rng = self.rng
        axes = rng.choice(("r", "r", "hr", "rh", "h", "b", "hb", "c", "ch", "hrc", "zh"))
        block = Block(names=set(self.sizes) | {"g0"})
        block.integers = list(tops)
        variables, extents, keys, items = [], [], [], 1
        for axis in axes:
            name = block.fresh("i")
            extent, key, count = self._axis(block, axis, name)
            variables.append(name)
            extents.append(extent)
            keys.append(key)
            items *= count
        block.runs = max(1, items)
        lengths = {
            name: (len(t), min([0, *t.tolist()]), max([0, *t.tolist()]))
            for name, t in self.tables.items()
        }
        writer = BodyWriter(
            rng,
            self.sizes,
            self.tunables,
            lengths,
            self.chip.dma_queues,
            self.chip.sram_banks,
            instructions,
        )
        inputs = [tensor for tensor in self.tensors if not tensor.scratch and not tensor.axes]
        outputs = [self._output(keys) for _ in range(rng.randint(1, 2))]
        scratch = [tensor for tensor in self.tensors if tensor.scratch and tensor.complete]
        for tensor in scratch:
            tensor.owned = False
        made = [self._scratch(keys)] if rng.random() < 0.6 else []
        again = [t for t in scratch if t.axes == frozenset(keys) and rng.random() < 0.3]
        for tensor in again:
            tensor.owned = True
        writer.tensors = inputs + outputs + scratch + made
        writer.fill_block(block, rng.randint(1, 4))
        for tensor in made:
            tensor.complete = writer.store(block, tensor, whole=True)
        writer.fill_block(block, rng.randint(2, 6))
        writer.store(block, rng.choice(outputs))
        order = rng.choice(ir.ORDERS)
        return ir.Cores(tuple(variables), tuple(extents), order, tuple(block.statements))

    def _axis(self, block: Block, axis: str, name: str) -> tuple[ir.Expr, str, int]:
        """Extent, dimension key and most items of a phase's loop; adds what its body needs."""
        sizes, variable = self.sizes, ir.Name(name)
        if axis == "r":
            block_rows, rows = self.tunables["BR"], sizes["N"]
            count = -(-rows // block_rows)
            block.integers.append(Integer(name, 0, max(0, count - 1)))
            first: ir.Expr = op("*", variable, ir.Name("BR"))
            length = op("min", ir.Name("BR"), op("-", ir.Name("N"), first))
            extent = self._length(block, length, min(rows, block_rows))
            piece = Piece(ir.Slice(first, op("+", first, extent.expr)), extent)
            block.pieces["N"] = [piece]
            block.own["N"] = [piece, *self._first_row(piece)]
            return op("ceil_div", ir.Name("N"), ir.Name("BR")), "N", count
        if axis == "b":
            block.integers.append(Integer(name, 0, sizes["B"] - 1))
            start = block.fresh("s")
            block.statements.append(ir.Let(start, ir.TableRef("ptr", variable)))
            length = op("-", ir.TableRef("ptr", plus(variable, 1)), ir.Name(start))
            longest = int(np.diff(self.tables["ptr"]).max())
            extent = self._length(block, length, longest)
            piece = Piece(ir.Slice(ir.Name(start), op("+", ir.Name(start), extent.expr)), extent)
            block.pieces["N"] = [piece]
            block.own["N"] = [piece]
            return ir.Name("B"), "N", sizes["B"]
        key = {"h": "H", "c": "#3", "z": "E"}[axis]
        block.integers.append(Integer(name, 0, max(0, sizes[key] - 1)))
        block.own[key] = [Piece(variable)]
        block.pieces.setdefault(key, []).append(Piece(variable))
        return self._dims((key,))[0], key, sizes[key]

    def _length(self, block: Block, length: ir.Expr, most: int) -> Extent:
        name = block.fresh("n")
        block.statements.append(ir.Let(name, length))
        block.integers.append(Integer(name, 0, most))
        extent = Extent(ir.Name(name), most, False)
        block.extents.append(extent)
        return extent

    def _first_row(self, piece: Piece) -> list[Piece]:
        """A part of a work item's rows that is never empty."""
        return [Piece(piece.index.start)] if self.sizes["N"] else []

    def _shape(self, axes: list[str]) -> tuple[str, ...]:
        keys = [*axes]
        self.rng.shuffle(keys)
        small = [key for key, size in self.sizes.items() if size <= SIDE_MOST and key != "B+1"]
        others = [key for key in small if key not in axes]
        return (*keys, self.rng.choice(others))

    def _output(self, axes: list[str]) -> Tensor:
        tensor = Tensor(f"out{len(self.tensors)}", keys=self._shape(axes), axes=frozenset(axes))
        self._parameter(tensor)
        return tensor

    def _scratch(self, axes: list[str]) -> Tensor:
        keys = self._shape(axes)
        tensor = Tensor(f"h{len(self.tensors)}", keys=keys, axes=frozenset(axes), scratch=True)
        tensor.dtype = self.rng.choice(DTYPES)
        self.tensors.append(tensor)
        self.top.append(ir.HbmDecl(tensor.name, self._dims(keys), tensor.dtype))
        return tensor


def _names(node: Any) -> set[str]:
    """Every name that a node of the IR mentions, whatever it means."""
    if isinstance(node, ir.Name):
        return {node.id}
    if isinstance(node, tuple):
        return set().union(*(_names(part) for part in node))
    if not dataclasses.is_dataclass(node):
        return set()
    found = set()
    for entry in dataclasses.fields(node):
        value = getattr(node, entry.name)
        if entry.name in ("table", "tensor"):
            found.add(value)
        found |= _names(value)
    return found
