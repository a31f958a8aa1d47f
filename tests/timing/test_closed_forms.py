"""Cases small enough to add up by hand, on the big chip and on the small one.

Every expectation is a formula over fields of the chip, derived from docs/timing.md; both the engine
and the oracle must meet it. A gate test shows that a limit binds at N - 1 and no longer at N.
"""

from __future__ import annotations

import pytest

from m890sim.chip import M890, M890_LEAN, M890_MINI, ChipSpec
from m890sim.language import parse
from m890sim.timing import simulate_program
from m890sim.timing.oracle import simulate_slowly

Row = tuple[int, int, int, int, int, int, int]
CHIPS = [M890, M890_MINI]
both_chips = pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)

# Positions in a row of the trace.
CORE, ENGINE, NUMBER, DISPATCH, START, BUSY_END, READY = range(7)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def timed(body: str, chip: ChipSpec, params: str = "", **symbols: int) -> tuple[int, list[Row]]:
    """Cycles and trace rows, core after core in program order, on which engine and oracle agree."""
    text = f"from m890sim.lang import *\n\n\n@kernel\ndef case({params}):\n"
    text += "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    kernel = parse(text)
    timing = simulate_program(kernel, chip, symbols, {}, trace=True)
    slow = simulate_slowly(kernel, chip, symbols, {})
    assert timing.trace is not None
    rows = sorted((tuple(row) for row in timing.trace.tolist()), key=lambda row: row[CORE])
    assert (timing.cycles, rows) == (slow.cycles, slow.records)
    return timing.cycles, rows


def launch(chip: ChipSpec) -> int:
    """When the sequencers start."""
    return chip.launch_cycles + chip.core_start_cycles


def first_dispatch(chip: ChipSpec) -> int:
    """When the first instruction of the first work item is dispatched."""
    return launch(chip) + chip.sequencer_loop_cycles + chip.sequencer_dispatch_cycles


def arrival(chip: ChipSpec) -> int:
    """From the end of a transfer until its data count as there."""
    return chip.dma_latency_cycles + chip.dma_completion_cycles


# ---- launch, sequencer, barrier ----


@both_chips
def test_launch_is_all_that_a_kernel_without_work_costs(chip: ChipSpec) -> None:
    actual, _ = timed("for i in cores(N):\n    fence()", chip, "N: Size", N=0)
    assert actual == launch(chip)
    assert launch(M890) == 2300 and launch(M890_MINI) == 110


@both_chips
@pytest.mark.parametrize("trips", [0, 1, 7])
def test_an_iteration_costs_its_loop_cycles_and_its_dispatches(chip: ChipSpec, trips: int) -> None:
    body = "for i in cores(1):\n    for j in range(0, N):\n        x = j + 1\n        fence()"
    actual, _ = timed(body, chip, "N: Size", N=trips)
    iteration = chip.sequencer_loop_cycles + chip.sequencer_scalar_cycles
    iteration += chip.sequencer_dispatch_cycles
    assert actual == launch(chip) + chip.sequencer_loop_cycles + trips * iteration


@both_chips
@pytest.mark.parametrize("trips", [1, 2, 5])
def test_a_staged_loop_runs_as_many_more_iterations_as_its_highest_stage(
    chip: ChipSpec, trips: int
) -> None:
    body = """
for i in cores(1):
    for j in range(0, N):
        x = j + 1
        with stage(0):
            fence()
        with stage(2):
            fence()
            fence()
"""
    actual, _ = timed(body, chip, "N: Size", N=trips)
    expected = launch(chip) + chip.sequencer_loop_cycles
    expected += (trips + 2) * (chip.sequencer_loop_cycles + chip.sequencer_scalar_cycles)
    expected += 3 * trips * chip.sequencer_dispatch_cycles
    assert actual == expected


@both_chips
@pytest.mark.parametrize("phases", [1, 2, 4])
def test_a_barrier_stands_between_two_phases(chip: ChipSpec, phases: int) -> None:
    actual, _ = timed("for i in cores(1):\n    fence()\n" * phases, chip)
    phase = chip.sequencer_loop_cycles + chip.sequencer_dispatch_cycles
    assert actual == launch(chip) + phases * phase + (phases - 1) * chip.barrier_cycles


@both_chips
def test_a_barrier_waits_for_the_last_transfer(chip: ChipSpec) -> None:
    load = "    t = sram(1, 32, bf16)\n    load(t, x[0:1, :])\n"
    body = f"for i in cores(1):\n{load}for i in cores(1):\n    fence()\n"
    actual, _ = timed(body, chip, 'x: Tensor["N", 32]', N=4)
    expected = _load_ready(chip, 64, 1) + chip.barrier_cycles
    assert actual == expected + chip.sequencer_loop_cycles + chip.sequencer_dispatch_cycles


@both_chips
@pytest.mark.parametrize("per_core", [0, 1, 3])
def test_dynamic_order_pays_for_every_request_and_the_last_empty_one(
    chip: ChipSpec, per_core: int
) -> None:
    body = 'for i in cores(N, order="dynamic"):\n    fence()'
    actual, _ = timed(body, chip, "N: Size", N=per_core * chip.cores)
    item = chip.sequencer_loop_cycles + chip.sequencer_dispatch_cycles
    expected = launch(chip) + per_core * (item + chip.dynamic_fetch_cycles)
    assert actual == expected + chip.dynamic_fetch_cycles


# ---- DMA ----


def _load_ready(chip: ChipSpec, size: int, runs: int) -> int:
    """When a first load without rivals is there."""
    steps = max(ceil_div(size, chip.dma_bytes_per_cycle), runs * chip.dma_run_cycles)
    return first_dispatch(chip) + chip.dma_issue_cycles + steps + arrival(chip)


@both_chips
@pytest.mark.parametrize("columns", [1, 16, 255, 256, 257, 2048])
def test_dma_of_one_run_takes_its_bytes_but_at_least_the_run(chip: ChipSpec, columns: int) -> None:
    body = f"for i in cores(1):\n    t = sram(1, {columns}, bf16)\n    load(t, x[3, 0:{columns}])"
    actual, _ = timed(body, chip, 'x: Tensor["N", 4096]', N=8)
    assert actual == _load_ready(chip, 2 * columns, 1)


def test_dma_of_one_run_in_figures() -> None:
    body = "for i in cores(1):\n    t = sram(1, 256, bf16)\n    load(t, x[3, 0:256])"
    # 2000 + 300 launch, 4 + 4 sequencer, 50 issue, 512 B / 64 = 8, 900 + 80 until it is there.
    assert timed(body, M890, 'x: Tensor["N", 4096]', N=8)[0] == 2308 + 50 + 8 + 980
    # 100 + 10 launch, 1 + 1 sequencer, 10 issue, 512 B / 16 = 32, 80 + 10 until it is there.
    assert timed(body, M890_MINI, 'x: Tensor["N", 4096]', N=8)[0] == 112 + 10 + 32 + 90


@both_chips
@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize("columns", [8, 64])
def test_dma_of_many_runs_pays_for_each_unless_they_merge(
    chip: ChipSpec, rows: int, columns: int
) -> None:
    body = (
        f"for i in cores(1):\n    t = sram({rows}, {columns}, bf16)\n"
        f"    load(t, x[0:{rows}, 0:{columns}])"
    )
    actual, _ = timed(body, chip, 'x: Tensor["N", "D"]', N=16, D=64)
    runs = 1 if columns == 64 else rows
    assert actual == _load_ready(chip, 2 * rows * columns, runs)


@both_chips
def test_a_queue_is_free_again_before_its_data_are_there(chip: ChipSpec) -> None:
    body = """
for i in cores(1):
    t = sram(1, 1024, bf16)
    u = sram(1, 1024, bf16)
    load(t, x[0, :])
    load(u, x[1, :])
"""
    _, (one, two) = timed(body, chip, 'x: Tensor["N", 1024]', N=2)
    busy = chip.dma_issue_cycles + ceil_div(2048, chip.dma_bytes_per_cycle)
    assert two[START] == one[BUSY_END] == first_dispatch(chip) + busy
    assert two[READY] == first_dispatch(chip) + 2 * busy + arrival(chip)


@pytest.mark.parametrize("cores", [1, 2, 5, 16])
@pytest.mark.parametrize("base", [M890, M890_MINI], ids=lambda chip: chip.name)
def test_cores_queue_for_an_hbm_that_feeds_one_of_them(base: ChipSpec, cores: int) -> None:
    # HBM as fast as one queue, and a first step at the start of a window: core c moves in the
    # windows that the cores before it left untouched.
    window = 10
    chip = base.replace(
        cores=cores,
        hbm_bytes_per_cycle=base.dma_bytes_per_cycle,
        hbm_core_bytes_per_cycle=base.dma_bytes_per_cycle,
        hbm_window_cycles=window,
    )
    offset = (first_dispatch(chip) + chip.dma_issue_cycles) % window
    chip = chip.replace(launch_cycles=chip.launch_cycles + (window - offset) % window)
    steps = 3 * window
    size = steps * chip.dma_bytes_per_cycle
    body = f"for i in cores({cores}):\n    t = sram(1, {size}, f8e4m3)\n    load(t, x[i, :])"
    _, rows = timed(body, chip, f'x: Tensor["N", {size}, f8e4m3]', N=cores)
    first = first_dispatch(chip) + chip.dma_issue_cycles
    assert [row[BUSY_END] for row in rows] == [first + (c + 1) * steps for c in range(cores)]


@both_chips
def test_a_core_with_two_queues_gets_no_more_than_its_rate(chip: ChipSpec) -> None:
    slow = chip.replace(hbm_core_bytes_per_cycle=chip.dma_bytes_per_cycle, hbm_window_cycles=1)
    size = 40 * chip.dma_bytes_per_cycle
    body = f"""
for i in cores(1):
    t = sram(1, {size}, f8e4m3)
    u = sram(1, {size}, f8e4m3, at=1)
    load(t, x[0, :], queue=0)
    load(u, x[1, :], queue=1)
"""
    _, (one, two) = timed(body, slow, f'x: Tensor["N", {size}, f8e4m3]', N=2)
    assert one[BUSY_END] == first_dispatch(slow) + slow.dma_issue_cycles + 40
    assert two[BUSY_END] == one[BUSY_END] + 40
    _, (one, two) = timed(
        body,
        slow.replace(hbm_core_bytes_per_cycle=2 * chip.dma_bytes_per_cycle),
        f'x: Tensor["N", {size}, f8e4m3]',
        N=2,
    )
    assert two[BUSY_END] == one[BUSY_END] + slow.sequencer_dispatch_cycles


def test_a_step_that_its_window_cannot_serve_waits_for_the_next_at_n_minus_1() -> None:
    # 8 steps of 16 bytes within one window of 10 cycles; 127 bytes hold only 7 of them.
    fits = M890_MINI.replace(
        cores=1, hbm_bytes_per_cycle=64, hbm_core_bytes_per_cycle=64, hbm_window_cycles=2
    )
    assert (first_dispatch(fits) + fits.dma_issue_cycles) % 2 == 0
    body = "for i in cores(1):\n    t = sram(1, 128, f8e4m3)\n    load(t, x[0, :])"
    params = 'x: Tensor["N", 128, f8e4m3]'
    for rate, lost in ((16, 0), (15, 1)):
        chip = fits.replace(hbm_bytes_per_cycle=rate)
        _, (row,) = timed(body, chip, params, N=1)
        steps = 8
        # At 15 B a cycle a window of 2 holds one step of 16 B: each but the last loses a cycle.
        assert row[BUSY_END] - row[START] - chip.dma_issue_cycles == steps + lost * (steps - 1)


# ---- matrix unit ----

_OPERANDS = """
for i in cores(1):
    a = sram({m}, {k}, bf16)
    b = sram({k}, {n}, bf16, at=4)
    c = acc({m}, {n})
    d = acc({m}, {n})
    fill(a, 1.0)
    fill(b, 1.0)
"""


def _matmuls(m: int, k: int, n: int, *lines: str) -> str:
    return _OPERANDS.format(m=m, k=k, n=n) + "".join(f"    {line}\n" for line in lines)


@both_chips
@pytest.mark.parametrize("m", [1, 5, 32, 100])
def test_one_matmul_pass_loads_its_block_streams_its_rows_and_fills(chip: ChipSpec, m: int) -> None:
    cycles, rows = timed(_matmuls(m, 32, 32, "matmul(c, a, b)"), chip)
    fill, matmul = rows[-2], rows[-1]
    assert matmul[START] == fill[READY] + chip.dependence_cycles
    assert matmul[BUSY_END] - matmul[START] == chip.matrix_load_cycles + m
    assert cycles == matmul[READY] == matmul[BUSY_END] + chip.matrix_fill_cycles


@both_chips
@pytest.mark.parametrize("m", [1, 100])
def test_every_pass_but_the_last_takes_at_least_the_load(chip: ChipSpec, m: int) -> None:
    k, n = 2 * chip.matrix_rows, chip.matrix_columns + 1
    _, rows = timed(_matmuls(m, k, n, "matmul(c, a, b)"), chip)
    load = chip.matrix_load_cycles
    assert rows[-1][BUSY_END] - rows[-1][START] == load + 3 * max(m, load) + m


@both_chips
@pytest.mark.parametrize("m", [1, 9, 100])
def test_the_same_stationary_block_is_not_loaded_again(chip: ChipSpec, m: int) -> None:
    _, rows = timed(_matmuls(m, 32, 32, "matmul(c, a, b)", "matmul(d, a, b)"), chip)
    one, two = rows[-2:]
    assert two[START] == one[BUSY_END]
    assert two[BUSY_END] - two[START] == m


@both_chips
@pytest.mark.parametrize("short", [0, 1])
def test_a_load_hides_behind_a_pass_of_n_rows_and_not_of_n_minus_1(
    chip: ChipSpec, short: int
) -> None:
    # The same numbers through another slice of b make another block; its load begins with the
    # pass of the first, and takes as long as that pass has rows, or one cycle longer.
    m = chip.matrix_load_cycles - short
    lines = ("matmul(c, a, b)", "matmul(d[:, :31], a, b[:, :31])")
    _, rows = timed(_matmuls(m, 32, 32, *lines), chip)
    one, two = rows[-2:]
    assert two[START] == one[BUSY_END]
    assert two[BUSY_END] - two[START] == m + short


@both_chips
def test_writing_the_stationary_tile_loads_it_again(chip: ChipSpec) -> None:
    lines = ("matmul(c, a, b)", "fill(b, 2.0)", "matmul(d, a, b)")
    _, rows = timed(_matmuls(5, 32, 32, *lines), chip)
    _, fill, two = rows[-3:]
    assert two[START] == fill[READY] + chip.dependence_cycles
    assert two[BUSY_END] - two[START] == chip.matrix_load_cycles + 5


@both_chips
@pytest.mark.parametrize(("dtype", "cost"), [("bf16", "m"), ("f32", "f32"), ("f8e4m3", "f8")])
def test_rows_stream_at_the_rate_of_their_dtype(chip: ChipSpec, dtype: str, cost: str) -> None:
    m = 31
    body = _matmuls(m, 32, 32, "matmul(c, a, b)", "matmul(d, a, b)").replace("bf16", dtype)
    _, rows = timed(body, chip)
    expected = {
        "m": m,
        "f32": m * chip.matrix_f32_cycles_per_row,
        "f8": ceil_div(m, chip.matrix_f8_rows_per_cycle),
    }[cost]
    assert rows[-1][BUSY_END] - rows[-1][START] == expected


@both_chips
def test_accumulation_does_not_wait_for_the_sum_so_far(chip: ChipSpec) -> None:
    lines = ("matmul(c, a, b)", "matmul(c, a, b, accumulate=True)", "copy(d, c)")
    _, rows = timed(_matmuls(50, 32, 32, *lines), chip)
    one, two, copy = rows[-3:]
    assert two[START] == one[BUSY_END] < one[READY]
    assert copy[START] == two[READY] + chip.dependence_cycles


# ---- vector unit, SFU, dependence ----


def _vector_cycles(chip: ChipSpec, elements: int) -> int:
    return chip.vector_startup_cycles + ceil_div(elements, chip.vector_f32_lanes)


def _sfu_cycles(chip: ChipSpec, elements: int) -> int:
    return chip.sfu_startup_cycles + ceil_div(elements, chip.sfu_elements_per_cycle)


@both_chips
@pytest.mark.parametrize("links", [1, 2, 6])
def test_a_dependent_chain_pays_the_crossing_at_every_link(chip: ChipSpec, links: int) -> None:
    body = "for i in cores(1):\n    t = acc(8, 30)\n    fill(t, 1.0)\n" + links * (
        "    exp2(t, t)\n    add(t, t, 1.0)\n"
    )
    actual, _ = timed(body, chip.replace(sequencer_dispatch_cycles=1))
    expected = launch(chip) + chip.sequencer_loop_cycles + 1 + _vector_cycles(chip, 240)
    link = 2 * chip.dependence_cycles + _sfu_cycles(chip, 240) + _vector_cycles(chip, 240)
    assert actual == expected + links * link


@both_chips
def test_one_engine_passes_a_result_on_without_the_crossing(chip: ChipSpec) -> None:
    slow = chip.replace(vector_latency_cycles=7)
    body = "for i in cores(1):\n    t = acc(8, 30)\n    fill(t, 1.0)\n    add(t, t, 1.0)"
    _, (one, two) = timed(body, slow)
    assert two[START] == one[READY] == one[BUSY_END] + 7


@pytest.mark.parametrize("crossing", [0, 1, 19, 20])
def test_a_consumer_starts_at_n_and_not_at_n_minus_1(crossing: int) -> None:
    body = "for i in cores(1):\n    t = acc(8, 30)\n    fill(t, 1.0)\n    exp2(t, t)"
    _, (one, two) = timed(body, M890.replace(dependence_cycles=crossing))
    assert two[START] == one[READY] + crossing


@both_chips
def test_two_engines_work_side_by_side(chip: ChipSpec) -> None:
    body = """
for i in cores(1):
    t = acc(8, 64)
    u = acc(8, 64)
    fill(u, 1.0)
    fence()
    add(u, u, 1.0)
    fill(t, 1.0)
    exp2(u, u)
    add(t, t, 1.0)
    add(t, t, 1.0)
"""
    actual, rows = timed(body, chip)
    _, add, fill, exp2, *rest = rows
    assert fill[START] == add[BUSY_END]
    assert exp2[START] == add[READY] + chip.dependence_cycles
    assert rest[-1][BUSY_END] == fill[BUSY_END] + 2 * _vector_cycles(chip, 512)
    assert actual == max(exp2[READY], rest[-1][READY])


@both_chips
def test_an_exp2_on_the_vector_unit_takes_six_passes(chip: ChipSpec) -> None:
    body = (
        "for i in cores(1):\n    t = acc(8, 32)\n    u = acc(8, 1)\n    fill(t, 1.0)\n"
        "    exp2(t, t, row_sum=u, engine=vector)\n    exp2(t, t, engine=vector)"
    )
    _, (_, summed, plain) = timed(body, chip)
    for row, passes in ((summed, 7), (plain, 6)):
        expected = chip.vector_startup_cycles + ceil_div(passes * 256, chip.vector_f32_lanes)
        assert row[BUSY_END] - row[START] == expected


# ---- SRAM ports ----


@both_chips
@pytest.mark.parametrize("bank", [0, 1])
def test_two_operands_in_one_bank_double_the_stream(chip: ChipSpec, bank: int) -> None:
    body = (
        "for i in cores(1):\n    t = sram(8, 32, f32, at=0)\n"
        f"    u = sram(8, 32, f32, at={bank})\n    fill(t, 1.0)\n    copy(u, t)"
    )
    _, (_, copy) = timed(body, chip)
    stream = ceil_div(256, chip.vector_f32_lanes)
    expected = chip.vector_startup_cycles + (2 if bank == 0 else 1) * stream
    assert copy[BUSY_END] - copy[START] == expected


# On the mini chip the vector unit writes 32 bf16 = 64 B a cycle and the SFU reads 4 f32 = 16 B:
# together 80 B, which a port of 80 B a cycle serves and one of 79 B does not.
_RIVALS = """
for i in cores(1):
    t = sram(64, 64, bf16, at=0)
    u = sram(8, 40, f32, at={bank})
    w = acc(8, 40)
    fill(u, 1.0)
    exp2(w, u)
    fence()
    {first}
    {second}
"""
_STREAMS = {"fill(t, 1.0)": 4096 // 32, "exp2(w, u)": 320 // 4}


@pytest.mark.parametrize(("port", "per_cycle"), [(80, (0, 1)), (79, (1, 79)), (40, (1, 1))])
@pytest.mark.parametrize("bank", [0, 1])
@pytest.mark.parametrize("order", [1, -1])
def test_the_later_of_two_engines_pays_for_a_port_they_share(
    port: int, per_cycle: tuple[int, int], bank: int, order: int
) -> None:
    first, second = list(_STREAMS)[::order]
    body = _RIVALS.format(bank=bank, first=first, second=second)
    chip = M890_MINI.replace(sram_port_bytes_per_cycle=port, vector_startup_cycles=0)
    _, (*_, one, two) = timed(body, chip)
    assert two[START] == one[START] + chip.sequencer_dispatch_cycles
    assert one[BUSY_END] - one[START] == _STREAMS[first]
    overlap = min(one[BUSY_END] - two[START], _STREAMS[second])
    numerator, denominator = per_cycle
    extra = overlap * numerator // denominator if bank == 0 else 0
    assert two[BUSY_END] - two[START] == _STREAMS[second] + extra


# ---- limits: queue entries, transfers in flight, slots ----


@pytest.mark.parametrize("entries", [1, 2, 5])
def test_the_sequencer_stalls_at_a_full_queue_and_not_before(entries: int) -> None:
    # The first fill leaves the queue at once; `entries` more wait in it while it runs.
    chip = M890.replace(sequencer_queue_entries=entries)
    body = "for i in cores(1):\n    t = acc(8, 32)\n" + (entries + 2) * "    fill(t, 1.0)\n"
    _, rows = timed(body, chip)
    expected = [first_dispatch(chip) + 4 * i for i in range(entries + 1)]
    assert [row[DISPATCH] for row in rows[:-1]] == expected
    assert rows[-1][DISPATCH] == rows[1][START] == rows[0][BUSY_END]
    _, rows = timed(body, chip.replace(sequencer_queue_entries=entries + 1))
    assert rows[-1][DISPATCH] == expected[-1] + 4


@both_chips
@pytest.mark.parametrize("flying", [1, 2])
def test_a_transfer_waits_where_too_many_are_under_way(chip: ChipSpec, flying: int) -> None:
    lines = "".join(
        f"    t{i} = sram(1, 32, bf16)\n    load(t{i}, x[{i}, :], queue={i % 2})\n"
        for i in range(flying + 1)
    )
    limited = chip.replace(dma_in_flight=flying, dma_latency_cycles=500)
    params = 'x: Tensor["N", 32]'
    _, rows = timed("for i in cores(1):\n" + lines, limited, params, N=4)
    assert rows[-1][START] == rows[0][READY]
    _, rows = timed(
        "for i in cores(1):\n" + lines, limited.replace(dma_in_flight=flying + 1), params, N=4
    )
    free = rows[-3][BUSY_END] if flying == 2 else 0
    assert rows[-1][START] == max(rows[-1][DISPATCH], free) < rows[0][READY]


@both_chips
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_a_load_waits_for_the_readers_of_the_slot_it_fills(chip: ChipSpec, slots: int) -> None:
    body = f"""
for i in cores(1):
    s = acc(4, 32)
    for j in range(0, 4):
        t = sram(4, 32, f32, slots={slots})
        load(t, x[j, :, :])
        exp2(s, t)
"""
    roomy = chip.replace(sfu_elements_per_cycle=1, dma_in_flight=16, sequencer_queue_entries=16)
    _, rows = timed(body, roomy, 'x: Tensor["N", 4, 32, f32]', N=4)
    loads, readers = rows[0::2], rows[1::2]
    for i in range(4):
        free = loads[i - 1][BUSY_END] if i else 0
        reader = readers[i - slots][BUSY_END] if i >= slots else 0
        assert loads[i][START] == max(loads[i][DISPATCH], free, reader)
        if i >= slots:
            assert loads[i][START] == reader


# ---- more of anything never costs cycles here ----

_PIPELINE = """
for i in cores(4):
    b = sram(32, 32, bf16, at=2)
    fill(b, 1.0)
    for j in range(0, 6):
        t = sram(16, 32, bf16, slots={slots})
        u = sram(16, 32, bf16, slots={slots})
        s = acc(16, 32, slots={slots})
        {stage0}load(t, x[i, j, :, :], queue=0)
        {stage1}matmul(s, t, b)
        {indent}exp2(u, s)
        {indent}store(y[i, j, :, :], u, queue=1)
"""
_PARAMS = "x: Tensor[4, 6, 16, 32], y: Tensor[4, 6, 16, 32]"


def _pipeline(slots: int = 2, staged: bool = False) -> str:
    indent = " " * 4 if staged else ""
    stages = [f"with stage({n}):\n{' ' * 12}" if staged else "" for n in (0, 1)]
    return _PIPELINE.format(slots=slots, stage0=stages[0], stage1=stages[1], indent=indent)


every_chip = pytest.mark.parametrize(
    "chip",
    [chip.replace(cores=2) for chip in (M890, M890_MINI, M890_LEAN)],
    ids=lambda chip: chip.name,
)


@every_chip
@pytest.mark.parametrize("staged", [False, True])
def test_another_slot_never_costs_cycles(chip: ChipSpec, staged: bool) -> None:
    actual = [timed(_pipeline(slots, staged), chip, _PARAMS)[0] for slots in (2, 3, 4)]
    if not staged:
        actual.insert(0, timed(_pipeline(1), chip, _PARAMS)[0])
        assert actual[1] < actual[0]
    assert actual == sorted(actual, reverse=True)


_LOADS = "for i in cores(4):\n" + "".join(
    f"    t{i} = sram(1, 512, bf16)\n    load(t{i}, x[{i}, :], queue={i} % Q)\n" for i in range(8)
)


@every_chip
def test_another_queue_never_costs_cycles(chip: ChipSpec) -> None:
    actual = []
    for queues in range(1, 5):
        params = f"x: Tensor[8, 512], Q: Tunable = {queues}"
        actual.append(timed(_LOADS, chip.replace(dma_queues=queues), params)[0])
    assert actual == sorted(actual, reverse=True)
    assert actual[1] < actual[0]


_CASES = {
    "one run": ["t = sram(1, 512, bf16)", "load(t, x[i, :])"],
    "many runs": ["t = sram(8, 64, bf16)", "load(t, x[0:8, 0:64])"],
    "two queues": [
        "t = sram(1, 512, bf16)",
        "u = sram(1, 512, bf16)",
        "load(t, x[i, :])",
        "load(u, x[i + 1, :], queue=1)",
    ],
    "matmul": [
        "a = sram(40, 160, bf16)",
        "b = sram(160, 160, bf16, at=2)",
        "c = acc(40, 160)",
        "fill(a, 1.0)",
        "fill(b, 1.0)",
        "matmul(c, a, b)",
        "matmul(c, a, b)",
    ],
    "chain": ["t = acc(8, 100)", "fill(t, 1.0)", "exp2(t, t)", "add(t, t, 1.0)", "exp2(t, t)"],
    "side by side": [
        "t = acc(8, 100)",
        "u = acc(8, 100)",
        "fill(t, 1.0)",
        "exp2(t, t)",
        "fill(u, 1.0)",
        "add(u, u, t)",
    ],
    "one bank": [
        "t = sram(8, 32, f32, at=0)",
        "u = sram(8, 32, f32, at=0)",
        "fill(t, 1.0)",
        "copy(u, t)",
        "fill(t, 2.0)",
        "exp2(u, u)",
    ],
}
_BANDWIDTHS = (
    "dma_bytes_per_cycle",
    "hbm_bytes_per_cycle",
    "hbm_core_bytes_per_cycle",
    "dma_in_flight",
    "sram_port_bytes_per_cycle",
    "sequencer_queue_entries",
    "matrix_rows",
    "matrix_columns",
)
# A faster unit asks more of a port: these may cost cycles where a port is fought over.
_RATES = ("vector_f32_lanes", "vector_bf16_lanes", "sfu_elements_per_cycle")


@every_chip
@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in _CASES for name in _BANDWIDTHS]
    + [(case, name) for case in ("matmul", "chain", "side by side") for name in _RATES],
)
def test_more_of_a_part_never_costs_cycles(chip: ChipSpec, case: str, name: str) -> None:
    body = "for i in cores(4):\n" + "".join(f"    {line}\n" for line in _CASES[case])
    start = chip.replace(dma_bytes_per_cycle=4, sequencer_queue_entries=1, dma_in_flight=1)
    changed = [start.replace(**{name: getattr(start, name) * factor}) for factor in (1, 2, 4)]
    actual = [timed(body, chip, 'x: Tensor["N", 512]', N=8)[0] for chip in changed]
    assert actual == sorted(actual, reverse=True)
