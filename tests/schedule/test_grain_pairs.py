"""Neighbouring key heads in one work item."""

from __future__ import annotations

from functools import partial
from textwrap import indent

import numpy as np
import pytest

from m890sim.execute import run_kernel
from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.schedule import Edit, EditError, apply, rewrite
from m890sim.workloads import AttentionCase
from tests.schedule import grain_cases
from tests.schedule.editing import kernel_from
from tests.schedule.grain_cases import DECODE, assert_same, built_in, edited, phases

HEAD = """from m890sim.lang import *


@kernel
def example(
    q: Tensor["B", "HQ", "D"],
    k: Tensor["S", "HKV", "D"],
    w: Tensor["S", "D"],
    o: Tensor["B", "HQ", "S"],
    c: Tensor["S", "D"],
    t: Tensor["HKV", "S", "D"],
    G: Size,
    BK: Tunable = 8,
):
"""
PLAIN = """
for b, h in cores(B, HKV):
    qt = sram(G, D, bf16)
    kt = sram(BK, D, bf16)
    m = sram(G, 1, f32)
    st = sram(G, BK, bf16)
    s = acc(G, BK)
    load(qt, q[b, h * G : h * G + G, :])
    for j in range(0, S, BK):
        n = min(BK, S - j)
        load(kt[: n // 2], k[j : j + n // 2, h, :])
        load(kt[n // 2 : n], k[j + n // 2 : j + n, h, :])
        matmul(s[:, :n], qt, kt[:n].T)
        row_max(m, s[:, :n])
        sub(st[:, :n], s[:, :n], m)
        store(o[b, h * G : h * G + G, j : j + n], st[:, :n])
"""
PAIRED = """
for b, w_2 in cores(B, ceil_div(HKV, 2)):
    h = w_2 * 2
    heads = min(2, HKV - h)
    qt = sram(G * 2, D, bf16)
    kt = sram(BK * 2, D, bf16)
    m = sram(G * 2, 1, f32)
    st = sram(G * 2, BK, bf16)
    s = acc(G * 2, BK)
    load(qt[: heads * G], q[b, h * G : h * G + heads * G, :])
    for j in range(0, S, BK):
        n = min(BK, S - j)
        load(kt[: n // 2 * heads], k[j : j + n // 2, h : h + heads, :])
        load(kt[n // 2 * heads : n * heads], k[j + n // 2 : j + n, h : h + heads, :])
        for y in range(heads):
            matmul(s[y * G : y * G + G, :n], qt[y * G : y * G + G], kt[y : n * heads : heads].T)
        row_max(m[: heads * G], s[: heads * G, :n])
        sub(st[: heads * G, :n], s[: heads * G, :n], m[: heads * G])
        store(o[b, h * G : h * G + heads * G, j : j + n], st[: heads * G, :n])
"""


kernel_of = partial(kernel_from, HEAD)


def test_pair_heads_takes_two_heads_into_an_item() -> None:
    paired = apply(kernel_of(PLAIN), Edit("pair_heads", (0,), 2))
    text = print_kernel(paired)[len(HEAD) :]
    assert text == indent(PAIRED.strip("\n") + "\n", "    ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "row_max(m, s[:, :n])",
            "row_max(m, s[:, :n])\n        mul(kt, kt, 2.0)",
            "takes the keys",
        ),
        ("qt, kt[:n].T)", "kt[:n], qt.T)", "no variable of the phase picks a row"),
        (
            "n = min(BK, S - j)",
            "n = min(BK, S - j) + 0 * h",
            "used other than as an index",
        ),
        (
            "row_max(m, s[:, :n])",
            "row_max(m, s[:, :n])\n        causal_mask(s, row=0, col=0)",
            "goes by the positions of rows",
        ),
        (
            "        row_max(m, s[:, :n])\n",
            "        copy(m[:1], s[:1, :1])\n",
            "has not all rows of a head",
        ),
        (
            "        sub(st[:, :n], s[:, :n], m)\n",
            "        sub(st[:, :n], s[:, :n], m)\n        store(c[j : j + n, :], kt[:n])\n",
            "this piece of `c` has no index `h`",
        ),
        ("load(qt, q[b, h * G : h * G + G, :])", "load(qt, w[:G, :])", "has no index `h`"),
        ("h * G : h * G + G, j", "h * G : h * G + 2 * G, j", "no index of `o` that a run goes by"),
        (
            "k[j : j + n // 2, h, :]",
            "t[h, j : j + n // 2, :]",
            "no index of `t` that a run goes by",
        ),
    ],
)
def test_pair_heads_says_what_it_refuses(old: str, new: str, message: str) -> None:
    assert old in PLAIN
    kernel = kernel_of(PLAIN.replace(old, new))
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        rewrite(kernel, Edit("pair_heads", (0,), 2))
    assert message in str(caught.value)


def test_pair_heads_acts_on_phases_with_keys_and_takes_two_numbers() -> None:
    kernel = kernel_of(PLAIN)
    with pytest.raises(EditError, match="acts on a phase"):
        rewrite(kernel, Edit("pair_heads", (0, 0), 2))
    with pytest.raises(EditError, match="takes one of 2, 4"):
        rewrite(kernel, Edit("pair_heads", (0,), 3))
    with pytest.raises(EditError, match="no variable of the phase picks a row"):
        rewrite(built_in("decode_reference"), Edit("pair_heads", (1,), 2))


EMPTY = """from m890sim.lang import *


@kernel
def example(
    q: Tensor["H", 8, f32],
    k: Tensor["T", "H", 8, f32],
    o: Tensor["H", 8, f32],
    t: Table["N"],
):
    for h in cores(H):
        c = t[0]
        qt = sram(1, 8, f32)
        kt = sram(8, 8, f32)
        s = acc(1, 8)
        r = sram(1, 8, f32)
        load(qt, q[h, :])
        load(kt, k[0:8, h, :])
        fill(s, 0.0)
        if c < 9:
            matmul(s[:, :c], qt, kt[:c].T)
        if c < 0:
            fill(s, 1.0)
        else:
            matmul(s[:, c:8], qt, kt[c:8].T)
        copy(r, s)
        store(o[h, :], r)
"""


@pytest.mark.parametrize("cut", [0, 3, 8])
def test_pair_heads_keeps_pieces_of_no_keys(cut: int) -> None:
    kernel = parse(EMPTY)
    paired = apply(kernel, Edit("pair_heads", (0,), 2))
    assert "kt[min(c * heads + y_2, 8 * heads) : 8 * heads : heads].T" in print_kernel(paired)
    rng = np.random.default_rng(0)
    tensors = {"q": rng.standard_normal((3, 8)), "k": rng.standard_normal((8, 3, 8))}
    before, after = (
        run_kernel(k, {"H": 3, "T": 8, "N": 1}, {"t": [cut]}, {}, tensors)["o"]
        for k in (kernel, paired)
    )
    np.testing.assert_allclose(after, before, rtol=1e-5)


# An odd number of key heads: the last pair is one.
ODD = AttentionCase("any", "decode", (150, 70, 1), (1, 1, 1), 6, 3, 16, 3, True)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", ["decode_4_packed", "decode_5_split", "decode_7_blocks"])
def test_pair_heads_keeps_what_built_in_kernels_compute(name: str, count: int) -> None:
    kernel = built_in(name)
    paired = rewrite(kernel, Edit("pair_heads", phases(kernel)[0], count))
    for case in (DECODE, ODD):
        assert_same(kernel, paired, case)


def test_pair_heads_keeps_what_edited_kernels_compute() -> None:
    start = built_in("decode_4_packed")
    kernel = edited(start, grain_cases.SCRIPT)
    paired = rewrite(kernel, Edit("pair_heads", phases(kernel)[0], 2))
    assert_same(start, paired, ODD)
    first = rewrite(start, Edit("pair_heads", phases(start)[0], 2))
    assert_same(start, edited(first, grain_cases.SCRIPT), ODD)
