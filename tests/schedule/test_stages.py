"""Stages: pipelining a loop and moving statements between stages, before and after; refusals."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest

from m890sim import execute, load_kernel
from m890sim.schedule.edit import EditError
from tests.schedule.editing import TINY
from tests.schedule.motion_cases import PAIR, STAGED, SUM, body_of, edited, kernel_of

# edit, statement, argument, body before, body after
SHOWN = {
    "pipeline_one_stage": (
        "pipeline",
        "for j",
        1,
        SUM,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            a = sram(8, 8, bf16)
            with stage(0):
                load(a, x[j, :, :])
                add(s, s, a)
        b = sram(8, 8, bf16)
        copy(b, s)
        store(y[i, :, :], b)
        """,
    ),
    "pipeline_two_stages": (
        "pipeline",
        "for j",
        2,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            a = sram(8, 8, bf16)
            b = sram(8, 8, bf16, slots=K)
            load(a, x[j, :, :])
            fence()
            add(s, s, a)
            n = min(8, N)
            if j > 3:
                load(b[:n], x[j, :n, :])
                add(s[:n], s[:n], b[:n])
        """,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            a = sram(8, 8, bf16, slots=2)
            b = sram(8, 8, bf16, slots=K)
            n = min(8, N)
            with stage(0):
                load(a, x[j, :, :])
            with stage(1):
                fence()
                add(s, s, a)
                if j > 3:
                    load(b[:n], x[j, :n, :])
                    add(s[:n], s[:n], b[:n])
        """,
    ),
    "pipeline_three_stages": (
        "pipeline",
        "for j",
        3,
        """
        o = acc(8, 8)
        for j in range(N):
            a = sram(8, 8, bf16)
            b = sram(8, 8, bf16)
            p = sram(8, 8, bf16)
            s = acc(8, 8)
            load(a, x[j, :, :])
            matmul(s, a, a.T)
            copy(p, s)
            load(b, x[j, :, :])
            matmul(o, p, b)
        """,
        """
        o = acc(8, 8)
        for j in range(N):
            a = sram(8, 8, bf16, slots=2)
            b = sram(8, 8, bf16, slots=3)
            p = sram(8, 8, bf16)
            s = acc(8, 8, slots=2)
            with stage(0):
                load(a, x[j, :, :])
                load(b, x[j, :, :])
            with stage(1):
                matmul(s, a, a.T)
            with stage(2):
                copy(p, s)
                matmul(o, p, b)
        """,
    ),
    "stage_later": (
        "stage_later",
        "with stage(0)",
        None,
        STAGED,
        STAGED.replace("            mul(a, a, 2.0)\n", "").replace(
            "            max(a", "            mul(a, a, 2.0)\n            max(a"
        ),
    ),
    "stage_later_begins_a_stage": (
        "stage_later",
        "with stage(1)",
        None,
        STAGED,
        STAGED.replace("slots=2", "slots=3").replace(
            "            add(s, s, a)", "        with stage(2):\n            add(s, s, a)"
        ),
    ),
    "stage_earlier": (
        "stage_earlier",
        "with stage(1)",
        None,
        STAGED,
        STAGED.replace("            max(a, a, 0.0)\n", "").replace(
            "2.0)\n", "2.0)\n            max(a, a, 0.0)\n"
        ),
    ),
    "unstage": (
        "unstage",
        "for j",
        None,
        STAGED,
        STAGED.replace("        with stage(0):\n", "")
        .replace("        with stage(1):\n", "")
        .replace("            ", "        "),
    ),
    "pipeline_takes_tiles_in": (
        "pipeline",
        "for j",
        2,
        """
        s = acc(8, 8)
        a = sram(8, 8, bf16)
        b = sram(8, 8, bf16)
        fill(s, 0.0)
        if i > 2:
            load(b, x[i, :, :])
            for j in range(N):
                load(a, x[j, :, :])
                mul(a, a, 2.0)
                add(s, s, a)
            copy(b, s)
            store(y[i, :, :], b)
        """,
        """
        s = acc(8, 8)
        b = sram(8, 8, bf16)
        fill(s, 0.0)
        if i > 2:
            load(b, x[i, :, :])
            for j in range(N):
                a = sram(8, 8, bf16, slots=2)
                with stage(0):
                    load(a, x[j, :, :])
                with stage(1):
                    mul(a, a, 2.0)
                    add(s, s, a)
            copy(b, s)
            store(y[i, :, :], b)
        """,
    ),
    "pipeline_in_two_loops": (
        "pipeline",
        "for j",
        2,
        """
        s = acc(8, 8)
        b = sram(8, 8, bf16)
        a = sram(8, 8, bf16)
        fill(s, 0.0)
        for j in range(N):
            load(a, x[j, :, :])
            load(b, x[i, :, :])
            add(s, s, a)
            add(s, s, b)
        for j in range(N):
            load(a, x[j, :, :])
            add(s, s, a)
        """,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            b = sram(8, 8, bf16, slots=2)
            a = sram(8, 8, bf16, slots=2)
            with stage(0):
                load(a, x[j, :, :])
                load(b, x[i, :, :])
            with stage(1):
                add(s, s, a)
                add(s, s, b)
        for j in range(N):
            a = sram(8, 8, bf16)
            load(a, x[j, :, :])
            add(s, s, a)
        """,
    ),
    "pipeline_anew": (
        "pipeline",
        "for j",
        1,
        STAGED,
        """
        s = acc(8, 8)
        fill(s, 0.0)
        for j in range(N):
            a = sram(8, 8, bf16, slots=2)
            with stage(0):
                load(a, x[j, :, :])
                mul(a, a, 2.0)
                max(a, a, 0.0)
                add(s, s, a)
        b = sram(8, 8, bf16)
        copy(b, s)
        store(y[i, :, :], b)
        """,
    ),
}

# edit, statement, argument, body, what the message says
REFUSED = {
    "pipeline_no_loop": (
        "pipeline",
        "fence",
        2,
        PAIR,
        "pipeline acts on a range loop, not on fence",
    ),
    "pipeline_as_it_is": (
        "pipeline",
        "for j",
        1,
        STAGED.replace("        with stage(1):\n", "").replace("            max(a, a, 0.0)\n", ""),
        "this loop has just these stages already",
    ),
    "pipeline_four": ("pipeline", "for j", 4, SUM, "must be 1, 2 or 3, not 4"),
    "pipeline_no_matmul": ("pipeline", "for j", 3, SUM, "no matmul can move to the front"),
    "pipeline_loads_only": (
        "pipeline",
        "for j",
        2,
        "a = sram(8, 8, bf16)\nfor j in range(N):\n    load(a, x[j, :, :])",
        "no instruction is left for stage 1",
    ),
    "pipeline_carried": (
        "pipeline",
        "for j",
        2,
        "a = sram(8, 8, bf16)\nfor j in range(N):\n    load(a, x[j, :, :])\n    mul(a, a, 2.0)\n"
        "store(y[i, :, :], a)",
        "`a` is written in this loop, declared outside it and would be used in stages 0 and 1, "
        "and cannot go into the loop: line 7: `a` is used beside loops",
    ),
    "stage_later_own_name": (
        "stage_later",
        "with stage(0)",
        None,
        STAGED.replace("mul(a, a, 2.0)", "n = j + 1\n            fill(a[:n], 0.0)"),
        "uses `n`, which belongs to its stage",
    ),
    "stage_earlier_first": (
        "stage_earlier",
        "with stage(0)",
        None,
        STAGED,
        "no stage before this one",
    ),
    "stage_of_instruction": (
        "stage_later",
        "fence",
        None,
        PAIR,
        "stage_later acts on a stage, not on fence",
    ),
    "stage_later_empty": (
        "stage_later",
        "with stage(0)",
        None,
        STAGED.replace("            mul(a, a, 2.0)\n", ""),
        "a loop keeps its first and last stage",
    ),
    "unstage_plain": ("unstage", "for j", None, SUM, "only a loop with stages"),
    "unstage_names": (
        "unstage",
        "for j",
        None,
        STAGED.replace("mul(a", "n = j\n            mul(a").replace(
            "max(a", "n = j\n            max(a"
        ),
        "`n` is defined again",
    ),
}


@pytest.mark.parametrize("case", SHOWN)
def test_edit_before_and_after(case: str) -> None:
    name, text, argument, before, after = SHOWN[case]
    actual = body_of(edited(kernel_of(before), name, text, argument))
    assert actual.strip() == dedent(after).strip()


@pytest.mark.parametrize("case", REFUSED)
def test_edit_says_why_it_is_refused(case: str) -> None:
    name, text, argument, body, message = REFUSED[case]
    kernel = kernel_of(body)
    with pytest.raises(EditError, match=message):
        edited(kernel, name, text, argument)


def test_statement_keeps_clear_of_names_between_stages() -> None:
    body = STAGED.replace("max(a, a, 0.0)", "fill(a[:n], 0.0)")
    kernel = kernel_of(
        body.replace("        with stage(1)", "        n = 4\n        with stage(1)")
    )
    with pytest.raises(EditError, match="`n` is defined between the two stages"):
        edited(kernel, "stage_earlier", "with stage(1)")


def test_carried_tile_stays_in_its_stage() -> None:
    body = STAGED.replace("mul(a, a, 2.0)", "fence()").replace("max(a", "add(s, s, 1.0)\nmax(a")
    kernel = kernel_of(body.replace("\nmax(a", "\n            max(a"))
    with pytest.raises(EditError, match="`s` is written in this loop"):
        edited(kernel, "stage_earlier", "with stage(1)")


@pytest.mark.parametrize("stages", [2, 3])
def test_reference_is_pipelined_by_one_edit_a_loop(stages: int) -> None:
    kernel = load_kernel("attention_reference")
    case = TINY["extend"]
    expected = execute(kernel, case)["o"]
    for nth in (0, 1):
        kernel = edited(kernel, "pipeline", "for j", stages, nth)
    np.testing.assert_array_equal(execute(kernel, case)["o"], expected)


def test_tile_that_is_read_first_stays_outside() -> None:
    body = """
    a = sram(8, 8, bf16)
    fill(a, 0.0)
    if i > 2:
        for j in range(N):
            load(a[:4], x[j, :4, :])
            mul(a, a, 2.0)
    """
    kernel = kernel_of(body)
    with pytest.raises(EditError, match="`a` is used beside loops and branches too"):
        edited(kernel, "pipeline", "for j", 2)
    with pytest.raises(EditError, match="may be read in line 11 where this pass"):
        edited(kernel_of(body.replace("    fill(a, 0.0)\n", "")), "pipeline", "for j", 2)
