"""The smallest cases of every kind, with the leanest kernels we know: none beats the bound.

Right kernels for one row, one column, one product a sum, one element a head, one key, one token: in
such corners the general derivation of docs/lower_bounds.md may count work that is not needed.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.chip import CHIPS, M890, ChipSpec
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.timing import simulate_program
from m890sim.workloads import AttentionCase, execute, lower_bound, lower_bound_cycles, simulate
from m890sim.workloads.case import Case
from m890sim.workloads.levels.matmul import MatmulCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase


def _kernel(params: str, body: str) -> Kernel:
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return parse(f"from m890sim.lang import *\n\n\n@kernel\ndef lean({params}):\n{lines}")


SOFTMAX = 'x: Tensor["R", "C"], o: Tensor["R", "C"], scale: Scalar, B: Tunable = {}'
ONE_COLUMN = """
for i in cores(ceil_div(R, B)):
    rows = min(B, R - i * B)
    one = sram(B, 1, bf16)
    fill(one[:rows], 1.0)
    store(o[i * B : i * B + rows, :], one[:rows])
"""
# One element is filled for each core, and stored row after row over all queues.
ONE_ELEMENT = """
for i in cores(min(R, B)):
    one = sram(1, 1, bf16)
    fill(one, 1.0)
    for j in range(i, R, 4 * B):
        store(o[j : j + 1, :], one)
        if j + B < R:
            store(o[j + B : j + B + 1, :], one, queue=1)
        if j + 2 * B < R:
            store(o[j + 2 * B : j + 2 * B + 1, :], one, queue=2 % (1 + Q))
        if j + 3 * B < R:
            store(o[j + 3 * B : j + 3 * B + 1, :], one, queue=Q)
"""
# A block of ones that is stored twice.
ONE_BLOCK = """
for i in cores(ceil_div(R, 2 * B)):
    rows = min(B, R - i * 2 * B)
    more = min(B, R - i * 2 * B - rows)
    one = sram(B, 1, bf16)
    fill(one[:rows], 1.0)
    store(o[i * 2 * B : i * 2 * B + rows, :], one[:rows])
    if more:
        store(o[i * 2 * B + B : i * 2 * B + B + more, :], one[:more], queue=1)
"""
# o = (1 + tanh(d / 2)) / 2 for the first of two elements that lie d apart.
TWO_COLUMNS = """
for i in cores(ceil_div(R, B)):
    rows = min(B, R - i * B)
    a = sram(B, 2, bf16)
    d = acc(B, 1)
    load(a[:rows], x[i * B : i * B + rows, :])
    sub(d[:rows], a[:rows, :1], a[:rows, 1:])
    tanh(d[:rows], d[:rows], scale=scale * 0.5)
    fma(a[:rows, :1], d[:rows], 0.5, 0.5)
    fma(a[:rows, 1:], d[:rows], -0.5, 0.5)
    store(o[i * B : i * B + rows, :], a[:rows])
"""
OUTER = """
for i in cores(ceil_div(M, B)):
    rows = min(B, M - i * B)
    x = sram(B, 1, bf16)
    y = sram(1, N, bf16)
    z = sram(B, N, bf16)
    load(x[:rows], a[i * B : i * B + rows, :])
    load(y, b, queue=1)
    mul(z[:rows], x[:rows], y)
    store(c[i * B : i * B + rows, :], z[:rows])
"""
INNER = """
for i in cores(ceil_div(M, B)):
    rows = min(B, M - i * B)
    x = sram(B, K, bf16)
    y = sram(1, K, bf16)
    p = acc(B, K)
    z = sram(B, 1, bf16)
    load(x[:rows], a[i * B : i * B + rows, :])
    load(y, b, queue=1)
    mul(p[:rows], x[:rows], y)
    row_sum(z[:rows], p[:rows])
    store(c[i * B : i * B + rows, :], z[:rows])
"""
ADD = """
for i in cores(ceil_div(R, B)):
    rows = min(B, R - i * B)
    a = sram(B, C, bf16)
    b = sram(B, C, bf16)
    load(a[:rows], x[i * B : i * B + rows, :])
    load(b[:rows], y[i * B : i * B + rows, :], queue=1)
    add(a[:rows], a[:rows], b[:rows])
    store(z[i * B : i * B + rows, :], a[:rows])
"""
ATTENTION = (
    'q: Tensor["B", "HQ", "D"], k_cache: Tensor["S", "HKV", "D"], v_cache: Tensor["S", "HKV", "D"],'
    ' o: Tensor["B", "HQ", "D"], kv_indptr: Table["B + 1"], kv_indices: Table["P"], scale: Scalar'
)
# Two keys a sequence, one element a head: o = (v0 + v1) / 2 + tanh(q (k0 - k1) / 2) (v0 - v1) / 2.
TWO_KEYS = """
for b in cores(B):
    x = sram(HQ, 1, bf16)
    k = sram(2, 1, bf16)
    v = sram(2, 1, bf16)
    t = acc(HQ, 1)
    h = acc(2, 1)
    load(x, q[b, :, :])
    load(k, k_cache[kv_indices[2 * b : 2 * b + 2], 0, :], queue=1)
    load(v, v_cache[kv_indices[2 * b : 2 * b + 2], 0, :], queue=Q)
    sub(h[:1], k[:1], k[1:])
    mul(h[:1], h[:1], scale * 0.5)
    tanh(t, x, scale=h[:1])
    sub(h[:1], v[:1], v[1:])
    add(h[1:], v[:1], v[1:])
    mul(h, h, 0.5)
    fma(x, t, h[:1], h[1:])
    store(o[b, :, :], x)
"""
TINY = settings(deadline=None, max_examples=30)
FEW = st.integers(1, 5)
SIZES = st.sampled_from([1, 2, 3, 16, 17, 64, 255, 256, 512, 4096])


def _never_below(case: Case, chip: ChipSpec, kernel: Kernel) -> int:
    """Cycles of a kernel that is right on the case; above the bound."""
    cycles = simulate(kernel, case, chip).cycles
    inputs = case.make_inputs()
    actual = execute(kernel, case, inputs)["o" if "o" in _names(kernel) else "c"]
    np.testing.assert_allclose(actual, case.oracle(inputs), rtol=0.02, atol=0.02)
    assert cycles >= lower_bound_cycles(case, chip)
    return cycles


def _names(kernel: Kernel) -> set[str]:
    return {param.name for param in kernel.params}


def _queues(body: str, chip: ChipSpec) -> str:
    return body.replace("2 % (1 + Q)", str(min(2, chip.dma_queues - 1))).replace(
        "queue=Q", f"queue={chip.dma_queues - 1}"
    )


@TINY
@given(SIZES, st.sampled_from([1, 16, 128, 512]), st.sampled_from(list(CHIPS.values())))
@pytest.mark.parametrize("body", [ONE_COLUMN, ONE_ELEMENT, ONE_BLOCK])
def test_softmax_of_one_column(body: str, rows: int, block: int, chip: ChipSpec) -> None:
    case = RowSoftmaxCase("one", "row_softmax", rows, 1)
    _never_below(case, chip, _kernel(SOFTMAX.format(block), _queues(body, chip)))


def test_the_bound_of_one_column_is_met() -> None:
    """Launch, a fill of one element, and a store: nothing waits for a load."""
    case = RowSoftmaxCase("one", "row_softmax", 1, 1)
    lean = "for i in cores(R):\n    one = sram(1, 1, bf16)\n    fill(one, 1.0)\n    store(o, one)"
    assert _never_below(case, M890, _kernel(SOFTMAX.format(1), lean)) == 3407
    assert lower_bound_cycles(case, M890) == 3407
    # A block that is stored twice takes fewer elements than there are.
    case = RowSoftmaxCase("two", "row_softmax", 2 * 256 * 16, 1)
    once = simulate(_kernel(SOFTMAX.format(512), ONE_COLUMN), case, M890).cycles
    twice = _never_below(case, M890, _kernel(SOFTMAX.format(256), ONE_BLOCK))
    assert lower_bound_cycles(case, M890) <= twice <= once


@TINY
@given(SIZES, st.sampled_from([1, 16, 256]), st.sampled_from(list(CHIPS.values())))
def test_softmax_of_two_columns(rows: int, block: int, chip: ChipSpec) -> None:
    case = RowSoftmaxCase("two", "row_softmax", rows, 2)
    _never_below(case, chip, _kernel(SOFTMAX.format(block), TWO_COLUMNS))


@TINY
@given(FEW | SIZES, FEW | st.just(64), FEW, st.sampled_from(list(CHIPS.values())))
def test_matmul_of_one_product_or_one_column(m: int, n: int, block: int, chip: ChipSpec) -> None:
    params = 'a: Tensor["M", "K"], b: Tensor["K", "N"], c: Tensor["M", "N"], B: Tunable = '
    outer = MatmulCase("outer", "matmul", m, n, 1)
    _never_below(outer, chip, _kernel(params + f"{16 * block}", OUTER))
    inner = MatmulCase("inner", "matmul", m, 1, n)
    # A column lies in HBM as a row does.
    turned = INNER.replace("load(y, b, queue=1)", "load(y, b[:, 0], queue=1)")
    _never_below(inner, chip, _kernel(params + f"{16 * block}", turned))


@TINY
@given(FEW | SIZES, FEW, st.sampled_from([1, 16, 256]), st.sampled_from(list(CHIPS.values())))
def test_vector_add_of_few_elements(rows: int, columns: int, block: int, chip: ChipSpec) -> None:
    params = 'x: Tensor["R", "C"], y: Tensor["R", "C"], z: Tensor["R", "C"], B: Tunable = '
    case = VectorAddCase("few", "vector_add", rows, columns)
    kernel = _kernel(params + str(block), ADD)
    cycles = simulate(kernel, case, chip).cycles
    assert cycles >= lower_bound_cycles(case, chip)


@TINY
@given(st.integers(1, 20), st.sampled_from([1, 4, 64, 512]), st.sampled_from(list(CHIPS.values())))
def test_attention_of_two_keys_and_one_element_a_head(
    sequences: int, heads: int, chip: ChipSpec
) -> None:
    two = (1,) * sequences
    case = AttentionCase("two", "decode", (2,) * sequences, two, heads, 1, 1, page_tokens=1)
    _never_below(case, chip, _kernel(ATTENTION, _queues(TWO_KEYS, chip)))


# Scores of one product each, keys by heads: `scale=` holds the queries.
WEIGHTS = """
for b in cores(ceil_div(H, C)):
    x = sram(1, C, bf16)
    y = sram(N, C, bf16, at=1)
    p = sram(N, C, bf16, at=3)
    load(x, q[0, b * C : b * C + C])
    load(y, k[:, b * C : b * C + C], queue=1)
    exp2(p, y, scale=x, engine=vector)
    store(o[:, b * C : b * C + C], p)
"""


@pytest.mark.parametrize("chip", [M890, CHIPS["m890-lean"]], ids=lambda chip: chip.name)
def test_weights_of_one_product_take_the_vector_unit_six_passes(chip: ChipSpec) -> None:
    """`exp2` forms the product itself: the bound may not count a pass for it."""
    heads, keys = 512, 256
    params = 'q: Tensor[1, "H"], k: Tensor["N", "H"], o: Tensor["N", "H"], C: Tunable = 32'
    timing = simulate_program(_kernel(params, WEIGHTS), chip, {"H": heads, "N": keys}, {})
    causes, engine = timing.attribution.causes, chip.dma_queues + 1
    weights, cores = heads * keys, chip.cores
    passes = 6 * weights // cores // chip.vector_bf16_lanes
    assert timing.attribution.cycles[0, engine, causes.index("busy")] == 40 + passes
    case = AttentionCase("weights", "decode", (keys + 1,), (1,), heads, heads, 1, page_tokens=1)
    # Both units side by side; the vector unit takes six of its widest elements for a weight.
    rate = chip.sfu_elements_per_cycle + Fraction(chip.vector_bf16_lanes, 6)
    assert lower_bound(case, chip).elements == 40 + math.ceil(weights / (cores * rate))
