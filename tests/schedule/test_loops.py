"""Edits of loops, masks and work items: examples and refusals."""

from __future__ import annotations

import re
from functools import partial

import pytest

from m890sim.kernel import print_kernel
from m890sim.language import check
from m890sim.schedule import Edit, EditError, apply
from tests.schedule.editing import kernel_from

HEAD = """from m890sim.lang import *


@kernel
def example(
    x: Tensor["N", "D"],
    w: Tensor["N", "M", "D"],
    o: Tensor["N", "D"],
    p: Tensor["N", "M", "D"],
    B: Tunable = 4,
    C: Tunable = 2,
):
"""


kernel_of = partial(kernel_from, HEAD)


def changed(body: str, name: str, site: tuple[int, ...], argument: int | None = None) -> str:
    """The kernel's body after an edit, without the head."""
    kernel = apply(kernel_of(body), Edit(name, site, argument))
    text = print_kernel(kernel).split("):\n", 1)[1]
    return "\n".join(line[4:] for line in text.rstrip().split("\n"))


def assert_edit(
    before: str, name: str, site: tuple[int, ...], after: str, argument: int | None = None
) -> None:
    assert changed(before, name, site, argument) == after.strip("\n")


COLUMNS = """
for i in cores(N):
    a = sram(1, D, bf16)
    for j in range(0, M, C):
        b = sram(1, D, bf16, slots=2)
        load(b, w[i, j, :])
        copy(a, b)
    store(o[i, :], a)
"""


def test_unroll_doubles_the_step_and_guards_the_second_copy() -> None:
    after = """
for i in cores(N):
    a = sram(1, D, bf16)
    for j in range(0, M, C * 2):
        b = sram(1, D, bf16, slots=2)
        load(b, w[i, j, :])
        copy(a, b)
        j_2 = j + C
        if j_2 < M:
            b_2 = sram(1, D, bf16, slots=2)
            load(b_2, w[i, j_2, :])
            copy(a, b_2)
    store(o[i, :], a)
"""
    assert_edit(COLUMNS, "unroll", (0, 1), after)


def test_unroll_of_an_even_number_of_iterations_needs_no_guard() -> None:
    body = COLUMNS.replace("range(0, M, C)", "range(4, 16, 3)")
    assert "if" not in changed(body, "unroll", (0, 1))
    body = COLUMNS.replace("range(0, M, C)", "range(4, 16, 4)")
    assert "if j_2 < 16:" in changed(body, "unroll", (0, 1))


def test_peel_last_guards_an_iteration_that_may_not_exist() -> None:
    after = """
for i in cores(N):
    a = sram(1, D, bf16)
    for j in range(0, M - C, C):
        b = sram(1, D, bf16, slots=2)
        load(b, w[i, j, :])
        copy(a, b)
    if 0 < M:
        j = (M - 1) // C * C
        b = sram(1, D, bf16)
        load(b, w[i, j, :])
        copy(a, b)
    store(o[i, :], a)
"""
    assert_edit(COLUMNS, "peel_last", (0, 1), after)


STAGES = """
for i in cores(N):
    for j in range(M + 1):
        b = sram(1, D, bf16, slots=2)
        with stage(0):
            c = j + 1
            load(b, w[i, min(c, M - 1), :])
        with stage(1):
            c = sram(1, D, bf16)
            copy(c, b)
            store(p[i, min(j, M - 1), :], c)
"""


def test_peeled_iteration_of_a_loop_that_runs_stands_alone_and_without_stages() -> None:
    after = """
for i in cores(N):
    for j in range(M):
        b = sram(1, D, bf16, slots=2)
        with stage(0):
            c = j + 1
            load(b, w[i, min(c, M - 1), :])
        with stage(1):
            c = sram(1, D, bf16)
            copy(c, b)
            store(p[i, min(j, M - 1), :], c)
    j = M
    b = sram(1, D, bf16)
    c_2 = j + 1
    load(b, w[i, min(c_2, M - 1), :])
    c_3 = sram(1, D, bf16)
    copy(c_3, b)
    store(p[i, min(j, M - 1), :], c_3)
"""
    assert_edit(STAGES, "peel_last", (0, 0), after)


def test_peel_first_starts_the_loop_one_step_later() -> None:
    text = changed(COLUMNS, "peel_first", (0, 1))
    assert "    if 0 < M:\n        j = 0\n" in text
    assert "    for j in range(C, M, C):\n" in text


def test_interchange_swaps_independent_loops() -> None:
    before = """
for one in cores(1):
    for i in range(0, N):
        for j in range(0, M, 2):
            n = min(2, M - j)
            b = sram(2, D, bf16)
            load(b[:n], w[i, j : j + n, :])
            store(p[i, j : j + n, :], b[:n])
"""
    after = """
for one in cores(1):
    for j in range(0, M, 2):
        for i in range(N):
            n = min(2, M - j)
            b = sram(2, D, bf16)
            load(b[:n], w[i, j : j + n, :])
            store(p[i, j : j + n, :], b[:n])
"""
    assert_edit(before, "interchange", (0, 0), after)


BRANCHES = """
for i in cores(N):
    b = sram(1, D, bf16)
    for j in range(0, M, C):
        if j < i:
            load(b, x[j, :])
        else:
            load(b, x[i, :])
        store(o[i, :], b)
"""


def test_split_loop_parts_where_the_condition_turns_and_drop_guard_finds_it_decided() -> None:
    split = apply(kernel_of(BRANCHES), Edit("split_loop", (0, 1), 0))
    text = print_kernel(split)
    assert "for j in range(0, min(i, M), C):" in text
    assert "for j in range(ceil_div(i, C) * C, M, C):" in text
    one = apply(split, Edit("drop_guard", (0, 1, 0)))
    both = apply(one, Edit("drop_guard", (0, 2, 0)))
    assert "if" not in print_kernel(both)


MASK = """
for i in cores(ceil_div(N, B)):
    rows = min(B, N - i * B)
    s = sram(B, C, f32)
    t = sram(B, D, bf16)
    for j in range(0, i * B + rows, C):
        cols = min(C, i * B + rows - j)
        fill(s, 0.0)
        causal_mask(s[:rows, :cols], row=i * B, col=j)
        row_max(t[:rows, :1], s[:rows, :cols])
    fill(t, 0.0)
    store(o[i * B : i * B + rows, :], t[:rows])
"""


def test_guard_mask_keeps_the_mask_for_tiles_that_it_can_hit() -> None:
    text = changed(MASK, "guard_mask", (0, 3, 2))
    mask = "causal_mask(s[:rows, :cols], row=i * B, col=j)"
    guard = f"        if j + cols - 1 > i * B:\n            {mask}\n"
    assert guard in text


def test_guard_mask_of_windows_and_limits() -> None:
    body = MASK.replace("causal_mask(", "window_mask(").replace("col=j)", "col=j, window=3)")
    assert "if j <= i * B + (rows - 1) - 3:" in changed(body, "guard_mask", (0, 3, 2))
    body = MASK.replace("causal_mask(s[:rows, :cols], row=i * B, col=j)", "limit_mask(s, limit=j)")
    assert "if C > j:" in changed(body, "guard_mask", (0, 3, 2))


def test_split_at_a_mask_frees_the_first_loop_of_it() -> None:
    split = apply(kernel_of(MASK), Edit("split_loop", (0, 3), 0))
    assert "for j in range(0, min(i * B - C + 2, i * B + rows), C):" in print_kernel(split)
    freed = apply(split, Edit("guard_mask", (0, 3, 2)))
    assert print_kernel(freed).count("causal_mask") == 1


def test_items_change_order_and_back() -> None:
    body = """
for i, j in cores(N, M, order="snake"):
    b = sram(1, D, bf16)
    load(b, w[i, j, :])
    store(p[i, j, :], b)
"""
    swapped = body.replace("i, j in cores(N, M", "j, i in cores(M, N")
    assert_edit(body, "swap_order_of_items", (0,), swapped, 0)
    reversed_ = body.replace("for i, j", "for turn, j").replace(
        "    b =", "    i = N - 1 - turn\n    b ="
    )
    assert_edit(body, "reverse_items", (0,), reversed_, 0)
    assert_edit(reversed_, "reverse_items", (0,), body, 0)


def test_coarser_items_loop_over_two_and_finer_items_undo_it() -> None:
    body = """
for i in cores(N):
    b = sram(1, D, bf16)
    load(b, x[i, :])
    store(o[i, :], b)
"""
    coarse = """
for i_2 in cores(ceil_div(N, 2)):
    for i in range(i_2 * 2, min(i_2 * 2 + 2, N)):
        b = sram(1, D, bf16)
        load(b, x[i, :])
        store(o[i, :], b)
"""
    assert_edit(body, "coarser_items", (0,), coarse, 0)
    assert_edit(coarse, "finer_items", (0,), body, 0)


def test_unroll_jam_shares_equal_tiles_and_interleaves_the_rest() -> None:
    body = """
for i in cores(N):
    rows = i + 1
    a = sram(1, D, bf16)
    load(a, x[i, :])
    for j in range(M):
        b = sram(1, D, bf16)
        load(b, w[0, j, :])
        mul(a, a, b)
        fence()
    for j in range(0, rows, C):
        b = sram(1, D, bf16)
        load(b, x[j, :])
        mul(a, a, b)
    store(o[i, :], a)
"""
    after = """
for i_2 in cores(ceil_div(N, 2)):
    i = i_2 * 2
    i_3 = min(i_2 * 2 + 1, N - 1)
    rows = i + 1
    rows_2 = i_3 + 1
    a = sram(1, D, bf16)
    a_2 = sram(1, D, bf16)
    load(a, x[i, :])
    load(a_2, x[i_3, :])
    for j in range(M):
        b = sram(1, D, bf16)
        load(b, w[0, j, :])
        mul(a, a, b)
        mul(a_2, a_2, b)
        fence()
    for j in range(0, min(rows, rows_2), C):
        b = sram(1, D, bf16)
        load(b, x[j, :])
        mul(a, a, b)
        mul(a_2, a_2, b)
    j_rest = ceil_div(max(0, min(rows, rows_2)), C) * C
    for j in range(j_rest, rows, C):
        b = sram(1, D, bf16)
        load(b, x[j, :])
        mul(a, a, b)
    for j in range(j_rest, rows_2, C):
        b = sram(1, D, bf16)
        load(b, x[j, :])
        mul(a_2, a_2, b)
    store(o[i, :], a)
    store(o[i_3, :], a_2)
"""
    assert_edit(body, "unroll_jam", (0,), after, 0)


CARRIED = """
t = hbm(N, D, bf16)
for i in cores(N):
    b = sram(1, D, bf16)
    for j in range(M):
        if j > 0:
            store(o[i, :], b)
        load(b, x[i, :])
    for j in range(M):
        load(b, x[j, :])
        store(t[i, :], b)
        load(b, t[i, :])
"""
NESTS = """
for one in cores(1):
    b = sram(1, D, bf16)
    for i in range(N):
        for j in range(i):
            load(b, x[j, :])
    for i in range(N):
        for j in range(M):
            load(b, x[j, :])
    for i in range(N):
        for j in range(M):
            c = sram(1, D, bf16)
            load(c, x[j, :])
            store(o[i, :], c)
"""
ITEMS = """
for i in cores(ceil_div(N, 2)):
    for k in range(i * 2, min(i * 2 + 2, N)):
        c = sram(1, D, bf16)
        load(c, x[k, :])
        store(o[0, :], c)
"""
OUTSIDE = """
for i in cores(N):
    c = sram(1, 1, bf16)
    for k in range(0, M, 5):
        fill(c[k : k + 1], 0.0)
"""
REFUSALS = [
    (STAGES, "unroll", (0, 0), None, "has stages, and an iteration can hold each of them once"),
    (STAGES, "unroll", (0,), None, "acts on a range loop"),
    (STAGES, "split_loop", (0, 0), 0, "the loop over j has 0 conditions and masks"),
    (CARRIED, "peel_first", (1, 1), None, "`b` is read in the loop over j and written before it"),
    (CARRIED, "unroll_jam", (1,), 0, "`t` is both loaded and stored in the phase"),
    (CARRIED, "drop_guard", (1, 1, 0), None, "nothing around this `if` decides its condition"),
    (CARRIED, "drop_guard", (1, 1), None, "acts on an `if`"),
    (CARRIED, "guard_mask", (1, 1), None, "acts on causal_mask"),
    (CARRIED, "interchange", (1, 1), None, "whose body is one range loop"),
    (NESTS, "interchange", (0, 1), None, "the bounds of the loop over j use `i`"),
    (NESTS, "interchange", (0, 2), None, "`b` is declared outside the loop over j"),
    (NESTS, "interchange", (0, 3), None, "stores to `o` in different iterations over j are not"),
    (NESTS, "swap_order_of_items", (0,), 0, "`one` is the last work-item variable"),
    (NESTS, "reverse_items", (0,), 1, "work-item variables 0 to 0"),
    (NESTS, "coarser_items", (0, 1), 0, "acts on a phase"),
    (NESTS, "finer_items", (0,), 0, "more than one loop"),
    (ITEMS, "finer_items", (0,), 0, "stores to `o` in different iterations over k are not"),
    (ITEMS.replace("i * 2 + 2", "i * 2 + 3"), "finer_items", (0,), 0, "share of 2"),
    (OUTSIDE, "unroll", (0, 1), None, "the slice of the rows of `c` ends at k' + 6"),
    (OUTSIDE, "peel_first", (0, 1), None, "the slice of the rows of `c` ends at k + 1"),
    (BRANCHES.replace("j < i", "j // 2 == i"), "split_loop", (0, 1), 0, "no value of j parts"),
    (BRANCHES.replace("j < i", "j < 0"), "split_loop", (0, 1), 0, "decided for the whole loop"),
]


@pytest.mark.parametrize(("body", "name", "site", "argument", "message"), REFUSALS)
def test_refusal_says_what_failed(
    body: str, name: str, site: tuple[int, ...], argument: int | None, message: str
) -> None:
    with pytest.raises(EditError, match=re.escape(message)):
        apply(kernel_of(body), Edit(name, site, argument))


def test_scalars_that_double_again_and_again_stay_names() -> None:
    lets = "\n".join(f"    v{i + 1} = min(v{i} * 2, v{i} % 7)" for i in range(200))
    body = f"\nfor i in cores(N):\n    v0 = i\n{lets}\n    if v200 < 3:\n        fence()\n"
    with pytest.raises(EditError, match="nothing around this `if` decides"):
        apply(kernel_of(body), Edit("drop_guard", (0, 201)))


def test_edits_that_copy_stop_at_a_size() -> None:
    kernel = kernel_of(COLUMNS)
    with pytest.raises(EditError, match="the most is 400 for edits that copy|operators would nest"):
        for _ in range(500):
            kernel = apply(kernel, Edit("peel_last", (0, 1)))
    check(kernel)
