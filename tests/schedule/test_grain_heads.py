"""Packing the query heads of a group into the rows of a tile."""

from __future__ import annotations

from functools import partial

import pytest

from m890sim.kernel import ir, print_kernel
from m890sim.schedule import Edit, EditError, apply, rewrite
from tests.schedule import grain_cases
from tests.schedule.editing import kernel_from
from tests.schedule.grain_cases import assert_same, built_in, case_of, edited, phases

HEAD = """from m890sim.lang import *


@kernel
def example(
    q: Tensor["T", "HQ", "D"],
    k: Tensor["S", "HKV", "D"],
    o: Tensor["T", "HQ", "S"],
    c: Tensor["HQ", "T", "S"],
    BQ: Tunable = 8,
    BK: Tunable = 8,
):
    G = HQ // HKV
"""
PLAIN = """
for h, i in cores(HQ, ceil_div(T, BQ)):
    rows = min(BQ, T - i * BQ)
    qt = sram(BQ, D, bf16)
    kt = sram(S, D, bf16)
    s = acc(BQ, S)
    st = sram(BQ, S, bf16)
    load(qt[:rows], q[i * BQ : i * BQ + rows, h, :])
    load(kt, k[:, h // G, :])
    matmul(s[:rows], qt[:rows], kt.T)
    causal_mask(s[:rows], row=i * BQ, col=0)
    copy(st[:rows], s[:rows])
    store(o[i * BQ : i * BQ + rows, h, :], st[:rows])
"""
PACKED = """
for h, i in cores(HKV, ceil_div(T, BQ)):
    rows = min(BQ, T - i * BQ)
    qt = sram(BQ * G, D, bf16)
    kt = sram(S, D, bf16)
    s = acc(BQ * G, S)
    st = sram(BQ * G, S, bf16)
    load(qt[: rows * G], q[i * BQ : i * BQ + rows, h * G : h * G + G, :])
    load(kt, k[:, h, :])
    matmul(s[: rows * G], qt[: rows * G], kt.T)
    causal_mask(s[: rows * G], row=i * BQ, col=0, group=G)
    copy(st[: rows * G], s[: rows * G])
    store(o[i * BQ : i * BQ + rows, h * G : h * G + G, :], st[: rows * G])
"""
KEPT = """
TOKENS = max(1, BQ // G)

for h, i in cores(HKV, ceil_div(T, TOKENS)):
    rows = min(TOKENS, T - i * TOKENS)
    qt = sram(TOKENS * G, D, bf16)
"""


kernel_of = partial(kernel_from, HEAD)


def text_of(kernel: ir.Kernel) -> str:
    text = print_kernel(kernel).split("G = HQ // HKV\n", 1)[1]
    return "\n".join(line[4:] for line in text.strip("\n").split("\n"))


def test_pack_heads_grows_the_tiles() -> None:
    packed = apply(kernel_of(PLAIN), Edit("pack_heads", (1,), "grow"))
    assert text_of(packed) == PACKED.strip("\n")


def test_pack_heads_keeps_the_tiles_and_takes_fewer_tokens() -> None:
    packed = apply(kernel_of(PLAIN), Edit("pack_heads", (1,), "keep"))
    assert text_of(packed).startswith(KEPT.strip("\n"))


def test_pack_heads_takes_a_divided_head_by_another_name_and_a_constant_group() -> None:
    body = PLAIN.replace("rows = min", "kv = h // 2\n    rows = min").replace("h // G", "kv")
    body = body.replace("cores(HQ,", "cores(HKV * 2,")
    text = text_of(apply(kernel_of(body), Edit("pack_heads", (1,), "grow")))
    assert "cores(HKV, " in text
    assert "kv = h\n" in text
    assert "qt = sram(BQ * 2, D, bf16)" in text
    assert "group=2" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("h // G", "0", "no work-item variable is divided"),
        ("cores(HQ,", "cores(S,", "`h` is divided by no `HQ // HKV`"),
        ("k[:, h // G, :]", "k[:, 0 * (h // G), :]", "no tensor of one index a group"),
        ("row=i * BQ", "row=i * BQ + h", "`h` is used other than as `h // G`"),
        ("o[i * BQ : i * BQ + rows, h, :]", "o[i * BQ : i * BQ + rows, 0, :]", "no index `h`"),
        ("kt.T)", "qt[:rows].T)", "takes rows of `qt`, which differ from head to head"),
        (
            "copy(st[:rows], s[:rows])",
            "copy(st[:rows], kt[:rows])",
            "rows of `kt` differ from head to head, but this piece of `k` has no index `h`",
        ),
        (
            "store(o[i * BQ : i * BQ + rows, h, :], ",
            "store(c[h, i * BQ : i * BQ + rows, :], ",
            "a piece of `c` must have one index `h`, and one slice behind it",
        ),
        (
            "load(kt, k[:, h // G, :])",
            "load(kt, k[:, h // G, :])\n    load(qt[:rows], k[:rows, h // G, :])",
            "rows of `qt` differ from head to head, but this piece of `k` has no index `h`",
        ),
        (
            "    load(kt, k[:, h // G, :])",
            "    fill(kt, 1.0)\n    if rows > 4:\n        load(kt, k[:, h // G, :])",
            "a tensor is indexed by `h` // the group in a branch only, and something is stored",
        ),
        ("qt[:rows], kt", "qt[0:rows:1], kt", "takes every"),
        (
            "    copy(st",
            "    col = sram(1, S, f32)\n    col_max(col, s[:rows])\n    copy(st",
            "col_max takes rows of `s`",
        ),
        (
            "    copy(st",
            "    max(s[:rows], s[:rows], s[0:1])\n    copy(st",
            "one row of `s` serves all rows of max",
        ),
    ],
)
def test_pack_heads_says_what_it_refuses(old: str, new: str, message: str) -> None:
    assert old in PLAIN
    kernel = kernel_of(PLAIN.replace(old, new))
    edit = Edit("pack_heads", (1,), "grow")
    with pytest.raises(EditError, match="line [0-9]+: ") as caught:
        rewrite(kernel, edit)
    assert message in str(caught.value)


def test_pack_heads_takes_a_group_that_is_picked_in_both_branches() -> None:
    picked = "load(kt, k[:, h // G, :])"
    branches = f"if rows > 4:\n        {picked}\n    else:\n        {picked}"
    packed = apply(kernel_of(PLAIN.replace(picked, branches)), Edit("pack_heads", (1,), "grow"))
    assert text_of(packed).count("load(kt, k[:, h, :])") == 2


def test_pack_heads_wants_no_number_of_heads_that_may_be_negative() -> None:
    body = PLAIN.replace("cores(HQ,", "cores(HKV * (S - 3),").replace("h // G", "h // (S - 3)")
    with pytest.raises(EditError, match="the number of heads may be below zero"):
        rewrite(kernel_of(body), Edit("pack_heads", (1,), "grow"))


def test_pack_heads_acts_on_phases_and_takes_two_words() -> None:
    with pytest.raises(EditError, match="acts on a phase"):
        rewrite(kernel_of(PLAIN), Edit("pack_heads", (0,), "grow"))
    with pytest.raises(EditError, match="takes one of grow, keep"):
        rewrite(kernel_of(PLAIN), Edit("pack_heads", (1,), 2))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("qt = sram(BQ, D", "qt = sram(BQ + 1, D", "differ in rows"),
        ("BQ, ", "8, ", "are no Tunable"),
        (
            "kt = sram(S, D, bf16)",
            "kt = sram(S, D, bf16, slots=BQ)",
            "is not only the size of a block",
        ),
    ],
)
def test_pack_heads_keeps_only_what_is_the_size_of_a_block(
    old: str, new: str, message: str
) -> None:
    with pytest.raises(EditError) as caught:
        rewrite(kernel_of(PLAIN.replace(old, new)), Edit("pack_heads", (1,), "keep"))
    assert message in str(caught.value)


KERNELS = [
    "attention_reference",
    "attention_2_queues",
    "attention_3_slots",
    "attention_5_softmax",
    "attention_7_diagonal",
    "attention_9_balance",
    "decode_reference",
    "decode_1_no_fences",
    "decode_3_slots",
]


@pytest.mark.parametrize("name", KERNELS)
def test_pack_heads_keeps_what_built_in_kernels_compute(name: str) -> None:
    kernel = built_in(name)
    site = phases(kernel)[0]
    assert_same(kernel, rewrite(kernel, Edit("pack_heads", site, "grow")), case_of(name))


@pytest.mark.parametrize("way", ["grow", "keep"])
def test_pack_heads_keeps_what_edited_kernels_compute(way: str) -> None:
    for name in ("attention_reference", "decode_reference"):
        if (name, way) == ("decode_reference", "keep"):
            continue
        start = built_in(name)
        # Where a cut-off block is halved, its size has to stay a multiple.
        whole = way == "keep"
        lines = grain_cases.SCRIPT.split("\n")
        script = "\n".join(line for line in lines if not (whole and "split_transfer" in line))
        kernel = edited(start, script)
        packed = rewrite(kernel, Edit("pack_heads", phases(kernel)[0], way))
        assert_same(start, packed, case_of(name))
        # What was edited before may be edited after as well.
        again = edited(
            rewrite(start, Edit("pack_heads", phases(start)[0], way)), grain_cases.SCRIPT
        )
        assert_same(start, again, case_of(name))


def test_tunables_change_after_packing() -> None:
    start = built_in("attention_reference")
    grown = rewrite(start, Edit("pack_heads", (1,), "grow"))
    for step in ("halve", "double"):
        changed = rewrite(grown, Edit("set_tunable", (), ("BQ", step)))
        assert_same(start, changed, case_of("attention_reference"))
    kept = rewrite(start, Edit("pack_heads", (1,), "keep"))
    assert_same(
        start,
        rewrite(kept, Edit("set_tunable", (), ("BQ", "double"))),
        case_of("attention_reference"),
    )
