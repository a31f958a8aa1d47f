"""Stages, slots and times never change a result: dispatch order beside the order of the text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from m890sim.execute import run_kernel
from m890sim.kernel import ir
from m890sim.timing.oracle import simulate_slowly
from m890sim.workloads import KERNELS, AttentionCase, Case, load_kernel
from tests.execute.naive import Store
from tests.execute.pipelined import Pipelined, PipelinedDataflow, assert_same_dataflow
from tests.execute.test_generated import PlainDomain
from tests.generators import Program, random_inputs, random_program
from tests.level_cases import TINY_LEVELS

PROGRAMS = 200
PROGRAMS_WITH_VALUES = 120


@cache
def program_of(seed: int) -> Program:
    return random_program(seed)


def launch_of(program: Program) -> tuple[Any, ...]:
    inputs = random_inputs(program)
    return (program.kernel, program.symbols, program.tables, program.scalars, inputs)


def staged(kernel: ir.Kernel) -> bool:
    return any(isinstance(stmt, ir.Stage) for stmt in ir.walk(kernel.body))


@pytest.mark.parametrize("start", range(0, PROGRAMS_WITH_VALUES, 20))
def test_pipelined_order_gives_the_bits_of_the_text(start: int) -> None:
    found = 0
    for seed in range(start, start + 20):
        program = program_of(seed)
        launch = launch_of(program)
        found += staged(program.kernel)
        expected = run_kernel(*launch, domain=PlainDomain())
        with np.errstate(all="ignore"):
            actual = Pipelined(*launch).outputs
        assert actual.keys() == expected.keys()
        for name, store in actual.items():
            values = np.where(store.written, store.values, np.float32(np.nan))
            bits = expected[name].view(np.uint32)
            np.testing.assert_array_equal(values.view(np.uint32), bits, program.describe())
    assert found >= 5


@pytest.mark.parametrize("start", range(0, PROGRAMS, 20))
def test_pipelined_order_reads_what_the_same_instructions_wrote(start: int) -> None:
    # Sharper than values: it also sees a wrong element that no output depends on.
    for seed in range(start, start + 20):
        program = program_of(seed)
        assert_same_dataflow(launch_of(program), program.describe())


SMALL: dict[str, Case] = {
    "extend": AttentionCase("small", "extend", (130, 0, 3), (17, 140, 1), 2, 1, 8, 4, True),
    "decode": AttentionCase("small", "decode", (270, 1, 40), (1, 1, 1), 4, 2, 8, 16, True),
    **TINY_LEVELS,
}


def test_staged_kernels_of_the_ladder_pipelined() -> None:
    found = 0
    for entry in KERNELS.values():
        kernel = load_kernel(entry.name)
        if not staged(kernel):
            continue
        found += 1
        case = SMALL[entry.task]
        tensors = {p.name for p in kernel.params if p.kind == "tensor"}
        made = case.make_inputs()
        inputs = {name: np.zeros(made[name].shape) for name in tensors & made.keys()}
        launch = (kernel, case.symbols, case.tables, case.scalars, inputs)
        assert_same_dataflow(launch, entry.name)
    assert found


# ---- the timing oracle ---------------------------------------------------------------------------


class Logged(PipelinedDataflow):
    """Keeps every instruction with the elements that it reads and writes."""

    def __init__(self, *launch: Any) -> None:
        self.phases = 0
        self.log: list[list[tuple[ir.Instr, int, list[tuple[str, Store, np.ndarray]]]]] = [
            [] for _ in range(self.cores)
        ]
        super().__init__(*launch)

    def phase(self, stmt: ir.Cores, names: dict[str, int], stores: dict[str, Store]) -> None:
        self.phases += 1
        super().phase(stmt, names, stores)

    def instruction(self, stmt: ir.Instr, names: dict[str, int], stores: dict[str, Store]) -> None:
        if stmt.op != "fence":
            self.log[self.core].append((stmt, self.phases, self.pieces(stmt, names, stores)))
        super().instruction(stmt, names, stores)


def timed_programs(count: int) -> Iterator[tuple[Program, Logged, Any]]:
    """Programs, their log and the oracle's result; none whose items go where cycles send them."""
    seed = 0
    while count:
        program = program_of(seed)
        seed += 1
        if all(phase.order != "dynamic" for phase in program.kernel.phases):
            count -= 1
            kind = type("OnChip", (Logged,), {"cores": program.chip.cores})
            launch = launch_of(program)
            yield (
                program,
                kind(*launch),
                simulate_slowly(program.kernel, program.chip, *launch[1:3]),
            )


def test_times_follow_this_order_these_slots_and_every_dependence() -> None:
    """The oracle dispatches in this order and names these slots.

    Its times keep, element by element, reads after writes, writes after reads and, but for
    transfers, writes after writes.
    """
    for program, logged, result in timed_programs(30):
        message = program.describe()
        instructions = [s for s in ir.walk(program.kernel.body) if isinstance(s, ir.Instr)]
        number = {id(stmt): at for at, stmt in enumerate(instructions)}
        stored = {s.operands[0].tensor for s in instructions if s.op == "store"}
        untracked = {id(store) for n, store in logged.parameters.items() if n not in stored}
        for core in range(program.chip.cores):
            records = [record for record in result.details if record.core == core]
            log = logged.log[core]
            assert [r.number for r in records] == [number[id(stmt)] for stmt, _, _ in log], message
            theirs: dict[Any, list[int]] = defaultdict(list)
            ours: dict[Any, list[int]] = defaultdict(list)
            for at, (record, (_, phase, pieces)) in enumerate(zip(records, log, strict=True)):
                for slot in {id(s) for s in (*record.need.reads, *record.need.writes)}:
                    theirs[slot].append(at)
                for store in {id(store) for _, store, _ in pieces} - untracked:
                    ours[phase, store].append(at)
            assert sorted(ours.values()) == sorted(theirs.values()), message
            assert_dependences(records, log, program.chip.dma_queues, message)


def assert_dependences(records: list[Any], log: list[Any], queues: int, message: str) -> None:
    written: dict[tuple[int, int], Any] = {}
    read: dict[tuple[int, int], int] = {}
    for record, (stmt, _, pieces) in zip(records, log, strict=True):
        for role, store, where in pieces:
            for element in {(id(store), at) for at in where.tolist()}:
                last = written.get(element)
                if role != "write" and last is not None:
                    # An accumulator adds up on its way through the matrix unit.
                    chained = last.engine == record.engine and stmt.keyword("accumulate")
                    assert last.ready <= record.start or chained, message
                if role != "read":
                    assert read.pop(element, 0) <= record.start, message
                    transfers = last is not None and max(last.engine, record.engine) < queues
                    assert last is None or last.ready <= record.ready or transfers, message
        for role, store, where in pieces:
            for element in {(id(store), at) for at in where.tolist()}:
                if role != "read":
                    written[element] = record
                if role != "write":
                    read[element] = max(read.get(element, 0), record.busy_end)
