"""Moving statements: before and after."""

from __future__ import annotations

from textwrap import dedent

import pytest

from m890sim.kernel import ir
from m890sim.schedule.edit import DEFAULT_CONTEXT
from tests.schedule.motion_cases import PAIR, SPECS, SUM, body_of, edited, kernel_of

# edit, statement, argument, body before, body after
SHOWN = {
    "up": (
        "move_up",
        "load(a",
        None,
        PAIR,
        """
        a = sram(8, 8, bf16)
        b = sram(8, 8, bf16)
        fill(b, 0.0)
        load(a, x[i, :, :])
        fence()
        add(a, a, b)
        store(y[i, :, :], a)
        """,
    ),
    "down": (
        "move_down",
        "fill(b",
        None,
        PAIR,
        """
        a = sram(8, 8, bf16)
        b = sram(8, 8, bf16)
        fence()
        fill(b, 0.0)
        load(a, x[i, :, :])
        add(a, a, b)
        store(y[i, :, :], a)
        """,
    ),
    "up_far": (
        "move_up_far",
        "load(a",
        None,
        PAIR,
        """
        a = sram(8, 8, bf16)
        load(a, x[i, :, :])
        b = sram(8, 8, bf16)
        fill(b, 0.0)
        fence()
        add(a, a, b)
        store(y[i, :, :], a)
        """,
    ),
    "down_far": (
        "move_down_far",
        "fill(b",
        None,
        PAIR,
        """
        a = sram(8, 8, bf16)
        b = sram(8, 8, bf16)
        fence()
        load(a, x[i, :, :])
        fill(b, 0.0)
        add(a, a, b)
        store(y[i, :, :], a)
        """,
    ),
    "hoist_instruction_behind_a_condition": (
        "hoist",
        "load(a",
        None,
        """
        a = sram(8, 8, bf16)
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            load(a, x[i, :, :])
            add(s, s, a)
        """,
        """
        a = sram(8, 8, bf16)
        s = acc(8, 8)
        fill(s, 0.0)
        if 0 < N:
            load(a, x[i, :, :])
        for j in range(N):
            add(s, s, a)
        """,
    ),
    "hoist_instruction_of_a_certain_loop": (
        "hoist",
        "load(a",
        None,
        """
        a = sram(8, 8, bf16)
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(K):
            with stage(0):
                load(a, x[i, :, :])
                add(s, s, a)
        """,
        """
        a = sram(8, 8, bf16)
        s = acc(8, 8)
        fill(s, 0.0)
        load(a, x[i, :, :])
        for j in range(K):
            with stage(0):
                add(s, s, a)
        """,
    ),
    "hoist_tile": (
        "hoist",
        "a = sram",
        None,
        SUM,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        a = sram(8, 8, bf16)
        for j in range(N):
            load(a, x[j, :, :])
            add(s, s, a)
        b = sram(8, 8, bf16)
        copy(b, s)
        store(y[i, :, :], b)
        """,
    ),
    "hoist_assignment_out_of_a_branch": (
        "hoist",
        "n = ",
        None,
        """
        a = sram(8, 8, bf16)
        if i > 2:
            n = min(4, N - i)
            fill(a[:n], 0.0)
        """,
        """
        a = sram(8, 8, bf16)
        n = min(4, N - i)
        if i > 2:
            fill(a[:n], 0.0)
        """,
    ),
    "sink_assignment": (
        "sink",
        "n = ",
        None,
        """
        a = sram(8, 8, bf16)
        n = r[i]
        fill(a, 0.0)
        if i > 2:
            fill(a, 1.0)
        else:
            fill(a[:n], 2.0)
        """,
        """
        a = sram(8, 8, bf16)
        fill(a, 0.0)
        if i > 2:
            fill(a, 1.0)
        else:
            n = r[i]
            fill(a[:n], 2.0)
        """,
    ),
    "sink_tile_into_both_loops": (
        "sink",
        "a = sram",
        None,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        a = sram(8, 8, bf16)  # a block
        for j in range(N):
            n = min(8, j)
            load(a[: n // 2], x[j, : n // 2, :])
            load(a[n // 2 : n], x[j, n // 2 : n, :])
            add(s[:n], s[:n], a[:n])
        for j in range(N):
            load(a, x[j, :, :])
            add(s, s, a)
        """,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            a = sram(8, 8, bf16)  # a block
            n = min(8, j)
            load(a[: n // 2], x[j, : n // 2, :])
            load(a[n // 2 : n], x[j, n // 2 : n, :])
            add(s[:n], s[:n], a[:n])
        for j in range(N):
            a = sram(8, 8, bf16)
            load(a, x[j, :, :])
            add(s, s, a)
        """,
    ),
    "sink_instruction": (
        "sink",
        "load(a",
        None,
        """
        a = sram(8, 8, bf16)
        load(a, x[i, :, :])
        if i > 2:
            store(y[i, :, :], a)
        """,
        """
        a = sram(8, 8, bf16)
        if i > 2:
            load(a, x[i, :, :])
            store(y[i, :, :], a)
        """,
    ),
    "split_load": (
        "split_transfer",
        "load",
        1,
        """
        a = sram(8, 8, bf16)
        n = min(8, N)
        load(a[:n], x[i, :n, :])
        """,
        """
        a = sram(8, 8, bf16)
        n = min(8, N)
        load(a[: n // 2], x[i, : n // 2, :])
        load(a[n // 2 : n], x[i, n // 2 : n, :], queue=1)
        """,
    ),
    "split_gather_of_several_dimensions": (
        "split_transfer",
        "load",
        0,
        """
        a = sram(64, 8, bf16)
        load(a[8 : 8 + i * 8], w[t[i : i + i], :, :, :], queue=2)
        """,
        """
        a = sram(64, 8, bf16)
        load(a[8 : 8 + i // 2 * 8], w[t[i : i + i // 2], :, :, :], queue=2)
        load(a[8 + i // 2 * 8 : 8 + i * 8], w[t[i + i // 2 : i + i], :, :, :])
        """,
    ),
    "split_store_of_a_whole_tile": (
        "split_transfer",
        "store",
        3,
        """
        a = sram(8, 8, bf16)
        fill(a, 0.0)
        store(y[i, :, :], a)
        """,
        """
        a = sram(8, 8, bf16)
        fill(a, 0.0)
        store(y[i, :4, :], a[:4])
        store(y[i, 4:, :], a[4:], queue=3)
        """,
    ),
    "coalesce": (
        "coalesce",
        "load",
        None,
        """
        a = sram(8, 8, bf16)
        n = min(8, N)
        load(a[: n // 2], x[i, : n // 2, :], queue=2)  # one half
        # the other
        load(a[n // 2 : n], x[i, n // 2 : n, :], queue=1)
        """,
        """
        a = sram(8, 8, bf16)
        n = min(8, N)
        # the other
        load(a[:n], x[i, :n, :], queue=2)  # one half
        """,
    ),
}


@pytest.mark.parametrize("case", SHOWN)
def test_edit_before_and_after(case: str) -> None:
    name, text, argument, before, after = SHOWN[case]
    actual = body_of(edited(kernel_of(before), name, text, argument))
    assert actual.strip() == dedent(after).strip()


def test_let_leaves_its_phase_and_returns() -> None:
    kernel = kernel_of("n = K * 8\na = sram(8, 8, bf16)\nfill(a[: min(n, 8)], 0.0)")
    out = edited(kernel, "hoist", "n =")
    assert isinstance(out.body[0], ir.Let)
    back = SPECS["sink"].rewrite(out, (0,), None, DEFAULT_CONTEXT)
    assert back == kernel
