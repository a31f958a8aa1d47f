"""Edits of attributes, tunables and fences, and those that drop what nothing needs."""

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
from m890sim.schedule import EDITS, Context, Edit, EditError, rewrite
from m890sim.schedule.attributes import ROWS
from m890sim.schedule.tree import sites
from m890sim.workloads import Case
from tests.generators import Program, random_inputs, random_program

HEAD = """from m890sim.lang import *


@kernel
def f(
    x: Tensor["T", "D"],
    y: Tensor["T", "D"],
    o: Tensor["T", "D"],
    t: Table["N"],
    B: Tunable = 4,
    W: Tunable = 2,
):
"""
BLOCKS = """
for i in cores(ceil_div(T, B)):
    rows = min(B, T - i * B)
    a = sram(B, D, bf16)
    load(a[:rows], x[i * B : i * B + rows, :])
    store(o[i * B : i * B + rows, :], a[:rows])
"""
SUMS = """
for i in cores(T):
    a = sram(B, D, bf16)
    s = sram(1, D, f32)
    p = sram(1, D, f32)
    r = sram(1, D, bf16)
    fill(s, 0.0)
    for j in range(0, i + 1, B):
        n = min(B, i + 1 - j)
        load(a[:n], x[j : j + n, :])
        col_sum(p, a[:n])
        add(s, s, p)
    copy(r, s)
    store(o[i, :], r)
"""


def kernel_of(body: str) -> ir.Kernel:
    return parse(HEAD + "".join(f"    {line}\n" if line else "\n" for line in body.split("\n")))


def body_of(kernel: ir.Kernel) -> list[str]:
    lines = print_kernel(kernel).splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip() == "):")
    return [line.strip() for line in lines[start + 1 :] if line.strip()]


def site_of(kernel: ir.Kernel, text: str) -> tuple[int, ...]:
    """The first statement whose line starts with a text."""
    names = [line for line in body_of(kernel) if not line.startswith("else")]
    index = next(n for n, line in enumerate(names) if line.startswith(text))
    return list(sites(kernel))[index][0]


def edited(body: str, name: str, text: str, argument: object = None) -> list[str]:
    kernel = kernel_of(body)
    return body_of(rewrite(kernel, Edit(name, site_of(kernel, text), argument)))


def refusal(body: str, name: str, text: str, argument: object = None) -> str:
    kernel = kernel_of(body)
    with pytest.raises(EditError) as caught:
        rewrite(kernel, Edit(name, site_of(kernel, text), argument))
    return str(caught.value)


# ---- one attribute ----

TILES = """
for i in cores(T):
    a = sram(1, D, bf16, at=3)
    b = sram(1, D, bf16)
    s = acc(1, D)
    load(a, x[i, :])
    exp2(b, a)
    copy(s, b)
    copy(b, s)
    store(o[i, :], b)
"""
STAGED = """
for i in cores(T):
    for j in range(0, 4):
        a = sram(1, D, bf16, slots=2)
        with stage(0):
            load(a, x[j, :])
        with stage(1):
            store(o[i, :], a)
"""


@pytest.mark.parametrize(
    ("name", "place", "argument", "line"),
    [
        ("set_slots", "b = ", 3, "b = sram(1, D, bf16, slots=3)"),
        ("set_slots", "s = ", 2, "s = acc(1, D, slots=2)"),
        ("set_queue", "load", 2, "load(a, x[i, :], queue=2)"),
        ("set_queue", "store", 1, "store(o[i, :], b, queue=1)"),
        ("set_bank", "b = ", 15, "b = sram(1, D, bf16, at=15)"),
        ("set_bank", "a = ", "anywhere", "a = sram(1, D, bf16)"),
        ("set_order", "for", "snake", 'for i in cores(T, order="snake"):'),
        ("set_engine", "exp2", "vector", "exp2(b, a, engine=vector)"),
    ],
)
def test_attribute_is_set(name: str, place: str, argument: object, line: str) -> None:
    before = body_of(kernel_of(TILES))
    after = edited(TILES, name, place, argument)
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [line]


def test_dtype_is_set() -> None:
    body = TILES.replace("b = sram(1, D, bf16)", "b = sram(1, D, bf16)\n    c = sram(1, 1, f32)")
    body = body.replace("    copy(s, b)", "    row_max(c, b)\n    copy(s, b)")
    assert "c = sram(1, 1, bf16)" in edited(body, "set_dtype", "c = ", "bf16")


@pytest.mark.parametrize(
    ("name", "place", "argument", "message"),
    [
        ("set_slots", "b = ", 5, "the slots of b is 5, it must lie from 1 to 4"),
        ("set_slots", "b = ", True, "must be an integer, not True"),
        ("set_slots", "load", 2, "this statement declares no tile"),
        ("set_queue", "load", 4, "the queue is 4, it must lie from 0 to 3"),
        ("set_queue", "exp2", 1, "only load and store have a queue"),
        ("set_queue", "load", 0, "changes nothing"),
        ("set_bank", "s = ", 1, "s lies in ACC, only tiles in SRAM have a bank"),
        ("set_bank", "b = ", 16, "the bank of b is 16"),
        ("set_order", "load", "snake", "only a phase has an order of work"),
        ("set_order", "for", "random", "'random' is no order of work"),
        ("set_engine", "b = ", "sfu", "only an instruction runs on an engine"),
        ("set_engine", "exp2", "matrix", "exp2 cannot run on 'matrix'"),
        ("set_engine", "load", "dma", "load runs on dma only"),
        ("set_dtype", "s = ", "bf16", "s lies in ACC, which holds f32 only"),
        ("set_dtype", "b = ", "f16", "f16 does not reach as far as bf16 of b"),
        ("set_dtype", "b = ", "f8e4m3", "the dtype 'f8e4m3' is not allowed"),
        ("set_dtype", "b = ", "f32", "store needs b in the dtype of o, which is bf16"),
    ],
)
def test_attribute_is_refused(name: str, place: str, argument: object, message: str) -> None:
    assert message in refusal(TILES, name, place, argument)


def test_slots_that_stages_need_are_kept() -> None:
    message = "a is used across 2 stages, so it needs 2 slots"
    assert message in refusal(STAGED, "set_slots", "a = ", 1)
    assert "a = sram(1, D, bf16, slots=3)" in edited(STAGED, "set_slots", "a = ", 3)


def test_queues_and_banks_are_those_of_the_chip() -> None:
    kernel = kernel_of(TILES)
    small = Context(queues=1, banks=2)
    with pytest.raises(EditError, match="from 0 to 0"):
        rewrite(kernel, Edit("set_queue", site_of(kernel, "load"), 1), small)
    banks = EDITS["set_bank"].arguments(kernel, (), kernel.phases[0].body[0], small)
    assert list(banks) == [0, 1, "anywhere"]


# ---- fences ----

FENCED = """
for i in cores(T):
    a = sram(1, D, bf16)
    load(a, x[i, :])
    fence()
    store(o[i, :], a)
"""


def test_fence_is_removed_and_added() -> None:
    without = [line for line in body_of(kernel_of(FENCED)) if line != "fence()"]
    assert edited(FENCED, "remove_fence", "fence") == without
    assert edited(FENCED, "add_fence", "store")[-2:] == ["store(o[i, :], a)", "fence()"]


@pytest.mark.parametrize(
    ("body", "name", "place", "message"),
    [
        (FENCED, "remove_fence", "load", "this statement is no fence"),
        (FENCED, "add_fence", "for", "a fence stands inside a phase only"),
        (FENCED, "add_fence", "load", "there is a fence here already"),
        (STAGED, "add_fence", "a = ", "no fence may stand beside stages"),
    ],
)
def test_fence_is_refused(body: str, name: str, place: str, message: str) -> None:
    assert message in refusal(body, name, place)


# ---- dropping ----

COPIED = """
for i in cores(T):
    a = sram(1, D, bf16)
    b = sram(1, D, bf16)
    c = sram(1, D, f32)
    load(a, x[i, :])
    copy(b, a)
    copy(c, a)
    for j in range(0, 2):
        add(c, c, b)
    copy(b, c)
    store(o[i, :], b)
"""
COPY = COPIED.replace("copy(b, c)\n    store(o[i, :], b)", "copy(a, c)\n    store(o[i, :], a)")


def test_unused_tile_is_dropped() -> None:
    body = FENCED.replace("    load", "    b = sram(1, D, bf16)\n    load")
    assert edited(body, "drop_tile", "b = ") == body_of(kernel_of(FENCED))
    assert "a is used" in refusal(body, "drop_tile", "a = ")
    assert "neither a tile nor HBM scratch" in refusal(body, "drop_tile", "load")


def test_copy_is_dropped() -> None:
    lines = edited(COPY, "drop_copy", "copy(b, a)")
    assert "copy(b, a)" not in lines
    assert "add(c, c, a)" in lines


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        (COPY, "load", "this statement is no copy"),
        (COPY, "copy(c, a)", "c is f32 and a bf16"),
        (COPIED, "copy(b, a)", "b is also written, or read outside the block behind the copy"),
        (
            COPY.replace("add(c, c, b)", "load(a, y[i, :])\n        add(c, c, b)"),
            "copy(b, a)",
            "a is written while b is still read",
        ),
        (COPY.replace("b = sram(1", "b = sram(2").replace("copy(b, a)", "copy(b[:1], a[:1])").replace(
            "c, b)", "c, b[:1])"), "copy(b", "different extents"),
        (COPY.replace("copy(b, a)", "copy(b[:1], a)"), "copy(b", "not the same piece"),
    ],
)  # fmt: skip
def test_copy_is_refused(body: str, place: str, message: str) -> None:
    assert message in refusal(body, "drop_copy", place)


def test_copy_into_a_memory_that_a_use_cannot_read_is_refused() -> None:
    body = """
for i in cores(T):
    a = sram(1, D, bf16)
    p = sram(1, D, f32)
    s = acc(1, D)
    e = acc(1, 1)
    load(a, x[i, :])
    copy(s, a)
    copy(p, s)
    matmul(e, p, p.T)
    add(a, a, e)
    store(o[i, :], a)
"""
    assert "matmul takes no tile in ACC, where s lies" in refusal(body, "drop_copy", "copy(p, s)")


DEAD = """
for i in cores(T):
    a = sram(1, D, bf16)
    b = sram(1, D, bf16)
    fill(a, 0.0)
    load(a, x[i, :])
    for j in range(0, 2):
        add(a, a, 1.0)
        copy(b, a)
        mul(b, b, 2.0)
    store(o[i, :], a)
"""


def test_dead_instructions_are_dropped() -> None:
    assert "fill(a, 0.0)" not in edited(DEAD, "drop_dead", "fill")
    assert "mul(b, b, 2.0)" not in edited(DEAD, "drop_dead", "mul")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("load", "a is read afterwards"),
        ("add", "a is read afterwards"),
        ("copy(b", "b is read afterwards"),
        ("store", "a store's result leaves the kernel's tiles"),
        ("for", "this statement is no instruction that writes a tile"),
    ],
)
def test_live_instruction_is_refused(place: str, message: str) -> None:
    assert message in refusal(DEAD, "drop_dead", place)


def test_what_the_next_pass_of_a_loop_reads_is_not_dead() -> None:
    body = DEAD.replace("copy(b, a)\n", "add(a, a, b)\n").replace(
        "fill(a,", "fill(b, 0.0)\n    fill(a,"
    )
    assert "b is read before it is written again" in refusal(body, "drop_dead", "mul")


# ---- tunables ----


@pytest.mark.parametrize(("step", "value"), [("double", 8), ("halve", 2), ("next", 6)])
@pytest.mark.parametrize("body", [BLOCKS, SUMS])
def test_tunable_is_changed(body: str, step: str, value: int) -> None:
    kernel = kernel_of(body)
    changed = rewrite(kernel, Edit("set_tunable", (), ("B", step)))
    assert changed.tunables == {"B": value, "W": 2}
    assert body_of(changed) == body_of(kernel)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BLOCKS.replace("B, D, bf16", "B, D, bf16, slots=B"), "it stands in slots= or at="),
        (BLOCKS.replace("rows, :], a", "rows, :], a").replace("x[i * B : i * B + rows", "x[i * B : i * B + rows"), ""),
        (BLOCKS.replace("rows = min(B, T - i * B)", "rows = B"), "a piece of x is not cut off"),
        (BLOCKS.replace("T - i * B)", "T - W - i * B)"), "belongs to no loop, phase or `if`"),
        (BLOCKS.replace("a = sram(B,", "a = sram(4,"), "not certain to stay within its tile"),
        (BLOCKS.replace("    store", "    if i % 2 == 0:\n        fill(a, 0.0)\n    store").replace("i % 2", "i * B % 3"), "neither a position nor an extent"),
        (BLOCKS.replace("    store", "    s = sram(1, D, f32)\n    col_sum(s, a[:rows])\n    store"), "runs over the block of a work item"),
        (BLOCKS.replace("o[i * B : i * B + rows, :], a[:rows]", "o[0, :], a[:1]"), "a store does not follow i"),
        (BLOCKS.replace("cores(ceil_div(T, B))", "cores(B)"), "the extent of i is no ceil_div"),
        (SUMS.replace("add(s, s, p)", "add(s, s, 1.0)"), "s goes from block to block as no running"),
        (SUMS.replace("add(s, s, p)", "mul(s, s, p)"), "s goes from block to block as no running"),
        (SUMS.replace("        add", "        store(o[j : j + n, :], a[:n])\n        add"), "a loop that reduces over its blocks stores"),
        (SUMS.replace("a[:n])\n        add", "a)\n        add"), "runs over a whole block"),
    ],
)  # fmt: skip
def test_tunable_that_is_no_block_size_is_refused(body: str, message: str) -> None:
    if not message:
        return
    kernel = kernel_of(body)
    with pytest.raises(EditError) as caught:
        rewrite(kernel, Edit("set_tunable", (), ("B", "double")))
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
    for value, step in ((1, "halve"), (3, "halve"), (4096, "double"), (4096, "next"), (0, "next")):
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


SEEDS = range(60)


def test_edits_of_generated_kernels_keep_the_meaning() -> None:
    rng = random.Random(0)
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        program = program_of(seed)
        expected = run(program, program.kernel)
        found = legal(program.kernel, own_candidates(program.kernel))
        rare = [p for p in found if p[0].name.startswith(("drop", "set_tunable"))]
        for edit, kernel in rare + rng.sample(found, min(6, len(found))):
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


EXTEND = Case("tiny", "extend", (5, 0), (23, 9), 2, 1, 16, 4, True)
DECODE = Case("tiny", "decode", (37, 9), (1, 1), 2, 1, 16, 4, True)
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
    for edit, changed in rng.sample(rare, min(16, len(rare))) + rng.sample(found, 12):
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
