"""Lower bounds: by hand on small numbers, monotone in every rate, each floor where it rules."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m890sim.chip import CHIPS, M890, M890_MINI
from m890sim.errors import BindError
from m890sim.language import parse
from m890sim.workloads import (
    KERNELS,
    TASKS,
    AttentionCase,
    execute,
    load_kernel,
    lower_bound,
    lower_bound_cycles,
    simulate,
)
from m890sim.workloads.bounds import _earliest_end, _elements_cycles
from m890sim.workloads.case import Demand

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


def test_lower_bound_of_two_keys_is_added_up_by_hand():
    case = AttentionCase("two", "decode", (2,), (1,), 1, 1, 32)
    bound = lower_bound(case, M890_MINI)
    # launch 100, start 10, item 1, dispatch 1, issue 10.
    assert bound.launch == 122
    # shortest run 2, latency 80, completion 10, hop 5.
    assert bound.load == 97
    # One weight: 64 products, start-up and one element.
    assert bound.matrix == 1
    assert bound.elements == 11
    # hop 5, issue 10, run 2, latency 80, completion 10.
    assert bound.store == 107
    # Q and two rows of K and V are 320 bytes; two cores with two queues move 64 bytes a cycle: ends
    # at 127. The data are there for the SFU after 95 more; start-up and one element there; then the
    # store.
    assert bound.memory == 127 + 95 + 11 + 107
    assert bound.cycles == max(bound.memory, 122 + 97 + 11 + 107)
    assert bound.limit == "memory"


def test_lower_bound_of_one_key_is_a_load_and_a_store():
    case = AttentionCase("one", "decode", (1,), (1,), 1, 1, 32)
    bound = lower_bound(case, M890_MINI)
    assert (bound.matrix, bound.elements) == (0, 0)
    # The row of V is 64 bytes; on one queue nothing hops.
    assert bound.cycles == bound.memory == 123 + 90 + 10 + 2 + 90


COPIES = """
from m890sim.lang import *


@kernel
def ones(
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    BR: Tunable = 8,
):
    for i in cores(ceil_div(B, BR), order="cyclic"):
        a = sram(BR * HQ, D, bf16, slots=16)
        half = BR // 2
        load(a[: half * HQ], v_cache[kv_indices[i * BR : i * BR + half], :, :])
        load(a[half * HQ :], v_cache[kv_indices[i * BR + half : i * BR + BR], :, :], queue=1)
        store(o[i * BR : i * BR + half, :, :], a[: half * HQ], queue=2)
        store(o[i * BR + half : i * BR + BR, :, :], a[half * HQ :], queue=3)
"""


@pytest.mark.parametrize("sequences", [8, 64, 4096, 8192])
def test_a_kernel_that_copies_values_does_not_beat_the_bound(sequences):
    """One key a sequence: its weight is 1, so neither q nor k is needed."""
    one = (1,) * sequences
    case = AttentionCase("ones", "decode", one, one, 8, 8, 128, page_tokens=1)
    kernel = parse(COPIES)
    assert simulate(kernel, case, M890).cycles >= lower_bound_cycles(case, M890)
    if sequences <= 64:
        inputs = case.make_inputs()
        results = execute(kernel, case, inputs)
        np.testing.assert_allclose(results["o"], case.oracle(inputs), rtol=0.01, atol=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=4),
    st.sampled_from([(1, 1), (4, 2)]),
    st.booleans(),
)
def test_demand_agrees_with_counting_row_by_row(lengths, heads, decode):
    cached = tuple(max(1, c) if decode else c for c, _ in lengths)
    queries = tuple(1 if decode else q for _, q in lengths)
    case = AttentionCase("any", "decode" if decode else "extend", cached, queries, *heads, 16)
    asked, compared, weighed, seen = 0, set(), 0, set()
    for sequence in case.sequences:
        for query in range(sequence.queries):
            keys = [(sequence.index, key) for key in range(sequence.visible(query))]
            seen.update(keys)
            if len(keys) > 1:
                asked += 1
                compared.update(keys)
                weighed += heads[0] * (len(keys) - 1)
    demand = case.demand
    expected = asked * heads[0] * 32 + (len(compared) + len(seen)) * heads[1] * 32
    assert demand.loaded_bytes == expected
    assert demand.stored_bytes == sum(queries) * heads[0] * 32
    assert demand.copied_bytes == len(seen - compared) * heads[1] * 32
    assert (demand.exponentials, demand.products) == (weighed, weighed * 32)


def test_elements_floor_takes_64_weights_a_cycle_at_most():
    """32 on the SFU; on the vector unit a pass out of ACC in fp32 and six in bf16: 8 / 256."""
    case = TASKS["extend"].case("prefill-2048")
    weights = 8 * 2048 * 2047 // 2
    assert lower_bound(case, M890).elements == 40 + -(-weights // (16 * 64))


@given(
    exponentials=st.integers(0, 40),
    others=st.integers(0, 40),
    lanes=st.tuples(st.integers(1, 8), st.integers(1, 16)),
    rate=st.integers(1, 8),
    products=st.integers(0, 3),
)
def test_elements_floor_is_below_every_split(exponentials, others, lanes, rate, products):
    """However many exponentials and others the SFU takes, one of the two units needs that long."""
    chip = M890.replace(
        cores=1,
        vector_f32_lanes=lanes[0],
        vector_bf16_lanes=lanes[1],
        sfu_elements_per_cycle=rate,
        vector_startup_cycles=0,
        sfu_startup_cycles=0,
    )
    demand = Demand(
        0, 0, 0, others, exponentials=exponentials, exponent_products=products, narrow_elements=2
    )
    widest = max(lanes)
    score = Fraction(max(0, products - 1), widest)  # exp2 forms the last product
    each = min(Fraction(1, lanes[0]), score) + Fraction(6, widest)
    other = min(Fraction(1, lanes[0]), Fraction(2, widest))
    best = min(
        max(
            Fraction(x + y, rate),
            (exponentials - x) * each + (others - y) * other,
        )
        for x in range(exponentials + 1)
        for y in range(others + 1)
    )
    floor = _elements_cycles(demand, chip)
    assert floor <= math.ceil(best)
    # A whole element is dealt to one unit: the program's optimum is no more than that below.
    assert floor >= best - max(each, other, Fraction(1, rate)) - 1


def test_matrix_floor_counts_products_over_all_units():
    case = TASKS["extend"].case("prefill-2048")
    weights = 8 * 2048 * 2047 // 2
    expected = -(-2 * weights * 128 // (16 * (128 * 128 + 256 + 32)))
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
    assert bound.elements > 0
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
