"""Warnings of the text: what is in vain is told, what is not is left alone."""

from __future__ import annotations

import pytest

from m890sim.chip import get_chip
from m890sim.kernel import print_kernel
from m890sim.language import find_warnings, parse
from m890sim.timing import simulate_program
from m890sim.workloads import KERNELS, load_kernel

HEAD = """from m890sim.lang import *


@kernel
def k(x: Tensor["T", 64], o: Tensor["T", 64], B: Tunable = 64):
"""
ONE = "    for i in cores(1):\n"
MANY = "    for i in cores(ceil_div(T, B)):\n"
LOOP = """        for j in range(0, T, B):
            rows = min(B, T - j)
            {declared}load(a[:rows], x[j : j + rows, :])
            store(o[j : j + rows, :], a[:rows], queue=1)
"""
ITEM = """        rows = min(B, T - i * B)
        load(a[:rows], x[i * B : i * B + rows, :])
        store(o[i * B : i * B + rows, :], a[:rows], queue=1)
"""
TILE = "a = sram(B, 64, bf16, slots=2)\n"


def told(body: str) -> list[str]:
    """line, code and message of every warning."""
    found = find_warnings(parse(HEAD + body))
    return [f"{one.line} {one.code} {one.message}" for one in found]


def test_slots_of_a_declaration_that_is_passed_once() -> None:
    body = f"{ONE}        {TILE}        load(a, x[:B, :])\n        store(o[:B, :], a)\n"
    assert told(body) == [
        "7 W101 slots=2 of `a` does nothing: its declaration is passed once; "
        "declare it inside a loop, or leave slots= out"
    ]


def test_slots_of_a_declaration_outside_the_loop_that_fills_it() -> None:
    for head in (MANY,):
        assert told(head + f"        {TILE}" + LOOP.format(declared="")) == [
            "7 W101 slots=2 of `a` does not let passes of the loop in line 8 overlap: the next "
            "slot comes with its declaration, which stands outside; declare it inside the loop"
        ]


def test_the_advice_lets_the_passes_overlap() -> None:
    outside = parse(HEAD + ONE + f"        {TILE}" + LOOP.format(declared=""))
    inside = parse(HEAD + ONE + LOOP.format(declared=f"{TILE}            "))
    assert find_warnings(inside) == []
    chip = get_chip("m890")
    slow, fast = (
        simulate_program(kernel, chip, {"T": 1024}, {}).cycles for kernel in (outside, inside)
    )
    assert fast < 0.7 * slow


@pytest.mark.parametrize("body", [MANY + f"        {TILE}" + ITEM])
def test_slots_between_work_items_are_no_warning(body: str) -> None:
    assert told(body) == []


def test_tile_that_nothing_reads() -> None:
    body = f"{MANY}        {TILE}        c = acc(B, 64)\n{ITEM}        copy(c, a)\n"
    assert told(body) == [
        "8 W102 nothing reads the tile `c`: what writes it costs cycles in vain; delete both"
    ]


def test_tile_that_only_masks_read_is_in_vain() -> None:
    body = f"{MANY}        {TILE}        c = acc(B, 64)\n{ITEM}        copy(c, a)\n"
    assert told(body + "        limit_mask(c, limit=T)\n")[0].startswith("8 W102 nothing reads")


def test_tile_that_nothing_uses() -> None:
    assert told(f"{MANY}        {TILE}        c = acc(B, 64)\n{ITEM}") == [
        "8 W102 nothing uses the tile `c`: it only takes memory"
    ]


def test_tile_of_a_name_that_another_block_uses_too() -> None:
    """Blocks side by side may use the same name for different tiles."""
    body = f"{MANY}        {TILE}{ITEM}    for i in cores(1):\n        a = sram(B, 64, bf16)\n"
    assert told(body + "        fill(a, 0.0)\n") == [
        "12 W102 nothing reads the tile `a`: what writes it costs cycles in vain; delete both"
    ]


def test_names_that_nothing_uses() -> None:
    body = f"{MANY}        {TILE}{ITEM}        n = i + 1\n"
    assert told("    m = T + 1\n" + body.replace("B", "64")) == [
        "5 W103 nothing uses `B`: changing it changes nothing; delete it",
        "6 W103 nothing uses the name `m`; delete the line",
        "12 W103 nothing uses the name `n`, and costs cycles each time; delete the line",
    ]


def test_loop_with_one_stage() -> None:
    staged = """        for j in range(0, T, B):
            a = sram(B, 64, bf16, slots=2)
            with stage(0):
                rows = min(B, T - j)
                load(a[:rows], x[j : j + rows, :])
                store(o[j : j + rows, :], a[:rows], queue=1)
"""
    assert told(ONE + staged) == [
        "9 W104 the loop has one stage, which overlaps with no other; "
        "give it a second, or leave `with` out"
    ]
    chip = get_chip("m890")
    plain = staged.replace("            with stage(0):\n", "").replace(
        "                ", "            "
    )
    cycles = {
        simulate_program(parse(HEAD + ONE + text), chip, {"T": 640}, {}).cycles
        for text in (staged, plain)
    }
    assert len(cycles) == 1


@pytest.mark.parametrize("name", KERNELS)
def test_built_in_kernels_have_no_warning(name: str) -> None:
    kernel = load_kernel(name)
    assert find_warnings(kernel) == []
    assert find_warnings(parse(print_kernel(kernel))) == []
