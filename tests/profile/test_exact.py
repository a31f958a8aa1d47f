"""Profiles of generated programs are exact: whatever the kernel and the chip, parts add up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from m890sim.kernel import ir
from m890sim.profile.lines import line_profiles
from m890sim.profile.path import KINDS, critical_path
from m890sim.profile.rows import Rows
from m890sim.timing import simulate_program
from m890sim.timing.oracle import simulate_slowly
from tests.generators import Program, random_program

PROGRAMS, CHUNK = 240, 40
CHUNKS = [range(first, first + CHUNK) for first in range(0, PROGRAMS, CHUNK)]
chunks = pytest.mark.parametrize("seeds", CHUNKS, ids=str)


def rows_of(seed: int) -> tuple[Program, Rows]:
    program = random_program(seed)
    return program, Rows(program.kernel, program.chip, program.symbols, program.tables)


@chunks
def test_lines_add_up_to_the_attribution_of_their_engines(seeds: range) -> None:
    for seed in seeds:
        _, rows = rows_of(seed)
        lines = line_profiles(rows, critical_path(rows))
        for name in rows.engines:
            own = [line for line in lines if line.engine == name]
            found = Counter[str]()
            for line in own:
                found.update(line.stalls)
                found.update({"port": line.port, "hbm": line.hbm})
                found["busy"] += line.cycles - line.port - line.hbm
            expected = rows.timing.attribution.engine(name)
            rest = {cause: expected.pop(cause, 0) for cause in ("launch", "nothing left")}
            assert dict(+found) == expected, (seed, name)
            assert found.total() + sum(rest.values()) == rows.timing.cycles * rows.chip.cores


@chunks
def test_the_critical_path_goes_back_to_the_launch_without_a_gap(seeds: range) -> None:
    for seed in seeds:
        _, rows = rows_of(seed)
        path = critical_path(rows)
        assert sum(part.cycles for part in path) == rows.timing.cycles, seed
        # A wrong predecessor would end after what it is said to hold up.
        assert all(part.cycles > 0 and part.kind in KINDS for part in path), seed


@chunks
def test_what_a_row_waited_for_ends_where_it_starts(seeds: range) -> None:
    for seed in seeds:
        _, rows = rows_of(seed)
        for row in np.flatnonzero(rows.waited > 0).tolist():
            source, start = rows.source(row), int(rows.start[row])
            assert source >= 0, (seed, row)
            assert rows.core[source] == rows.core[row], (seed, row)
            cause = rows.causes[rows.why["cause"][row]]
            hop = rows.chip.dependence_cycles * int(rows.engine[source] != rows.engine[row])
            ends = {int(rows.ready[source]) + hop}
            if cause == "slot":
                ends.add(int(rows.finish[source]))  # of a reader
            elif cause == "in flight":
                ends = {int(rows.ready[source])}
            else:
                assert cause == f"operand from {rows.engines[rows.engine[source]]}", (seed, row)
            assert start in ends, (seed, row)
            if cause != "in flight":
                assert touched(rows, row) & touched(rows, source), (seed, row)


def touched(rows: Rows, row: int) -> set[str]:
    """Tiles and tensors that an instruction names; alike tiles of other blocks share slots."""
    stmt = rows.instructions[int(rows.number[row])].stmt
    values = (*stmt.operands, *(value for _, value in stmt.keywords))
    names = {v.tile for v in values if isinstance(v, ir.TileRef)}
    names |= {v.tensor for v in values if isinstance(v, ir.TensorRef)}
    return names | {"" for name in names if shares(rows, name)}


def shares(rows: Rows, name: str) -> bool:
    declared = [s for s in ir.walk(rows.kernel.body) if isinstance(s, ir.TileDecl)]
    own = [s for s in declared if s.name == name]
    return any(
        (a.space, a.dtype, a.rows, a.cols) == (b.space, b.dtype, b.rows, b.cols)
        for a in own
        for b in declared
        if a is not b
    )


@chunks
def test_recording_changes_no_cycle_and_agrees_with_the_oracle(seeds: range) -> None:
    for seed in seeds[:10]:
        program, rows = rows_of(seed)
        case = (program.kernel, program.chip, program.symbols, program.tables)
        plain, slow = simulate_program(*case, trace=True), simulate_slowly(*case)
        assert plain.trace is not None and rows.timing.trace is not None
        assert plain.cycles == rows.timing.cycles == rows.timing.phase_ends[-1], seed
        assert (plain.trace == rows.timing.trace).all(), seed
        by_hand = Counter[tuple[int, int]]()
        for row in range(len(rows)):
            key = int(rows.core[row]), int(rows.engine[row])
            by_hand[key] += int(rows.why["busy"][row])
        assert {k: v for k, v in by_hand.items() if v} == {k: v for k, v in slow.busy.items() if v}
        moved = sum(record.need.dma_bytes or 0 for record in slow.details)
        transfers = rows.engine < rows.queues
        assert int(rows.why["amount"][transfers].sum()) == moved, seed
