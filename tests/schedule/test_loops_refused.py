"""Edits of loops that would change what a kernel does, or that the language would refuse."""

from __future__ import annotations

import re
from functools import partial

import pytest

from m890sim.schedule import Edit, EditError, apply, legal_edits
from tests.schedule.editing import kernel_from

HEAD = """from m890sim.lang import *


@kernel
def example(
    x: Tensor["N", "D"],
    y: Tensor["N", "D"],
    w: Tensor["N", "H", 400],
    t: Table["P"],
    one: Table[1],
    s: Size,
    u: Size,
    K: Tunable = 4,
):
"""


kernel_of = partial(kernel_from, HEAD)


PACES = """
for i in cores(1):
    for a in range(4):
        for j in range(4):
            p = sram(2, 2, bf16)
            load(p, x[a : a + 2, j : j + 2])
            store(y[2 * j : 2 * j + 2, a : a + 1], p[:, 0:1])
            store(y[j : j + 1, 2 * a : 2 * a + 2], p[0:1])
"""
ITEMS = """
for i_2 in cores(ceil_div(s, 4)):
    for i in range(i_2 * 4, min(i_2 * 4 + 4, s)):
        p = sram(1, D, bf16)
        fill(p, 1.0)
        store(y[i : i + 1, :], p)
        store(y[2 * i : 2 * i + 1, :], p)
"""
NEST = """
for i in cores(2):
    for a in range(s):
        for b in range(ceil_div(4, s)):
            p = sram(1, 1, bf16)
            fill(p, 1.0)
            store(y[a : a + 1, b + i * 2 : b + i * 2 + 1], p)
"""
TABLES = NEST.replace("cores(2)", "cores(t[0])").replace("ceil_div(4, s)", "t[i + t[i]]")
LARGE = NEST.replace("ceil_div(4, s)", "u * u * u")  # with s = 0 nobody works it out
TURNS = """
for i in cores(2):
    a = sram(1, D, bf16)
    fill(a, 0.0)
    for j in range(s):
        if j < 8 // s:
            fill(a, 1.0)
        else:
            fill(a, 2.0)
    store(y[i, :], a)
"""
INSIDE = TURNS.replace("        if", "        n = t[j * 0 + s - 1]\n        if").replace(
    "8 // s", "n"
)
NESTED = """
for i in cores(2):
    a = sram(1, D, bf16)
    fill(a, 0.0)
    for j in range(3):
        if s > 0:
            if j < t[0]:
                fill(a, 1.0)
    store(y[i, :], a)
"""
TOGETHER = """
for i in cores(1):
    for a in range(4):
        for j in range(4):
            p = sram(2, 2, bf16)
            fill(p, 1.0)
            store(y[2 * j : 2 * j + 2, a : a + 1], p[:, 0:1])
            store(y[2 * j : 2 * j + 1, a : a + 1], p[0:1, 1:2])
"""
SURE = TURNS.replace("range(s)", "range(3)")
LONG = " + ".join(f"min({n + 1} * i, s + {n}) * t[{n}]" for n in range(30))
DEEP = "s"
for number in range(32):
    DEEP = f"max({DEEP}, {number})"
STEPS = """
for i in cores(N):
    a = sram(1, D, bf16)
    for j in range(0, s, 2147483648):
        load(a, x[i, :])
        store(y[i, :], a)
"""
DEEP_LOOP = STEPS.replace("0, s, 2147483648", DEEP)
DEEP_IF = DEEP_LOOP.replace(f"for j in range({DEEP})", f"if i < {DEEP[4:-5]}")
DEEP_ITEMS = STEPS.replace("cores(N)", f"cores({DEEP})")
ITEMS_LAST = STEPS.replace("cores(N)", "cores(N - 2147483648)")
DEEP_MASK = f"""
for i in cores(N):
    a = sram(4, 4, bf16)
    fill(a, 1.0)
    causal_mask(a, row=i, col={DEEP})
    store(y[i, :], a[0:1])
"""


def balanced(terms: list[str]) -> str:
    """A sum that is shallow as a text and deep once it is written term by term."""
    half = len(terms) // 2
    return terms[0] if not half else f"({balanced(terms[:half])} + {balanced(terms[half:])})"


WIDE = balanced([f"t[{n}]" for n in range(40)])
WIDE_MASK = f"""
for i in cores(N):
    a = sram(40, 400, bf16)
    fill(a, 1.0)
    limit_mask(a[:, 0:{WIDE}], limit=i)
    store(y[i, :], a[0:1, 0:D])
"""
TRANSFER = f"""
for i in cores(N):
    a = sram(400, 400, bf16)
    load(a[0 : 2 * {WIDE}], w[2 * i : 2 * i + 2, 0:{WIDE}, :])
    store(y[i, :], a[0:1, 0:D])
"""
TWICE = TRANSFER.replace(WIDE, "(2147483648 * u + 2147483648 * u)")
SUM = balanced([f"t[{n}]" for n in range(30)])
MANY = "".join(f"        if i < {SUM}:\n            fill(a, {n}.0)\n" for n in range(80))
NODES = f"""
for i in cores(N):
    a = sram(1, D, bf16)
    fill(a, 0.0)
    for j in range(s):
{MANY.rstrip()}
    store(y[i, :], a)
"""
# Two items whose loops end apart come to four copies of the body.
PART = "\n".join(MANY.splitlines()[:60])
ENDS = NODES.replace(MANY.rstrip(), PART).replace("range(s)", "range(i)")
DIVIDES = """
for i in cores(N):
    a = sram(1, D, bf16)
    fill(a, 0.0)
    for j in range(4):
        if j < 1:
            fill(a, 1.0)
        else:
            n = 8 // j
            if n > 3:
                fill(a, 2.0)
    store(y[i, :], a)
"""
DIVIDES_LAST = DIVIDES.replace("j < 1", "j > 2").replace("8 // j", "8 // (3 - j)")
ONE = """
for i in cores(N):
    a = sram(4, D, bf16)
    fill(a, 0.0)
    for j in range(s):
        n = one[j]
        if n > 3:
            fill(a, 1.0)
    store(y[i, :], a[0:1])
"""
LAST = """
for i in cores(N):
    a = sram(4, D, bf16)
    fill(a, 0.0)
    for j in range(5):
        if j < s:
            copy(a[0:1], a[j : j + 1])
    store(y[i, :], a[0:1])
"""
EXTENTS = ONE.replace("n = one[j]", "copy(a[0:1], a[1 : 2 + j])").replace("n >", "s >")
GROUP = EXTENTS.replace("copy(a[0:1], a[1 : 2 + j])", "causal_mask(a, row=0, col=0, group=1 - j)")
STEP = EXTENTS.replace("a[0:1], a[1 : 2 + j]", "a, a[0 : 4 : 1 - j]")
REFUSED = [
    (PACES, "interchange", (0, 0), None, "stores to `y` in different iterations over j are not"),
    (ITEMS, "finer_items", (0,), 0, "stores to `y` in different iterations over i are not"),
    (NEST, "interchange", (0, 0), None, "over b read a table, divide or are very large"),
    (LARGE, "interchange", (0, 0), None, "are very large, and the loop over a may not run"),
    (TABLES, "interchange", (0, 0), None, "over b read a table, divide or are very large"),
    (TURNS, "split_loop", (0, 2), 0, "is read from a table or divided, and the kernel may not"),
    (TURNS.replace("8 // s", "t[s - 1]"), "split_loop", (0, 2), 0, "is read from a table"),
    (INSIDE, "split_loop", (0, 2), 0, "is read from a table"),
    (NESTED, "split_loop", (0, 2), 1, "is read from a table"),
    (SURE.replace("if j", "if s > 0 and j"), "split_loop", (0, 2), 0, "is read from a table"),
    (INSIDE.replace("t[j * 0 + s - 1]", LONG), "split_loop", (0, 2), 0, "no value of j parts"),
    (DEEP_LOOP, "unroll", (0, 1), None, "operators would nest deeper than 24"),
    (DEEP_LOOP, "peel_first", (0, 1), None, "operators would nest deeper than 24"),
    (DEEP_LOOP, "peel_last", (0, 1), None, "operators would nest deeper than 24"),
    (DEEP_LOOP, "unroll_jam", (0,), 0, "operators would nest deeper than 24"),
    (DEEP_IF, "unroll_jam", (0,), 0, "operators would nest deeper than 24"),
    (DEEP_ITEMS, "unroll_jam", (0,), 0, "operators would nest deeper than 24"),
    (DEEP_MASK, "guard_mask", (0, 2), None, "operators would nest deeper than 24"),
    (WIDE_MASK, "guard_mask", (0, 2), None, "operators would nest deeper than 24"),
    (TRANSFER, "split_transfer", (0, 1), 1, "its bounds are too long already"),
    (TWICE, "split_transfer", (0, 1), 1, "the number 4294967296 would stand in the kernel"),
    (STEPS, "unroll", (0, 1), None, "the number 4294967296 would stand in the kernel"),
    (ITEMS_LAST, "unroll_jam", (0,), 0, "the number 2147483649 would stand in the kernel"),
    (DIVIDES, "split_loop", (0, 2), 0, "`8 // j` divides by zero, in an iteration that the loop"),
    (DIVIDES, "peel_first", (0, 2), None, "`8 // j` divides by zero, in an iteration that"),
    (DIVIDES_LAST, "peel_last", (0, 2), None, "`8 // (3 - j)` divides by zero, in an iteration"),
    (ONE, "unroll", (0, 2), None, "index j' + 1 of `one` is outside its 1 elements"),
    (ONE, "peel_first", (0, 2), None, "index j of `one` is outside its 1 elements"),
    (LAST, "peel_last", (0, 2), None, "the slice of the rows of `a` ends at 5, beyond 4"),
    (EXTENTS, "unroll", (0, 2), None, "has j' + 2 rows, `a[0:1]` has 1 rows, and copy needs"),
    (GROUP, "unroll", (0, 2), None, "`group` of causal_mask is -j', the least is 1"),
    (STEP, "unroll", (0, 2), None, "of `a` has the step -j', the least is 1, in an iteration"),
    (NODES, "unroll", (0, 2), None, "nodes of the IR, the most is 9000 for edits that copy"),
    (NODES, "peel_first", (0, 2), None, "nodes of the IR, the most is 9000 for edits that copy"),
    (NODES, "peel_last", (0, 2), None, "nodes of the IR, the most is 9000 for edits that copy"),
    (NODES, "split_loop", (0, 2), 0, "nodes of the IR, the most is 9000 for edits that copy"),
    (NODES, "unroll_jam", (0,), 0, "nodes of the IR, the most is 9000 for edits that copy"),
    (ENDS, "unroll_jam", (0,), 0, "nodes of the IR, the most is 9000 for edits that copy"),
]
ALLOWED = [
    (TOGETHER, "interchange", (0, 0), None),
    (ITEMS.replace("y[i : i + 1", "y[2 * i + 0 : 2 * i + 1"), "finer_items", (0,), 0),
    (NEST.replace("range(s)", "range(1, 4)"), "interchange", (0, 0), None),
    (NEST.replace("ceil_div(4, s)", "ceil_div(4, K)"), "interchange", (0, 0), None),
    (TABLES.replace("range(s)", "range(t[i])").replace("+ t[i]", ""), "interchange", (0, 0), None),
    (SURE, "split_loop", (0, 2), 0),
    (SURE.replace("8 // s", "t[s - 1]"), "split_loop", (0, 2), 0),
    (TURNS.replace("8 // s", "8 // K"), "split_loop", (0, 2), 0),
    (TURNS.replace("range(s)", "range(8 // s + 2)"), "split_loop", (0, 2), 0),
    (ENDS, "unroll", (0, 2), None),
    (ENDS.replace("range(i)", "range(s)"), "unroll_jam", (0,), 0),
]


@pytest.mark.parametrize(("body", "name", "site", "argument", "message"), REFUSED)
def test_refused(
    body: str, name: str, site: tuple[int, ...], argument: int | None, message: str
) -> None:
    kernel, edit = kernel_of(body), Edit(name, site, argument)
    with pytest.raises(EditError, match=re.escape(message)):
        apply(kernel, edit)
    assert edit not in legal_edits(kernel)


@pytest.mark.parametrize(("body", "name", "site", "argument"), ALLOWED)
def test_allowed(body: str, name: str, site: tuple[int, ...], argument: int | None) -> None:
    kernel, edit = kernel_of(body), Edit(name, site, argument)
    assert edit in legal_edits(kernel)
    assert apply(kernel, edit) != kernel
