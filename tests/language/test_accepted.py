"""What the checker must not refuse: it only reports what is certain."""

from __future__ import annotations

import pytest

from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.workloads import KERNELS, load_kernel
from tests.generators import random_program

HEAD = """from m890sim.lang import *


@kernel
def k(
    x: Tensor["T", "D"],
    o: Tensor["T", "D"],
    t: Table["N + 1"],
    p: Table["P"],
    c: Scalar,
    n: Size,
    B: Tunable = 8,
):
    top = t[N]
    w = hbm(T, top, bf16)
    for i in cores(T):
        a = sram(B, 16, bf16)
        b = sram(B, top, bf16)
        s = acc(B, B)
"""

ACCEPTED = {
    "written_in_one_branch": "if n:\n    fill(a, 0.0)\nelse:\n    fence()\ncopy(a, a)",
    "written_in_the_iteration_before": (
        "for j in range(n):\n    if j > 0:\n        copy(a, a)\n    fill(a, 0.0)"
    ),
    "read_in_a_loop_that_may_not_run_at_first": (
        "for j in range(n):\n    for m in range(j):\n        copy(a, a)\n    fill(a, 0.0)"
    ),
    "empty_piece_is_not_read": "copy(a[:0], a[:0])",
    "accumulate_after_replace": (
        "fill(a, 0.0)\nmatmul(s, a, a.T)\nmatmul(s, a, a.T, accumulate=True)"
    ),
    "dead_branch_of_a_tunable": "fill(a, 0.0)\nif B > 8:\n    copy(a[:9], a[:9])",
    "dead_else_of_a_tunable": (
        "fill(a, 0.0)\nif B == 8:\n    fence()\nelse:\n    copy(a[8:7], a[8:7])"
    ),
    "loop_that_never_runs": "fill(a, 0.0)\nfor j in range(9, 9):\n    copy(a[:j], a[:j])",
    "equal_extents_of_a_gather": ("r = min(B, n)\nload(a[:r], x[p[n * B : n * B + r], 0:16])"),
    "unknown_extents": "load(a[:n], x[i : i + top, 0:16])",
    "merged_rows": "fill(b, 0.0)\nstore(w[p[0:n], 0:n], b[: 2 * n])",
    "broadcast_row_and_column": "fill(a, 0.0)\nadd(a, a, a[0:1])\nadd(a, a, a[:, 0:1])",
    "broadcast_of_unknown_extent": "fill(a, 0.0)\nmul(a[:4], a[:4], a[:n])",
    "steps": "fill(a, 0.0)\ncopy(a[0:8:2], a[1:8:2])\ncopy(a[:n:3], a[:n:3])",
    "names_of_blocks_side_by_side": (
        "for j in range(n):\n    m = j\nfor j in range(n):\n    m = j\n    z = sram(4, 4, f32)"
    ),
    "name_used_as_scalar_and_tile": "if n:\n    m = n\nelse:\n    m = sram(4, 4, f32)",
    "symbol_in_a_condition": "if T > 100 and D < 3 or not n:\n    fence()",
    "zero_rows": "z = sram(0, 4, f32)\nfill(z, 0.0)",
    "ranges_backwards": "for j in range(9, 3):\n    fence()",
    "comparison_as_number": "m = (n > 3) * 4 + (n <= 3)",
    "negative_symbol": "m = -T\nr = max(m, 0)",
    "store_in_two_phases": "fill(a, 0.0)\nstore(o[0:8, 0:16], a)\nstore(w[0:8, 0:16], a)",
    "scratch_read_by_its_item": "fill(a, 0.0)\nstore(w[0:8, 0:16], a)\nload(a, w[0:8, 0:16])",
    "stage_inside_a_stage": (
        "for j in range(n):\n    with stage(0):\n        for m in range(n):\n"
        "            with stage(1):\n                fill(a, 0.0)"
    ),
    "read_only_tile_in_two_stages": (
        "fill(a, 0.0)\nfor j in range(n):\n    z = sram(B, 16, bf16, slots=2)\n"
        "    with stage(0):\n        copy(z, a)\n    with stage(1):\n        add(z, z, a)"
    ),
    "enough_slots": (
        "for j in range(n):\n    z = sram(B, 16, bf16, slots=4)\n    with stage(2):\n"
        "        fill(z, 0.0)\n    with stage(5):\n        copy(z, z)"
    ),
    "tile_of_a_stage": (
        "for j in range(n):\n    with stage(0):\n        z = sram(B, 16, bf16)\n"
        "        fill(z, c)\n"
        "    with stage(1):\n        z = sram(B, 16, bf16)\n        fill(z, -c * LOG2E / 2)"
    ),
    "lets_beside_stages": (
        "for j in range(n):\n    m = j + 1\n    with stage(0):\n"
        "        load(a[:1], x[m : m + 1, 0:16])"
    ),
    "fence_in_a_stage": "for j in range(n):\n    with stage(0):\n        fence()",
    "step_of_tunables": "for j in range(0, n, B * 2 - 1):\n    fence()",
    "slots_of_tunables": "z = sram(4, 4, f32, slots=B // 4, at=B - 8)",
    "queue_of_tunables": "load(a, x[0:8, 0:16], queue=B % 3)",
    "long_elif": "if n == 1:\n    fence()\nelif n == 2:\n    fence()\nelif n == 3:\n    fence()",
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_kernel_is_accepted(name: str) -> None:
    text = HEAD + "".join(f"        {line}\n" for line in ACCEPTED[name].splitlines())
    kernel = parse(text)
    assert parse(print_kernel(kernel)) == kernel


def test_scratch_of_an_earlier_phase_may_be_read() -> None:
    text = HEAD + "        fill(a, 0.0)\n        store(w[0:8, 0:16], a)\n"
    parse(
        text
        + "    for i in cores(T):\n        a = sram(B, 16, bf16)\n        load(a, w[0:8, 0:16])\n"
    )


def test_size_may_be_a_dimension() -> None:
    text = 'from m890sim.lang import *\n@kernel\ndef k(x: Tensor["T"], T: Size):\n'
    kernel = parse(text + "    for i in cores(T):\n        fence()\n")
    assert kernel.symbols == ("T",)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_built_in_kernel_is_right(name: str) -> None:
    kernel = load_kernel(name)
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel
    assert all(stmt.loc.line for stmt in ir.walk(kernel.body))


@pytest.mark.parametrize("seed", range(30))
def test_program_that_runs_is_right(seed: int) -> None:
    kernel = random_program(seed).kernel
    check(kernel)
    assert parse(print_kernel(kernel)) == kernel
