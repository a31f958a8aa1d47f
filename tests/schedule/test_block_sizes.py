"""Tunables that are the size of a block and nothing else, and those that are not."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim import parse, print_kernel
from m890sim.execute import execute_kernel
from m890sim.kernel import ir
from m890sim.schedule import Edit, EditError, rewrite
from tests.schedule.attribute_texts import BLOCKS, SUMS, body_of, kernel_of


@pytest.mark.parametrize(("step", "value"), [("double", 8), ("halve", 2), ("next", 6)])
@pytest.mark.parametrize("body", [BLOCKS, SUMS])
def test_tunable_is_changed(body: str, step: str, value: int) -> None:
    kernel = kernel_of(body)
    changed = rewrite(kernel, Edit("set_tunable", (), ("B", step)))
    assert changed.tunables == {"B": value, "W": 2}
    assert body_of(changed) == body_of(kernel)


def changed(body: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in body
        body = body.replace(old, new)
    return body


STORE = "    store(o[i * B : i * B + rows, :], a[:rows])"
ROWS_LET = "rows = min(B, T - i * B)"
NO_BLOCKS = {
    "it stands in slots= or at=": changed(BLOCKS, ("bf16)", "bf16, slots=B)")),
    "a piece of x is not cut off by min()": changed(BLOCKS, (ROWS_LET, "rows = B")),
    "belongs to no loop, phase or `if`": changed(BLOCKS, ("T - i", "T - W - i")),
    "not certain to stay within its tile": changed(BLOCKS, ("sram(B", "sram(4")),
    "neither a position nor an extent": changed(
        BLOCKS, (STORE, f"    if i % 2 == 0:\n        fill(a, 0.0)\n{STORE}")
    ),
    "an expression is neither": changed(
        BLOCKS, (STORE, f"    if i < 2:\n        fill(a, 0.0)\n{STORE}")
    ),
    "a fixed piece of a block": changed(BLOCKS, (STORE, f"    fill(a[:1], 0.0)\n{STORE}")),
    "blocks of i do not follow one another": changed(
        BLOCKS, ("o[i * B : i * B + rows", "o[i * B * 2 : i * B * 2 + rows")
    ),
    "col_sum runs over the block of a work item": changed(
        BLOCKS, (STORE, f"    s = sram(1, D, f32)\n    col_sum(s, a[:rows])\n{STORE}")
    ),
    "a store does not follow i": changed(BLOCKS, (STORE, "    store(o[:1, :], a[:rows])")),
    "the extent of i is no ceil_div": changed(BLOCKS, ("ceil_div(T, B)", "B")),
    "nothing uses B": changed(BLOCKS, ("B", "W")),
    "s goes from block to block": changed(SUMS, ("add(s, s, p)", "add(s, s, 1.0)")),
    "no running result": changed(SUMS, ("add(s, s, p)", "mul(s, s, p)")),
    "a loop that reduces over its blocks stores": changed(
        SUMS, ("        add", "        store(o[j : j + n, :], a[:n])\n        add")
    ),
    "col_sum runs over a whole block": changed(SUMS, ("col_sum(p, a[:n])", "col_sum(p, a)")),
    "the loop does not count blocks": changed(
        SUMS, ("range(0, i + 1, B)", "range(0, ceil_div(T, B), 2)")
    ),
    "s holds what the last block of a loop left there": changed(
        SUMS, ("add(s, s, p)", "copy(s, p)")
    ),
    "p holds what the last block": changed(SUMS, ("copy(r, s)", "add(s, s, p)\n    copy(r, s)")),
    "as no running result": changed(SUMS, ("add(s, s, p)", "add(p, p, s)\n        add(s, s, p)")),
    "col_sum runs over a part of a block": changed(SUMS, ("(p, a[:n])", "(p, a[: n // 2])")),
    "load leaves out a part of a block": changed(
        BLOCKS,
        (
            "    load(a[:rows], x[i * B : i * B + rows, :])",
            "    fill(a[:rows], 0.0)\n    load(a[: rows // 2], x[i * B : i * B + rows // 2, :])",
        ),
    ),
    "store leaves out a part of a block": changed(
        BLOCKS, (STORE, "    store(o[i * B : i * B + rows // 2, :], a[: rows // 2])")
    ),
    "add leaves out a part of a block": changed(
        BLOCKS,
        (
            STORE,
            f"    add(a[: rows // 2], a[: rows // 2], 1.0)\n"
            f"    add(a[rows // 2 : rows], a[rows // 2 : rows], 2.0)\n{STORE}",
        ),
    ),
    "mul leaves out a part of a block": changed(
        BLOCKS,
        (STORE, f"    mul(a[: min(W, rows)], a[: min(W, rows)], 2.0)\n{STORE}"),
    ),
    "has no mask": changed(
        BLOCKS, (STORE, f"    for j in range(0, i * B + rows):\n        fill(a, 0.0)\n{STORE}")
    ),
}


@pytest.mark.parametrize("message", NO_BLOCKS)
def test_tunable_that_is_no_block_size_is_refused(message: str) -> None:
    with pytest.raises(EditError) as caught:
        rewrite(kernel_of(NO_BLOCKS[message]), Edit("set_tunable", (), ("B", "double")))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (("C", "double"), "no tunable 'C'"),
        (("B", "triple"), "a tunable and one of"),
        ("B", "a tunable and one of"),
    ],
)
def test_wrong_argument_of_tunable_is_refused(argument: object, message: str) -> None:
    with pytest.raises(EditError, match=message):
        rewrite(kernel_of(BLOCKS), Edit("set_tunable", (), argument))


def test_tunable_stays_in_its_bounds() -> None:
    for value, step in ((1, "halve"), (3, "halve"), (4096, "double"), (4096, "next")):
        text = print_kernel(kernel_of(BLOCKS)).replace("B: Tunable = 4", f"B: Tunable = {value}")
        with pytest.raises(EditError):
            rewrite(parse(text), Edit("set_tunable", (), ("B", step)))


# ---- blocks in parts ----


def output_of(kernel: ir.Kernel) -> np.ndarray:
    """What the kernel of a text makes of small inputs."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 23, 8)).astype(np.float32)
    symbols = {"T": 23, "D": 8, "N": 1}
    return execute_kernel(
        kernel, symbols, {"t": np.zeros(1, np.int32)}, {}, {"x": x, "y": y}
    ).outputs["o"]


def assert_any_size(body: str, steps: tuple[str, ...] = ("double", "halve", "next")) -> None:
    """The size of the blocks may change, and the output does not."""
    kernel = kernel_of(body)
    expected = output_of(kernel)
    for step in steps:
        changed_ = rewrite(kernel, Edit("set_tunable", (), ("B", step)))
        np.testing.assert_allclose(output_of(changed_), expected, rtol=0.02, atol=0.02)


CUT = """
for i in cores(ceil_div(T, B)):
    rows = min(B, T - i * B)
    a = sram(B, D, bf16)
    load(a[:rows], x[i * B : i * B + rows, :])
    store(o[i * B : i * B + rows // 2, :], a[: rows // 2])
    store(o[i * B + rows // 2 : i * B + rows // 2 + (rows - rows // 2) // 2, :],
        a[rows // 2 : rows // 2 + (rows - rows // 2) // 2])
    store(o[i * B + rows // 2 + (rows - rows // 2) // 2 : i * B + rows, :],
        a[rows // 2 + (rows - rows // 2) // 2 : rows])
"""


def test_block_in_quarters_may_have_any_size() -> None:
    assert_any_size(CUT)


def test_pieces_that_are_no_shares_are_refused() -> None:
    start = "a[rows // 2 : rows // 2 + (rows - rows // 2) // 2]"
    cases = {
        # Beyond the block: the rest of more than the block.
        "not certain to stay within its tile": CUT.replace(
            start, "a[rows // 2 : rows // 2 + (rows * 2 - rows // 2) // 2]"
        ),
        # The place in the tensor is a share of the block and moves with no block.
        "blocks of i do not follow one another": CUT.replace(
            "x[i * B : i * B + rows, :]", "x[rows // 2 : rows // 2 + rows, :]"
        ),
    }
    for message, body in cases.items():
        with pytest.raises(EditError, match=message):
            rewrite(kernel_of(body), Edit("set_tunable", (), ("B", "double")))


PARTS = """
for i in cores(ceil_div(T, B)):
    rows = min(B, T - i * B)
    a = sram(B, D, bf16)
    b = sram(B, D, f32)
    c = sram(B, D, f32)
    load(a[:rows], x[i * B : i * B + rows, :])
    exp2(c[rows * 5 // 8 : rows], a[rows * 5 // 8 : rows], engine=vector)
    exp2(b[: rows * 5 // 8], a[: rows * 5 // 8])
    copy(a[: rows * 5 // 8], b[: rows * 5 // 8])
    copy(a[rows * 5 // 8 : rows], c[rows * 5 // 8 : rows])
    store(o[i * B : i * B + rows, :], a[:rows])
"""


def test_parts_may_have_tiles_of_their_own() -> None:
    assert_any_size(PARTS)
    whole = changed(PARTS, ("    load", "    fill(b, 0.0)\n    load"))
    with pytest.raises(EditError, match="leaves out a part of a block"):
        rewrite(kernel_of(whole), Edit("set_tunable", (), ("B", "next")))


STALE_NEXT = """
for i in cores(T):
    a = sram(B, D, bf16)
    p = sram(1, D, f32)
    s = sram(1, D, f32)
    r = sram(1, D, bf16)
    fill(p, 0.0)
    fill(s, 0.0)
    for w in range(0, 2):
        max(s, s, p)
        for j in range(0, i + 1, B):
            n = min(B, i + 1 - j)
            load(a[:n], x[j : j + n, :])
            col_sum(p, a[:n])
    copy(r, s)
    store(o[i, :], r)
"""


def test_next_round_of_a_loop_does_not_see_the_last_block() -> None:
    with pytest.raises(EditError, match="p holds what the last block of a loop left there"):
        rewrite(kernel_of(STALE_NEXT), Edit("set_tunable", (), ("B", "double")))
    fresh = changed(STALE_NEXT, ("        max", "        fill(p, 0.0)\n        max"))
    assert_any_size(fresh)


BESIDE = """
for i in cores(T):
    a = sram(B, D, bf16)
    w = sram(B, D, f32)
    m = sram(1, D, f32)
    k = sram(1, D, f32)
    p = sram(1, D, f32)
    e = sram(1, D, f32)
    b = sram(1, D, f32)
    s = sram(1, D, f32)
    r = sram(1, D, bf16)
    fill(m, -inf)
    fill(s, 0.0)
    for j in range(0, i + 1, B):
        n = min(B, i + 1 - j)
        load(a[:n], x[j : j + n, :])
        col_max(k, a[:n])
        max(k, k, m)
        sub(e, m, k)
        exp(e, e)
        sub(w[:n], a[:n], k)
        exp(w[:n], w[:n])
        col_sum(p, w[:n])
        mul(b, s, e)
        add(s, b, p)
        copy(m, k)
    copy(r, s)
    store(o[i, :], r)
"""


def test_scaled_sum_may_stand_in_a_tile_of_its_own() -> None:
    for body in (BESIDE, changed(BESIDE, ("add(s, b, p)", "add(s, p, b)"))):
        assert_any_size(body)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mul(b, s, e)", "mul(b, s, p)"),  # no power of e
        ("add(s, b, p)", "add(b, b, p)\n        add(s, b, p)"),
        ("mul(b, s, e)", "mul(b, s, e)\n        mul(b, b, e)"),
        ("add(s, b, p)", "add(s, b, s)"),
        ("add(s, b, p)", "add(s, s, p)\n        add(s, b, p)"),  # what was added is lost
        ("mul(b, s, e)\n        add(s, b, p)", "add(s, s, p)"),  # not brought to the new maximum
        ("sub(w[:n], a[:n], k)", "mul(w[:n], a[:n], s)"),
    ],
)
def test_other_products_are_no_running_sum(old: str, new: str) -> None:
    with pytest.raises(EditError, match="s goes from block to block as no running result"):
        rewrite(kernel_of(changed(BESIDE, (old, new))), Edit("set_tunable", (), ("B", "double")))


# What goes into the sum of SUMS, or of BESIDE, and hangs on the size of the blocks.
NO_SUMS = {
    "sum of maxima": (SUMS, ("col_sum", "col_max")),
    "maximum of sums": (SUMS, ("add(s", "max(s")),
    "count": (SUMS, ("col_sum(p, a[:n])", "fill(p, 1.0)")),
    "squares": (SUMS, ("add(s", "mul(p, p, p)\n        add(s")),
    "constant": (SUMS, ("add(s", "add(p, p, 1.0)\n        add(s")),
    "product": (SUMS, ("add(s, s, p)", "exp(p, p)\n        mul(s, s, p)")),
    "maximum of the block": (BESIDE, ("max(k, k, m)", "max(k, k, k)")),
    "before the maximum": (BESIDE, ("max(k, k, m)", "mul(a[:n], a[:n], k)\n        max(k, k, m)")),
    "more than the maximum": (BESIDE, ("max(k, k, m)", "max(k, k, m)\n        add(k, k, 1.0)")),
    "negative": (BESIDE, ("max(k, k, m)", "mul(k, k, -1.0)\n        max(k, k, m)")),
}


@pytest.mark.parametrize("case", NO_SUMS)
def test_what_hangs_on_the_block_is_no_running_result(case: str) -> None:
    body, change = NO_SUMS[case]
    kernel = kernel_of(changed(body, change))
    with pytest.raises(EditError, match="from block to block as no running result"):
        rewrite(kernel, Edit("set_tunable", (), ("B", "double")))


@pytest.mark.parametrize(
    "change",
    [
        ("add(s", "mul(p, p, 0.5)\n        add(s"),
        ("col_sum(p, a[:n])", "col_sum(p, a[:n])\n        add(p, p, p)"),
        (
            "col_sum(p, a[:n])\n        add(s",
            "col_max(p, a[:n])\n        mul(p, p, 2.0)\n        max(s",
        ),
    ],
)
def test_other_running_results_have_any_size(change: tuple[str, str]) -> None:
    assert_any_size(changed(SUMS, change))


CUT_BY_A_NUMBER = """
for i in cores(ceil_div(T, B)):
    a = sram(min(4, B), D, bf16)
    for j in range(0, T, 4):
        c = sram(4, D, bf16)
        load(c[: min(4, T - j)], x[j : j + min(4, T - j), :])
    load(a[: min(4, T - i * B)], x[i * B : i * B + min(4, T - i * B), :])
"""


def test_tile_that_is_cut_by_a_number_holds_its_pieces() -> None:
    kernel = kernel_of(CUT_BY_A_NUMBER)
    rewrite(kernel, Edit("set_tunable", (), ("B", "double")))
    # Now the tile has 4 rows, then it would have 2, and a piece of it might still have 4.
    with pytest.raises(EditError, match="a slice is not certain to stay within its tile"):
        rewrite(kernel, Edit("set_tunable", (), ("B", "halve")))
