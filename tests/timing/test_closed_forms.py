"""Cases small enough to add up by hand, on the big chip and on the small one.

Every expectation is a formula over fields of the chip, derived from docs/timing.md; both the engine
and the oracle must meet it.
"""

from __future__ import annotations

import pytest

from m890sim.chip import M890, M890_MINI, ChipSpec
from tests.timing.closed import (
    BUSY_END,
    READY,
    START,
    arrival,
    both_chips,
    ceil_div,
    first_dispatch,
    launch,
    timed,
)

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
    # A loop that never runs costs what a condition costs.
    loop = trips * iteration or chip.sequencer_scalar_cycles
    assert actual == launch(chip) + chip.sequencer_loop_cycles + loop


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
