"""The engine against the oracle: two implementations of docs/timing.md agree to the cycle."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m890sim.timing import Timing, simulate_program
from m890sim.timing.oracle import OracleResult, simulate_slowly
from tests.generators import Program, random_program

PROGRAMS = 600
CHUNK = 60
LONG_PROGRAMS = 20_000
LONG_CHUNK = 1_000


def mismatch(program: Program) -> str:
    """What the engine and the oracle say differently about a program; "" where they agree."""
    case = (program.kernel, program.chip, program.symbols, program.tables)
    expected = simulate_slowly(*case)
    actual = simulate_program(*case, trace=True)
    found = [
        *_records(actual, expected),
        *_number("cycles", actual.cycles, expected.cycles),
        *_number("instructions", actual.instructions, expected.instructions),
        *_attribution(actual, expected),
    ]
    return "\n".join([program.describe(), *found]) if found else ""


def _number(name: str, actual: int, expected: int) -> list[str]:
    return [] if actual == expected else [f"{name}: engine {actual}, oracle {expected}"]


def _records(actual: Timing, expected: OracleResult) -> list[str]:
    assert actual.trace is not None
    # The sort is stable and the trace is in the order of scheduling: program order on each core.
    rows = sorted((tuple(row) for row in actual.trace.tolist()), key=lambda row: row[0])
    for row, record in zip(rows, expected.records, strict=False):
        if row != record:
            fields = "core, engine, number, dispatch, start, busy end, ready"
            return [f"first record that differs ({fields}): engine {row}, oracle {record}"]
    return _number("records", len(rows), len(expected.records))


def _attribution(actual: Timing, expected: OracleResult) -> list[str]:
    table, found = actual.attribution, []
    seen = 0
    for core in range(actual.chip.cores):
        for engine, name in enumerate(table.engines):
            for column, cause in enumerate(table.causes):
                key = cause
                if cause.startswith("operand from "):
                    key = f"operand from {table.engines.index(cause.split()[-1])}"
                cycles = int(table.cycles[core, engine, column])
                seen += cycles
                place = f"attribution of core {core}, {name}, {cause}"
                found += _number(place, cycles, expected.attribution[core, engine, key])
    return [*found, *_number("attributed cycles", seen, sum(expected.attribution.values()))]


def _check_seeds(first: int, count: int) -> None:
    for seed in range(first, first + count):
        message = mismatch(random_program(seed))
        assert not message, f"seed {seed}\n{message}"


@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
def test_engine_agrees_with_oracle_on_generated_programs(first: int) -> None:
    _check_seeds(first, CHUNK)


@pytest.mark.long
@pytest.mark.parametrize("first", range(PROGRAMS, PROGRAMS + LONG_PROGRAMS, LONG_CHUNK))
def test_engine_agrees_with_oracle_on_many_generated_programs(first: int) -> None:
    _check_seeds(first, LONG_CHUNK)


# Fields that a chip may change without the program ceasing to fit it.
_FIELDS = {
    "cores": st.integers(1, 4),
    "sram_port_bytes_per_cycle": st.integers(1, 32),
    "matrix_rows": st.integers(1, 8),
    "matrix_columns": st.integers(1, 8),
    "matrix_load_cycles": st.integers(0, 20),
    "vector_startup_cycles": st.integers(0, 10),
    "dma_issue_cycles": st.integers(0, 10),
    "dma_latency_cycles": st.integers(0, 50),
    "dma_run_cycles": st.integers(1, 5),
    "dma_in_flight": st.integers(1, 6),
    "dependence_cycles": st.integers(0, 10),
    "sequencer_dispatch_cycles": st.integers(1, 4),
    "sequencer_loop_cycles": st.integers(0, 4),
    "sequencer_address_operations": st.integers(0, 5),
    "sequencer_queue_entries": st.integers(1, 6),
}


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 10**6),
    instructions=st.integers(5, 120),
    changes=st.fixed_dictionaries({}, optional=_FIELDS),
)
def test_engine_agrees_with_oracle_on_changed_chips(
    seed: int, instructions: int, changes: dict[str, int]
) -> None:
    program = random_program(seed, instructions)
    chip = program.chip.replace(**changes)
    message = mismatch(
        Program(program.kernel, chip, program.symbols, program.tables, program.scalars)
    )
    assert not message, message
