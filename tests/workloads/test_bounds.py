"""Lower bounds: by hand on small numbers, monotone in every rate, each floor where it rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.chip import CHIPS, M890, M890_MINI
from m890sim.errors import BindError
from m890sim.workloads import (
    KERNELS,
    TASKS,
    AttentionCase,
    load_kernel,
    lower_bound,
    lower_bound_cycles,
    simulate,
)
from m890sim.workloads.bounds import _earliest_end

CASES = [case for task in TASKS.values() for case in task.cases]
RATES = (
    "hbm_bytes_per_cycle",
    "hbm_core_bytes_per_cycle",
    "dma_bytes_per_cycle",
    "dma_queues",
    "cores",
    "matrix_rows",
    "matrix_columns",
    "vector_f32_lanes",
    "vector_bf16_lanes",
    "sfu_elements_per_cycle",
)
DELAYS = (
    "launch_cycles",
    "core_start_cycles",
    "dma_issue_cycles",
    "dma_latency_cycles",
    "dma_completion_cycles",
    "dependence_cycles",
    "vector_startup_cycles",
)


def test_lower_bound_of_one_pair_is_added_up_by_hand():
    case = AttentionCase("one", "decode", (1,), (1,), 1, 1, 32)
    bound = lower_bound(case, M890_MINI)
    # launch 100, start 10, item 1, dispatch 1, issue 10.
    assert bound.launch == 122
    # shortest run 2, latency 80, completion 10, hop 5.
    assert bound.load == 97
    assert bound.matrix == 1
    assert bound.elements == 1
    # hop 5, issue 10, run 2, latency 80, completion 10.
    assert bound.store == 107
    # K, V and Q are 192 bytes; two cores with two queues move 64 bytes a cycle: ends at 125. The
    # data are there for the SFU after 95 more; one element there; then the store.
    assert bound.memory == 125 + 95 + 1 + 107
    assert bound.cycles == max(bound.memory, 122 + 97 + 1 + 107)
    assert bound.limit == "memory"


def test_matrix_floor_counts_products_over_all_units():
    case = TASKS["extend"].case("prefill-2048")
    pairs = 8 * 2048 * 2049 // 2
    expected = -(-2 * pairs * 128 // (16 * (128 * 128 + 256 + 32)))
    assert case.pairs == pairs
    assert lower_bound(case, M890).matrix == expected


def test_decode_bound_rests_on_memory():
    case = TASKS["decode"].case("decode-4x8192")
    bound = lower_bound(case, M890)
    moved = (4 * 8192 * 2 * 2 * 128 + 4 * 8 * 128) * 2
    assert bound.limit == "memory"
    assert bound.cycles >= moved // M890.hbm_bytes_per_cycle + bound.launch


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_lower_bound_is_the_largest_floor(case, chip):
    bound = lower_bound(case, chip)
    compute = bound.launch + bound.load + max(bound.matrix, bound.elements) + bound.store
    assert bound.cycles == lower_bound_cycles(case, chip) == max(bound.memory, compute)
    assert bound.floors["memory"] == bound.memory


@given(st.sampled_from(CASES), st.sampled_from(list(CHIPS.values())), st.data())
def test_more_of_a_rate_never_raises_the_bound(case, chip, data):
    field = data.draw(st.sampled_from(RATES))
    limit = {"dma_queues": 16, "cores": 1024, "dma_bytes_per_cycle": 256}.get(field, 2**20)
    value = getattr(chip, field)
    # The bound asks nothing of the memories; these hold the block of any matrix unit drawn here.
    chip = chip.replace(sram_bytes=2**40, acc_bytes=2**40)
    more = chip.replace(**{field: data.draw(st.integers(value, max(value, limit)))})
    assert lower_bound_cycles(case, more) <= lower_bound_cycles(case, chip)


@given(st.sampled_from(CASES), st.sampled_from(DELAYS), st.integers(0, 5000))
def test_less_delay_never_raises_the_bound(case, field, value):
    less = M890.replace(**{field: min(value, getattr(M890, field))})
    assert lower_bound_cycles(case, less) <= lower_bound_cycles(case, M890)


@given(
    start=st.integers(0, 200),
    moved=st.integers(0, 5000),
    chip=st.builds(
        M890_MINI.replace,
        cores=st.integers(1, 3),
        dma_queues=st.integers(1, 3),
        dma_bytes_per_cycle=st.integers(1, 20),
        hbm_bytes_per_cycle=st.integers(20, 60),
        hbm_core_bytes_per_cycle=st.integers(20, 40),
        hbm_window_cycles=st.integers(1, 20),
    ),
)
def test_earliest_end_agrees_with_filling_the_calendar_cycle_by_cycle(start, moved, chip):
    window = chip.hbm_window_cycles
    queues = chip.cores * chip.dma_queues * chip.dma_bytes_per_cycle
    most = min(chip.hbm_bytes_per_cycle, chip.cores * chip.hbm_core_bytes_per_cycle) * window
    time, left, given_out = start, moved, 0
    while left:
        if time % window == 0:
            given_out = 0
        step = min(left, queues, most - given_out)
        left -= step
        given_out += step
        time += 1
        if left == 0:
            break
    assert _earliest_end(start, moved, chip) == time


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize("name", KERNELS)
def test_no_built_in_kernel_beats_the_bound(name, chip):
    kernel = load_kernel(name, chip.name)
    timed = 0
    for case in TASKS[KERNELS[name].task].cases:
        try:
            cycles = simulate(kernel, case, chip).cycles
        except BindError:  # too large for a small chip
            continue
        assert cycles >= lower_bound_cycles(case, chip)
        timed += 1
    assert timed or chip is not M890
