"""Cutting the range of an online softmax into parts, with a phase that merges them."""

from __future__ import annotations

import dataclasses
from functools import partial
from textwrap import indent

import pytest

from m890sim.kernel import print_kernel
from m890sim.schedule import Edit, EditError, apply, legal_edits, rewrite
from tests.schedule import grain_cases
from tests.schedule.editing import kernel_from
from tests.schedule.grain_cases import assert_same, built_in, case_of, edited, phases

HEAD = """from m890sim.lang import *


@kernel
def example(
    q: Tensor["H", "D"],
    k: Tensor["S", "D"],
    o: Tensor["H", "D"],
    c: Tensor["H", "D"],
    scale: Scalar,
    BK: Tunable = 8,
"""
PLAIN = """
for h in cores(H):
    qt = sram(1, D, bf16)
    kt = sram(BK, D, bf16)
    p = sram(1, BK, bf16)
    ot = sram(1, D, bf16)
    m = sram(1, 1, f32)
    l = sram(1, 1, f32)
    new_m = sram(1, 1, f32)
    alpha = sram(1, 1, f32)
    part = sram(1, 1, f32)
    s = acc(1, BK)
    out = acc(1, D)
    load(qt, q[h : h + 1, :])
    fill(m, -inf)
    fill(l, 0.0)
    fill(out, 0.0)
    for j in range(0, S, BK):
        n = min(BK, S - j)
        load(kt[:n], k[j : j + n, :])
        matmul(s[:, :n], qt, kt[:n].T)
        row_max(new_m, s[:, :n])
        max(new_m, new_m, m)
        sub(alpha, m, new_m)
        exp(alpha, alpha, scale=scale)
        sub(s[:, :n], s[:, :n], new_m)
        exp(p[:, :n], s[:, :n], scale=scale, row_sum=part)
        fma(l, l, alpha, part)
        mul(out, out, alpha)
        matmul(out, p[:, :n], kt[:n], accumulate=True)
        copy(m, new_m)
    div(ot, out, l)
    store(o[h : h + 1, :], ot)
"""
SPLIT = """
part_l = hbm(H, PARTS, 1, f32)
part_out = hbm(H, PARTS, D, f32)
part_m = hbm(H, PARTS, 1, f32)

for h, x in cores(H, PARTS):
    share = max(ceil_div(ceil_div(S, BK), PARTS), LEAST) * BK
    used = max(1, ceil_div(S, share))
    if x < used:
        qt = sram(1, D, bf16)
        kt = sram(BK, D, bf16)
        p = sram(1, BK, bf16)
        m = sram(1, 1, f32)
        l = sram(1, 1, f32)
        new_m = sram(1, 1, f32)
        alpha = sram(1, 1, f32)
        part = sram(1, 1, f32)
        s = acc(1, BK)
        out = acc(1, D)
        load(qt, q[h : h + 1, :])
        fill(m, -1e+30)
        fill(l, 0.0)
        fill(out, 0.0)
        for j in range(x * share, min(S, x * share + share), BK):
            n = min(BK, S - j)
            load(kt[:n], k[j : j + n, :])
            matmul(s[:, :n], qt, kt[:n].T)
            row_max(new_m, s[:, :n])
            max(new_m, new_m, m)
            sub(alpha, m, new_m)
            exp(alpha, alpha, scale=scale)
            sub(s[:, :n], s[:, :n], new_m)
            exp(p[:, :n], s[:, :n], scale=scale, row_sum=part)
            fma(l, l, alpha, part)
            mul(out, out, alpha)
            matmul(out, p[:, :n], kt[:n], accumulate=True)
            copy(m, new_m)
        store(part_l[h, x, :], l)
        out_part = sram(1, D, f32)
        copy(out_part, out)
        store(part_out[h, x, :], out_part)
        store(part_m[h, x, :], m)

for h in cores(H):
    share = max(ceil_div(ceil_div(S, BK), PARTS), LEAST) * BK
    used = max(1, ceil_div(S, share))
    ot = sram(1, D, bf16)
    l = sram(1, 1, f32)
    out = acc(1, D)
    m = sram(1, 1, f32)
    l_parts = sram(PARTS, 1, f32)
    out_parts = sram(PARTS, D, f32)
    m_parts = sram(PARTS, 1, f32)
    load(l_parts[:used], part_l[h, :used, :])
    load(out_parts[:used], part_out[h, :used, :])
    load(m_parts[:used], part_m[h, :used, :])
    col_max(m, m_parts[:used])
    sub(m_parts[:used], m_parts[:used], m)
    exp(m_parts[:used], m_parts[:used], scale=scale)
    mul(l_parts[:used], l_parts[:used], m_parts[:used])
    col_sum(l, l_parts[:used])
    mul(out_parts[:used], out_parts[:used], m_parts[:used])
    col_sum(out, out_parts[:used])
    div(ot, out, l)
    store(o[h : h + 1, :], ot)
"""


kernel_of = partial(kernel_from, HEAD + "):\n")


def test_split_range_writes_parts_and_a_phase_that_merges_them() -> None:
    split = apply(kernel_of(PLAIN), Edit("split_range", (0,), 4))
    head = HEAD + "    PARTS: Tunable = 4,\n    LEAST: Tunable = 1,\n):\n"
    assert print_kernel(split) == head + indent(SPLIT.strip("\n") + "\n", "    ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    fill(m, -inf)", "    fill(m, 0.0)", "the loops carry no maximum"),
        ("    fill(l, 0.0)", "    fill(l, 1.0)", "the loops carry no maximum"),
        ("        copy(m, new_m)\n", "", "the loops carry no maximum"),
        ("        max(new_m, new_m, m)\n", "        add(new_m, new_m, m)\n", "holds no weight"),
        ("        mul(out, out, alpha)\n", "", "the result of matmul holds no weight"),
        ("        mul(out, out, alpha)\n", "        mul(out, out, alpha)\n" * 2, "of matmul"),
        ("fma(l, l, alpha, part)", "fma(l, l, part, part)", "the result of fma"),
        ("fma(l, l, alpha, part)", "add(l, part, part)", "`l` is not filled"),
        ("exp(alpha, alpha, scale=scale)", "exp(alpha, alpha)", "the result of fma"),
        ("sub(alpha, m, new_m)", "sub(alpha, m, qt[:, :1])", "the result of fma"),
        (
            "        copy(m, new_m)\n",
            "        copy(m, new_m)\n        store(c[h : h + 1, :], qt)\n",
            "something is stored before",
        ),
        ("    div(ot, out, l)", "    for y in range(1):\n        div(ot, out, l)", "is not filled"),
        ("    div(ot, out, l)", "    add(out, out, s[:, :1])\n    div(ot, out, l)", "`s`"),
        ("    div(ot, out, l)", "    div(ot, out, part)", "`part`"),
        (
            "    store(o[h : h + 1, :], ot)\n",
            "    store(o[h : h + 1, :], ot)\n    copy(out[:, 0:1], l)\n",
            "several pieces of `out`",
        ),
    ],
)
def test_split_range_says_what_it_refuses(old: str, new: str, message: str) -> None:
    assert PLAIN.count(old) >= 1
    kernel = kernel_of(PLAIN.replace(old, new, 1))
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        rewrite(kernel, Edit("split_range", (0,), 4))
    assert message in str(caught.value)


def test_split_range_acts_on_phases_and_takes_few_numbers() -> None:
    with pytest.raises(EditError, match="acts on a phase"):
        rewrite(kernel_of(PLAIN), Edit("split_range", (0, 0), 4))
    with pytest.raises(EditError, match="takes one of"):
        rewrite(kernel_of(PLAIN), Edit("split_range", (0,), 3))


KERNELS = [
    "decode_reference",
    "decode_2_queues",
    "decode_4_packed",
    "attention_reference",
    "attention_5_softmax",
    "attention_8_stages",
    "attention_10_packed",
]


@pytest.mark.parametrize("name", KERNELS)
def test_split_range_keeps_what_built_in_kernels_compute(name: str) -> None:
    kernel = built_in(name)
    for parts in (2, 16):
        split = rewrite(kernel, Edit("split_range", phases(kernel)[0], parts))
        assert_same(kernel, split, case_of(name))


@pytest.mark.parametrize("name", ["decode_reference", "attention_reference"])
def test_split_range_keeps_what_edited_kernels_compute(name: str) -> None:
    start = built_in(name)
    kernel = edited(start, grain_cases.SCRIPT)
    split = rewrite(kernel, Edit("split_range", phases(kernel)[0], 4))
    assert_same(start, split, case_of(name))
    packed = rewrite(kernel, Edit("pack_heads", phases(kernel)[0], "grow"))
    split = rewrite(packed, Edit("split_range", phases(packed)[0], 8))
    assert_same(start, split, case_of(name))
    first = rewrite(start, Edit("split_range", phases(start)[0], 4))
    assert_same(start, edited(first, grain_cases.SCRIPT), case_of(name))


@pytest.mark.parametrize(("parts", "least"), [(1, 1), (3, 2), (16, 1), (40, 5), (7, 100)])
def test_any_number_of_parts_computes_the_same(parts: int, least: int) -> None:
    for name in ("decode_reference", "attention_reference"):
        start = built_in(name)
        split = rewrite(start, Edit("split_range", phases(start)[0], 4))
        chosen = {"PARTS": parts, "LEAST": least}
        params = tuple(
            dataclasses.replace(p, default=chosen.get(p.name, p.default)) for p in split.params
        )
        assert_same(start, dataclasses.replace(split, params=params), case_of(name))


def test_packing_follows_splitting_where_an_item_has_one_row() -> None:
    start = built_in("decode_reference")
    split = rewrite(start, Edit("split_range", phases(start)[0], 4))
    packed = rewrite(split, Edit("pack_heads", phases(split)[0], "grow"))
    assert_same(start, packed, case_of("decode_reference"))


def test_a_loop_must_not_read_what_another_one_wrote() -> None:
    start = PLAIN.index("    for j in")
    end = PLAIN.index("    div(ot")
    first = PLAIN[start:end] + "        copy(extra, alpha)\n"
    second = PLAIN[start:end].replace(
        "        row_max", "        add(qt, qt, extra)\n        row_max"
    )
    body = PLAIN[:start] + "    extra = sram(1, 1, f32)\n    fill(extra, 0.0)\n" + first
    twice = kernel_of(body + PLAIN[start:end] + PLAIN[end:])
    assert legal_edits(twice, name="split_range")
    for reader in (second.replace("add(qt, qt", "add(kt[:1], kt[:1]"), "    copy(new_m, extra)\n"):
        kernel = kernel_of(body + reader + PLAIN[start:end] + PLAIN[end:])
        assert legal_edits(kernel, name="split_range") == []


def test_a_maximum_must_be_of_whole_rows() -> None:
    body = PLAIN.replace("        row_max(new_m, s[:, :n])\n", "        t = sram(1, BK, f32)\n")
    body = body.replace("max(new_m, new_m, m)", "max(t[:, :n], s[:, :n], m)")
    body = body.replace(
        "sub(alpha, m, new_m)", "row_max(new_m, t[:, :n])\n        sub(alpha, m, new_m)"
    )
    body = body.replace("sub(s[:, :n], s[:, :n], new_m)", "sub(s[:, :n], s[:, :n], t[:, :n])")
    with pytest.raises(EditError, match="`t` is no maximum of whole rows"):
        rewrite(kernel_of(body), Edit("split_range", (0,), 4))


def test_what_one_iteration_leaves_for_later_ones_is_no_plain_value() -> None:
    extra = "    extra = sram(1, 1, f32)\n    fill(extra, 0.0)\n    for j"
    use = "        mul(kt[:n], kt[:n], extra)\n        row_max"
    body = PLAIN.replace("    for j", extra).replace("        row_max", use)
    assert legal_edits(kernel_of(body), name="split_range")
    for writer in ("if j > 8:\n", "for y in range(j):\n"):
        late = f"        {writer}            fill(extra, 2.0)\n"
        kernel = kernel_of(body.replace("        row_max", late + "        row_max"))
        assert legal_edits(kernel, name="split_range") == []


def test_one_row_of_a_maximum_must_not_serve_others() -> None:
    body = (
        PLAIN.replace("sram(1,", "sram(4,").replace("acc(1,", "acc(4,").replace(" h + 1", " h + 4")
    )
    assert legal_edits(kernel_of(body), name="split_range")
    body = body.replace("sub(alpha, m, new_m)", "sub(alpha, m, new_m[:1])")
    assert legal_edits(kernel_of(body), name="split_range") == []


def test_a_maximum_is_finite_where_a_mask_may_hide_a_whole_part() -> None:
    masks = "        limit_mask(s[:, :n], limit=5)\n        row_max(new_m"
    split = apply(
        kernel_of(PLAIN.replace("        row_max(new_m", masks)), Edit("split_range", (0,), 2)
    )
    assert "fill(m, -1e+30)" in print_kernel(split)


def test_a_range_is_cut_once() -> None:
    start = built_in("decode_reference")
    split = rewrite(start, Edit("split_range", phases(start)[0], 4))
    with pytest.raises(EditError, match="is cut into parts already, PARTS says how many"):
        rewrite(split, Edit("split_range", phases(split)[0], 4))
