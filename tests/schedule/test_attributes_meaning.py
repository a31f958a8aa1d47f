"""Tunables that are the size of a block, and that every edit of the family keeps the meaning."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import numpy as np
import pytest

from m890sim import execute, load_kernel, parse, print_kernel
from m890sim.execute import Execution, execute_kernel
from m890sim.judge import row_errors
from m890sim.kernel import ir
from m890sim.language import check
from m890sim.schedule import Context, Edit, EditError, legal_edits, rewrite
from m890sim.schedule.attributes import ROWS
from m890sim.schedule.tree import sites
from m890sim.workloads import AttentionCase
from tests.generators import Program, random_inputs, random_program
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


# ---- the meaning is kept ----


def own_candidates(kernel: ir.Kernel) -> list[Edit]:
    context = Context()
    places = [((), None), *sites(kernel)]
    return [
        Edit(row.name, site, argument)
        for row in ROWS
        for site, stmt in places
        for argument in row.arguments(kernel, site, stmt, context)
    ]


def legal(kernel: ir.Kernel, edits: list[Edit]) -> list[tuple[Edit, ir.Kernel]]:
    found = []
    for edit in edits:
        try:
            found.append((edit, rewrite(kernel, edit)))
        except EditError:
            continue
    return found


def assert_well_formed(kernel: ir.Kernel, message: str) -> None:
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel, message


@cache
def program_of(seed: int) -> Program:
    return random_program(seed, 60)


def run(program: Program, kernel: ir.Kernel) -> Execution:
    # The inputs are those of the program: an edit may drop the last load of a tensor.
    given = (program.symbols, program.tables, program.scalars, random_inputs(program))
    return execute_kernel(kernel, *given)


SEEDS = range(20)


def test_edits_of_generated_kernels_keep_the_meaning() -> None:
    rng = random.Random(0)
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        program = program_of(seed)
        expected = run(program, program.kernel)
        found = legal(program.kernel, own_candidates(program.kernel))
        rare = [p for p in found if p[0].name.startswith(("drop", "set_tunable"))]
        for edit, kernel in rare + rng.sample(found, min(5, len(found))):
            seen[edit.name] += 1
            message = f"{edit}\n{program.describe()}"
            assert_well_formed(kernel, message)
            actual = run(program, kernel)
            assert actual.outputs.keys() == expected.outputs.keys(), message
            for name, values in expected.outputs.items():
                np.testing.assert_array_equal(actual.written[name], expected.written[name], message)
                if edit.name not in ("set_dtype", "set_tunable"):
                    np.testing.assert_array_equal(actual.outputs[name], values, message)
    assert seen["drop_dead"] > 5


EXTEND = AttentionCase("tiny", "extend", (5, 0), (23, 9), 2, 1, 16, 4, True)
DECODE = AttentionCase("tiny", "decode", (37, 9), (1, 1), 2, 1, 16, 4, True)
KERNELS = {
    "attention_reference": EXTEND,
    "attention_textbook": EXTEND,
    "attention_7_diagonal": EXTEND,
    "attention_expert": EXTEND,
    "decode_reference": DECODE,
    "decode_expert": DECODE,
}


def with_blocks(kernel: ir.Kernel, value: int) -> ir.Kernel:
    """The kernel with small tunables, so that a tiny case has several blocks."""
    text = print_kernel(kernel)
    for name in ("BQ", "BK"):
        old = kernel.tunables.get(name)
        text = text.replace(f"{name}: Tunable = {old}", f"{name}: Tunable = {value}")
    return parse(text)


@pytest.mark.parametrize("name", KERNELS)
def test_edits_of_built_in_kernels_keep_the_meaning(name: str) -> None:
    rng = random.Random(name)
    case = KERNELS[name]
    kernel = with_blocks(load_kernel(name), 8)
    inputs = case.make_inputs(1, "normal")
    expected = case.oracle(inputs)
    plain = execute(kernel, case, inputs)["o"]
    assert row_errors(plain, expected).max() <= 0.01
    found = legal(kernel, own_candidates(kernel))
    rare = [p for p in found if p[0].name.startswith(("drop", "set_tunable", "set_dtype"))]
    for edit, changed in rng.sample(rare, min(8, len(rare))) + rng.sample(found, 6):
        assert_well_formed(changed, str(edit))
        actual = execute(changed, case, inputs)["o"]
        if edit.name in ("set_dtype", "set_tunable"):
            assert row_errors(actual, expected).max() <= 0.03, edit
        else:
            np.testing.assert_array_equal(actual, plain, str(edit))


def test_block_sizes_of_the_references_can_be_changed() -> None:
    for name, tunables in (("attention_reference", ("BQ", "BK")), ("decode_reference", ("BK",))):
        kernel = load_kernel(name)
        for tunable in tunables:
            for step in ("double", "halve", "next"):
                rewrite(kernel, Edit("set_tunable", (), (tunable, step)))


# ---- blocks whose transfers and sums are in pieces ----

PIECES = ("split_transfer", "split_fma", "split_rows", "pack_heads")


@pytest.mark.parametrize("name", ["attention_reference", "decode_reference"])
def test_size_of_blocks_in_pieces_keeps_the_meaning(name: str) -> None:
    """Transfers cut again and again, products beside their sums: still blocks of any size."""
    case = KERNELS[name]
    inputs = case.make_inputs(3, "normal")
    expected = case.oracle(inputs)
    rng = random.Random(name)
    context = Context()
    seen: Counter[str] = Counter()
    for _ in range(8):
        kernel = with_blocks(load_kernel(name), 8)
        for _ in range(6):
            found = [e for e in legal_edits(kernel, context) if e.name in PIECES]
            by_name = {e.name: [f for f in found if f.name == e.name] for e in found}
            if by_name:
                kernel = rewrite(kernel, rng.choice(by_name[rng.choice(sorted(by_name))]))
        steps = [e for e in legal_edits(kernel, context) if e.name == "set_tunable"]
        for edit in steps:
            seen[f"{edit.argument}"] += 1
        for edit in rng.sample(steps, min(2, len(steps))):
            changed = rewrite(kernel, edit)
            assert_well_formed(changed, str(edit))
            found_values = execute(changed, case, inputs)["o"]
            assert row_errors(found_values, expected).max() <= 0.01, (edit, print_kernel(kernel))
    assert all(seen[str(("BK", step))] == 8 for step in ("double", "halve", "next")), seen


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


@pytest.mark.parametrize("step", ["double", "halve", "next"])
def test_block_in_quarters_may_have_any_size(step: str) -> None:
    kernel = kernel_of(CUT)
    changed_ = rewrite(kernel, Edit("set_tunable", (), ("B", step)))
    rng = np.random.default_rng(0)
    values = rng.standard_normal((23, 8), dtype=np.float32)
    inputs = {"x": values, "y": values, "t": np.zeros(1, np.int32)}
    for one in (kernel, changed_):
        found = execute_kernel(one, {"T": 23, "D": 8, "N": 1}, {"t": inputs["t"]}, {}, inputs)
        np.testing.assert_allclose(found.outputs["o"], values, rtol=0.01)


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
    rewrite(kernel_of(PARTS), Edit("set_tunable", (), ("B", "next")))
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
    rewrite(kernel_of(fresh), Edit("set_tunable", (), ("B", "double")))


BESIDE = changed(
    SUMS,
    (
        "p = sram(1, D, f32)",
        "p = sram(1, D, f32)\n    e = sram(1, D, f32)\n    b = sram(1, D, f32)",
    ),
    ("add(s, s, p)", "exp(e, p)\n        mul(b, s, e)\n        add(s, b, p)"),
)


def test_scaled_sum_may_stand_in_a_tile_of_its_own() -> None:
    for body in (BESIDE, changed(BESIDE, ("add(s, b, p)", "add(s, p, b)"))):
        rewrite(kernel_of(body), Edit("set_tunable", (), ("B", "double")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mul(b, s, e)", "mul(b, s, p)"),  # no power of e
        ("add(s, b, p)", "add(b, b, p)\n        add(s, b, p)"),
        ("mul(b, s, e)", "mul(b, s, e)\n        mul(b, b, e)"),
        ("add(s, b, p)", "add(s, b, s)"),
        ("add(s, b, p)", "add(s, s, p)\n        add(s, b, p)"),  # what was added is lost
    ],
)
def test_other_products_are_no_running_sum(old: str, new: str) -> None:
    with pytest.raises(EditError, match="s goes from block to block as no running result"):
        rewrite(kernel_of(changed(BESIDE, (old, new))), Edit("set_tunable", (), ("B", "double")))
