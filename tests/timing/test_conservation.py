"""Laws that hold for every program, whatever its kernel and chip: nothing comes from nowhere."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest

from m890sim.kernel import ir
from m890sim.timing import Timing, simulate_program
from m890sim.timing.oracle import OracleResult, simulate_slowly
from m890sim.timing.oracle_engines import Dispatched
from m890sim.timing.oracle_program import integers_of
from tests.generators import Program, random_program
from tests.timing.test_oracle_agreement import CHUNK, PROGRAMS

# The laws hold for the programs on which engine and oracle agree.
CHUNKS = [range(first, first + CHUNK) for first in range(0, PROGRAMS, CHUNK)]


@pytest.fixture(scope="module", params=CHUNKS, ids=str)
def seeds(request: pytest.FixtureRequest) -> range:
    """One chunk after another, so that the cache of `_timed` serves all laws of a chunk."""
    chunk: range = request.param
    return chunk


@lru_cache(maxsize=CHUNK)
def _timed(seed: int) -> tuple[Program, Timing, OracleResult]:
    program = random_program(seed)
    case = (program.kernel, program.chip, program.symbols, program.tables)
    return program, simulate_program(*case, trace=True), simulate_slowly(*case)


def _by_core(result: OracleResult) -> dict[int, list[Dispatched]]:
    cores: dict[int, list[Dispatched]] = {}
    for record in result.details:
        cores.setdefault(record.core, []).append(record)
    return cores


def test_bytes_moved_stay_within_hbm_and_core_rates(seeds: range) -> None:
    for seed in seeds:
        program, timing, result = _timed(seed)
        chip = program.chip
        window = chip.hbm_window_cycles
        moved: Counter[int] = Counter()
        by_core: Counter[tuple[int, int]] = Counter()
        for record in result.details:
            assert sum(record.moved.values()) == (record.need.dma_bytes or 0), seed
            for number, size in record.moved.items():
                moved[number] += size
                by_core[record.core, number] += size
        assert all(size <= chip.hbm_bytes_per_cycle * window for size in moved.values()), seed
        most = chip.hbm_core_bytes_per_cycle * window
        assert all(size <= most for size in by_core.values()), seed
        # The last window may end after the kernel does.
        assert timing.hbm_bytes == sum(moved.values()), seed
        assert timing.hbm_bytes <= chip.hbm_bytes_per_cycle * (timing.cycles + window), seed
        queues = Counter((r.core, r.engine) for r in result.details for _ in range(r.need.stream))
        for core, engine in queues:
            total = sum(
                r.need.dma_bytes or 0
                for r in result.details
                if (r.core, r.engine) == (core, engine)
            )
            assert total <= chip.dma_bytes_per_cycle * timing.cycles, seed


def test_macs_stay_within_the_matrix_units_peak(seeds: range) -> None:
    for seed in seeds:
        program, timing, result = _timed(seed)
        chip = program.chip
        fastest = max(1, chip.matrix_f8_rows_per_cycle)
        peak = chip.matrix_rows * chip.matrix_columns * fastest
        macs: Counter[int] = Counter()
        for record in result.details:
            macs[record.core] += record.need.macs
            assert record.need.macs <= peak * (record.busy_end - record.start), seed
        assert all(count <= peak * timing.cycles for count in macs.values()), seed


def test_ports_serve_no_more_than_their_rate_in_any_cycle(seeds: range) -> None:
    """Every byte that an instruction touches passes its banks' ports, when there is room."""
    for seed in seeds:
        program, _, result = _timed(seed)
        port = program.chip.sram_port_bytes_per_cycle
        for core, records in _by_core(result).items():
            served: Counter[tuple[int, int]] = Counter()
            for record in records:
                for tick, size in record.served.items():
                    assert record.start <= tick < record.busy_end, (seed, core)
                    for bank in record.banks:
                        served[bank, tick] += size
            assert all(size <= port for size in served.values()), (seed, core)


def test_ports_serve_all_that_instructions_touch(seeds: range) -> None:
    for seed in seeds:
        program, _, result = _timed(seed)
        chip = program.chip
        for record in result.details:
            # Of the bytes in its fullest bank, what a block's hidden load drew came before.
            hidden = max(0, record.need.passes * record.need.pass_cycles - record.base)
            if not record.loads:
                hidden = 0
            drawn = sum(record.served.values())
            assert drawn + hidden * chip.sram_port_bytes_per_cycle >= record.port_bytes, seed
            # The fullest bank has no less than what one stream may have in one bank.
            for stream in record.need.streams:
                assert stream.share <= record.port_bytes, seed


def test_ports_and_units_of_one_engine_take_the_time_their_work_needs(seeds: range) -> None:
    """No engine works off more than its lanes, elements or port bytes a cycle, start-up aside."""
    for seed in seeds:
        program, timing, result = _timed(seed)
        chip = program.chip
        drawn: Counter[tuple[int, int]] = Counter()
        for record in result.details:
            drawn[record.core, record.engine] += record.port_bytes
            assert record.busy_end - record.start >= record.need.base, seed
            assert record.need.base >= record.need.stream, seed
        for (_, engine), size in drawn.items():
            # The matrix unit's first block may have loaded before; one window more covers it.
            slack = chip.matrix_load_cycles if engine == chip.dma_queues else 0
            assert size <= chip.sram_port_bytes_per_cycle * (timing.cycles + slack), seed


def test_results_of_transfers_to_one_destination_are_ready_in_program_order(seeds: range) -> None:
    for seed in seeds:
        _, _, result = _timed(seed)
        for core, records in _by_core(result).items():
            ready: dict[int, int] = {}
            for record in records:
                if record.need.dma_bytes is None:
                    continue
                for slot in record.need.writes:
                    # A phase begins with fresh slots, so those of one phase have one identity.
                    assert record.ready >= ready.get(id(slot), 0), (seed, core)
                    ready[id(slot)] = record.ready


def test_sequencers_pay_for_every_statement_and_operation(seeds: range) -> None:
    """A core's instructions are dispatched no faster than its dispatches and excess cost."""
    for seed in seeds:
        program, timing, _ = _timed(seed)
        chip, kernel = program.chip, program.kernel
        known = {*kernel.symbols, *kernel.tunables}
        known |= {s.name for s in kernel.body if isinstance(s, ir.Let)}
        instructions = [s for s in ir.walk(kernel.body) if isinstance(s, ir.Instr)]
        assert timing.trace is not None
        clock: dict[int, int] = {}
        for core, _, number, dispatch, *_ in timing.trace.tolist():
            operations = set()
            stmt = instructions[number]
            exprs, arguments = integers_of(stmt)
            for node in (n for e in exprs for n in ir.walk_expr(e)):
                names = {n.id for n in ir.walk_expr(node) if isinstance(n, ir.Name)}
                if isinstance(node, (ir.Op, ir.TableRef)) and not names <= known:
                    operations.add(node)
            beyond = max(0, len(operations) - arguments * chip.sequencer_address_operations)
            spent = chip.sequencer_dispatch_cycles + beyond * chip.sequencer_scalar_cycles
            assert dispatch >= clock.get(core, 0) + spent, (seed, number)
            clock[core] = dispatch


def _longest_path(program: Program, records: list[Dispatched]) -> int:
    """Cycles of the longest chain of results that need each other, on one core.

    An edge goes from the writer of a slot to each later reader and (on another engine, but not
    between DMA queues) writer, from a reader to the next writer, and along each engine. Weights are
    the least an instruction takes.
    """
    queues = program.chip.dma_queues
    depth: list[int] = []  # of each instruction's busy end
    ready: list[int] = []
    writer: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    for i, record in enumerate(records):
        need = record.need
        begin = depth[last[record.engine]] if record.engine in last else 0
        for slot in need.reads:
            j = writer.get(id(slot))
            if j is not None and not (
                slot is need.accumulated and records[j].engine == record.engine
            ):
                begin = max(begin, ready[j])
        for slot in need.writes:
            begin = max([begin, *(depth[j] for j in readers.get(id(slot), []))])
            j = writer.get(id(slot))
            engines = {record.engine, records[j].engine} if j is not None else set()
            if j is not None and len(engines) == 2 and max(engines) >= queues:
                begin = max(begin, ready[j])
        depth.append(begin + need.base)
        ready.append(begin + need.base + need.latency)
        for slot in need.reads:
            readers.setdefault(id(slot), []).append(i)
        for slot in need.writes:
            writer[id(slot)] = i
            readers[id(slot)] = []
        last[record.engine] = i
    return max(ready, default=0)


def test_cycles_cover_the_longest_dependence_path(seeds: range) -> None:
    for seed in seeds:
        program, timing, result = _timed(seed)
        launch = program.chip.launch_cycles + program.chip.core_start_cycles
        for core, records in _by_core(result).items():
            assert timing.cycles >= launch + _longest_path(program, records), (seed, core)


def test_attribution_adds_up_to_the_cycles_of_every_engine(seeds: range) -> None:
    for seed in seeds:
        program, timing, _ = _timed(seed)
        expected = np.full((program.chip.cores, program.chip.dma_queues + 3), timing.cycles)
        actual = timing.attribution.cycles
        assert (actual >= 0).all(), seed
        np.testing.assert_array_equal(actual.sum(axis=2), expected, err_msg=f"seed {seed}")


def test_busy_port_and_hbm_cycles_equal_the_oracles(seeds: range) -> None:
    for seed in seeds:
        _, timing, result = _timed(seed)
        causes = timing.attribution.causes
        for cause, expected in (
            ("busy", result.busy),
            ("port", result.port),
            ("hbm", result.hbm),
        ):
            column = timing.attribution.cycles[:, :, causes.index(cause)]
            actual = {(int(c), int(e)): int(n) for (c, e), n in np.ndenumerate(column)}
            assert actual == expected, (seed, cause)


def test_engines_run_one_instruction_at_a_time_in_order(seeds: range) -> None:
    for seed in seeds:
        program, timing, _ = _timed(seed)
        assert timing.trace is not None
        free: dict[tuple[int, int], int] = {}
        clock: dict[int, int] = {}
        for core, engine, _, dispatch, start, busy_end, ready in timing.trace.tolist():
            spent = program.chip.sequencer_dispatch_cycles
            assert dispatch >= clock.get(core, 0) + spent, seed
            assert dispatch <= start <= busy_end <= ready <= timing.cycles, seed
            assert start >= free.get((core, engine), 0), seed
            clock[core], free[core, engine] = dispatch, busy_end


def test_queues_and_transfers_under_way_stay_within_their_limits(seeds: range) -> None:
    for seed in seeds:
        program, timing, _ = _timed(seed)
        assert timing.trace is not None
        chip = program.chip
        waiting: dict[tuple[int, int], list[tuple[int, int]]] = {}
        under_way: dict[int, list[tuple[int, int]]] = {}
        for core, engine, _, dispatch, start, _, ready in timing.trace.tolist():
            waiting.setdefault((core, engine), []).append((dispatch, start))
            if engine < chip.dma_queues:
                under_way.setdefault(core, []).append((start, ready))
        for spans in waiting.values():
            assert _most_at_once(spans) <= chip.sequencer_queue_entries, seed
        for spans in under_way.values():
            assert _most_at_once(spans) <= chip.dma_in_flight, seed


def _most_at_once(spans: list[tuple[int, int]]) -> int:
    """The largest number of half-open spans over one cycle."""
    edges = sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most
