"""Edits of one attribute, of fences, and those that drop what nothing needs."""

from __future__ import annotations

import pytest

from m890sim.schedule import EDITS, Context, Edit, EditError, rewrite
from tests.schedule.attribute_texts import body_of, edited, kernel_of, refusal, site_of

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
        ("set_slots", "b = ", 5, "set_slots takes one of 1, 2, 3, 4, not 5"),
        ("set_slots", "b = ", "2", "one of 1, 2, 3, 4, not '2'"),
        ("set_slots", "load", 2, "set_slots acts on a tile (`name = sram(...)`"),
        ("set_queue", "load", 4, "the queue is 4, it must lie from 0 to 3"),
        ("set_queue", "exp2", 1, "acts on load or store, not on exp2"),
        ("set_queue", "load", 0, "changes nothing"),
        ("set_bank", "s = ", 1, "s lies in ACC, where all tiles are f32 and none has a bank"),
        ("set_bank", "b = ", 16, "the bank is 16, it must lie from 0 to 15"),
        ("set_order", "load", "snake", "set_order acts on a phase"),
        ("set_order", "for", "random", "one of block, cyclic, snake, dynamic, not 'random'"),
        ("set_engine", "b = ", "sfu", "set_engine acts on exp2, not on a tile"),
        ("set_engine", "exp2", "matrix", "set_engine takes one of sfu, vector, not 'matrix'"),
        ("set_engine", "load", "dma", "set_engine acts on exp2, not on load"),
        ("set_dtype", "s = ", "bf16", "s lies in ACC, where all tiles are f32"),
        ("set_dtype", "b = ", "f16", "f16 does not reach as far as bf16 of b"),
        ("set_dtype", "b = ", "f8e4m3", "the dtype 'f8e4m3' is not allowed"),
        ("set_dtype", "b = ", "f32", "store needs b in the dtype of o, which is bf16"),
    ],
)
def test_attribute_is_refused(name: str, place: str, argument: object, message: str) -> None:
    assert message in refusal(TILES, name, place, argument)


@pytest.mark.parametrize(
    ("literal", "fits"), [("-3.4e38", False), ("-3.38e38", True), ("-inf", True)]
)
def test_dtype_holds_the_literals_that_a_tile_meets(literal: str, fits: bool) -> None:
    body = TILES.replace("    s = acc", "    c = sram(1, 1, f32)\n    s = acc")
    body = body.replace("    copy(s, b)", f"    fill(c, {literal})\n    copy(s, b)")
    if fits:
        assert "c = sram(1, 1, bf16)" in edited(body, "set_dtype", "c = ", "bf16")
    else:
        message = "a literal beside c is infinite in bf16"
        assert message in refusal(body, "set_dtype", "c = ", "bf16")


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
        (FENCED, "remove_fence", "load", "remove_fence acts on fence, not on load"),
        (FENCED, "add_fence", "for", "not on a phase"),
        (FENCED, "add_fence", "load", "there is a fence here already"),
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

WIDER = COPY.replace("b = sram(1", "b = sram(2").replace("b, a)", "b[:1], a[:1])")
WIDER = WIDER.replace("c, b)", "c, b[:1])")


def test_unused_tile_is_dropped() -> None:
    body = FENCED.replace("    load", "    b = sram(1, D, bf16)\n    load")
    assert edited(body, "drop_tile", "b = ") == body_of(kernel_of(FENCED))
    assert "a is used" in refusal(body, "drop_tile", "a = ")
    assert "drop_tile acts on HBM scratch" in refusal(body, "drop_tile", "load")


def test_copy_is_dropped() -> None:
    lines = edited(COPY, "drop_copy", "copy(b, a)")
    assert "copy(b, a)" not in lines
    assert "add(c, c, a)" in lines


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        (COPY, "load", "drop_copy acts on copy, not on load"),
        (COPY, "copy(c, a)", "c is f32 and a bf16"),
        (COPIED, "copy(b, a)", "`b` or `a` is written again before its last use"),
        (
            COPY.replace("add(c, c, b)", "load(a, y[i, :])\n        add(c, c, b)"),
            "copy(b, a)",
            "`b` or `a` is written again before its last use",
        ),
        (WIDER, "copy(b", "different extents"),
        (COPY.replace("copy(b, a)", "copy(b[:1], a)"), "copy(b", "not the same piece"),
    ],
)
def test_copy_is_refused(body: str, place: str, message: str) -> None:
    assert message in refusal(body, "drop_copy", place)


GATHERED = """
for i in cores(T):
    a = sram(4, D, bf16)
    b = sram(4, D, bf16)
    for r in range(4):
        load(a, x[i : i + 4, :])
        copy(b[r : r + 1], a[r : r + 1])
        if r == 3:
            store(o[i : i + 4, :], b)
"""


def test_copy_that_gathers_over_a_loop_stays() -> None:
    message = refusal(GATHERED, "drop_copy", "copy")
    assert "another piece of `b` is read here" in message
    own = GATHERED.replace("o[i : i + 4, :], b)", "o[i : i + 1, :], b[r : r + 1])")
    assert "store(o[i : i + 1, :], a[r : r + 1])" in edited(own, "drop_copy", "copy")


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
        ("store", "not on store"),
        ("for", "an instruction but fence and store, not on a phase"),
    ],
)
def test_live_instruction_is_refused(place: str, message: str) -> None:
    assert message in refusal(DEAD, "drop_dead", place)


def test_what_the_next_pass_of_a_loop_reads_is_not_dead() -> None:
    body = DEAD.replace("copy(b, a)\n", "add(a, a, b)\n").replace(
        "fill(a,", "fill(b, 0.0)\n    fill(a,"
    )
    assert "b is read before it is written again" in refusal(body, "drop_dead", "mul")
