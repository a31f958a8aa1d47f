"""Kernels that break a rule of stages, and how to read them past the checker."""

from __future__ import annotations

from textwrap import dedent, indent

from m890sim.kernel import ir
from m890sim.language import DEFAULT_LIMITS
from m890sim.language.reader import read_kernel
from m890sim.language.report import Report
from tests.execute.texts import HEAD

PARAMS = 'x: Tensor["T", 4, f32], y: Tensor["T", 4, f32]'

# Name -> (code, whether pipelining would change the result, body of the loop over j in range(T)).
# `c` and `d` are tiles outside the loop, full of ones; `h` is HBM scratch of T rows, full of ones.
BROKEN = {
    "carried_tile": (
        "E221",
        True,
        """
        with stage(0):
            add(c, c, 1.0)
        with stage(1):
            store(y[j : j + 1, :], c)
        """,
    ),
    "carried_tile_read_first": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            copy(t, c)
        with stage(1):
            add(c, c, t)
            store(y[j : j + 1, :], c)
        """,
    ),
    "carried_tile_three_stages_apart": (
        "E221",
        True,
        """
        with stage(0):
            load(c, x[j : j + 1, :])
        with stage(3):
            store(y[j : j + 1, :], c)
        """,
    ),
    "carried_accumulator": (
        "E221",
        True,
        """
        with stage(0):
            matmul(s, c, d.T, accumulate=True)
        with stage(1):
            copy(d[:, :1], s)
            store(y[j : j + 1, :1], d[:, :1])
        """,
    ),
    "carried_row_sum": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, x[j : j + 1, :])
            exp(t, t, row_sum=r)
        with stage(1):
            mul(t, t, r)
            store(y[j : j + 1, :], t)
        """,
    ),
    "carried_scale": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, x[j : j + 1, :])
            row_max(r, t)
        with stage(1):
            exp(t, t, scale=r)
            store(y[j : j + 1, :], t)
        """,
    ),
    "carried_under_if": (
        "E221",
        True,
        """
        with stage(0):
            if j % 2 == 0:
                load(c, x[j : j + 1, :])
        with stage(1):
            store(y[j : j + 1, :], c)
        """,
    ),
    "carried_in_inner_loop": (
        "E221",
        True,
        """
        with stage(0):
            load(c, x[j : j + 1, :])
        with stage(1):
            for n in range(2):
                add(c, c, d)
            store(y[j : j + 1, :], c)
        """,
    ),
    "carried_into_inner_stages": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, x[j : j + 1, :])
            for n in range(3):
                with stage(0):
                    add(t, t, 1.0)
                with stage(1):
                    mul(t, t, 2.0)
        with stage(1):
            store(y[j : j + 1, :], t)
        """,
    ),
    "tile_of_a_stage_in_inner_stages": (
        "E221",
        True,
        """
        with stage(0):
            t = sram(1, 4, f32, slots=4)
            load(t, x[j : j + 1, :])
            for n in range(3):
                with stage(0):
                    add(t, t, 1.0)
                with stage(1):
                    mul(t, t, 2.0)
            store(y[j : j + 1, :], t)
        """,
    ),
    "scratch": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, h[max(j - 1, 0) : max(j - 1, 0) + 1, :])
        with stage(1):
            add(t, t, 1.0)
            store(h[j : j + 1, :], t)
            store(y[j : j + 1, :], t)
        """,
    ),
    "scratch_apart": (  # refused, although these rows never meet: pieces are not compared
        "E221",
        False,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, h[j : j + 1, :])
            store(y[j : j + 1, :], t)
        with stage(1):
            store(h[j : j + 1, :], t)
        """,
    ),
    "output_stored_twice": (
        "E221",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, x[j : j + 1, :])
            store(y[j : j + 1, :], t)
        with stage(1):
            store(y[min(j + 1, T - 1) : min(j + 1, T - 1) + 1, :], t)
        """,
    ),
    "too_few_slots": (
        "E222",
        True,
        """
        t = sram(1, 4, f32)
        with stage(0):
            load(t, x[j : j + 1, :])
        with stage(1):
            store(y[j : j + 1, :], t)
        """,
    ),
    "too_few_slots_for_three_stages": (
        "E222",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(0):
            load(t, x[j : j + 1, :])
        with stage(1):
            add(t, t, d)
        with stage(2):
            store(y[j : j + 1, :], t)
        """,
    ),
    "too_few_slots_over_a_gap": (
        "E222",
        True,
        """
        t = sram(1, 4, f32, slots=3)
        with stage(1):
            load(t, x[j : j + 1, :])
        with stage(4):
            store(y[j : j + 1, :], t)
        """,
    ),
    "too_few_slots_only_written": (
        "E222",
        False,
        """
        t = sram(1, 4, f32)
        with stage(0):
            fill(t, 0.0)
        with stage(1):
            load(t, x[j : j + 1, :])
            store(y[j : j + 1, :], t)
        """,
    ),
    "too_few_slots_in_inner_loop": (
        "E222",
        True,
        """
        t = sram(1, 4, f32)
        with stage(0):
            load(t, x[j : j + 1, :])
        with stage(1):
            for n in range(2):
                add(t, t, d)
            if j >= 0:
                store(y[j : j + 1, :], t)
        """,
    ),
    "falling_stages": (
        "E220",
        False,
        """
        with stage(1):
            add(c, c, c)
            store(y[j : j + 1, :], c)
        with stage(0):
            fence()
        """,
    ),
    "falling_stages_that_meet": (
        "E220",
        True,
        """
        t = sram(1, 4, f32, slots=2)
        with stage(1):
            load(t, x[j : j + 1, :])
        with stage(0):
            store(y[j : j + 1, :], t)
        """,
    ),
    "repeated_stage": (
        "E220",
        False,
        """
        with stage(0):
            load(c, x[j : j + 1, :])
        with stage(0):
            store(y[j : j + 1, :], c)
        """,
    ),
    "instruction_beside_stages": (
        "E220",
        True,
        """
        load(c, x[j : j + 1, :])
        with stage(0):
            store(y[j : j + 1, :], c)
        """,
    ),
    "loop_beside_stages": (
        "E220",
        True,
        """
        for n in range(2):
            add(c, c, d)
        with stage(0):
            store(y[j : j + 1, :], c)
        """,
    ),
}


def unchecked(body: str) -> tuple[str, ir.Kernel]:
    """Text and kernel with that loop over j, whatever the checker says of it."""
    text = HEAD + f"def f({PARAMS}):\n" + indent(dedent(OUTSIDE).strip(), "    ") + "\n"
    text += indent(dedent(body).strip("\n"), " " * 12)
    kernel = read_kernel(text, Report("f.py"), DEFAULT_LIMITS)
    assert kernel is not None
    return text, kernel


OUTSIDE = """
    h = hbm(T, 4, f32)
    for i in cores(1):
        ones = sram(T, 4, f32)
        fill(ones, 1.0)
        store(h, ones)
    for i in cores(1):
        c = sram(1, 4, f32)
        d = sram(1, 4, f32)
        r = sram(1, 1, f32)
        s = acc(1, 1)
        fill(c, 1.0)
        fill(d, 1.0)
        fill(r, 1.0)
        fill(s, 0.0)
        for j in range(T):
"""
