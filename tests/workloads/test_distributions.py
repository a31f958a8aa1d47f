"""Each distribution shows the mistake that it names: references with one mistake, net by net."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from m890sim import execute, parse
from m890sim.judge import row_errors
from m890sim.kernel.ir import Kernel
from m890sim.workloads import DISTRIBUTIONS, KERNELS, LEVELS, AttentionCase, Case, get_task
from tests.level_cases import TINY_LEVELS

EXTEND = AttentionCase("shown", "extend", (200, 0), (70, 65), 4, 2, 64, 4, True)
DECODE = AttentionCase("shown-decode", "decode", (330, 1, 129), (1,) * 3, 8, 2, 64, 4, True)
FIRST = ("normal", "peaked", "needle", "large_maxima")

BLOCK_MAX = "row_max(new_m, s[:, :cols])\n            max(new_m, new_m, m)"
ONE = "(min(j // 4992, 1) - min(j // 4993, 1))"  # 1 in the block that begins at key 4,992
WHERE = "kv_indices[start + j : start + j + cols]"

# mistake -> (kernel, replacements, the distribution that names it, whether it alone shows it)
MISTAKES: dict[str, tuple[str, list[tuple[str, str]], str, bool]] = {
    "maximum of the first block": (
        "decode_reference",
        [
            (
                BLOCK_MAX,
                "if j == 0:\n                row_max(new_m, s[:, :cols])\n            if j > 0:\n"
                "                copy(new_m, m)",
            )
        ],
        "ramp_up",
        False,
    ),
    "maximum of this block alone": (
        "decode_reference",
        [(BLOCK_MAX, "row_max(new_m, s[:, :cols])")],
        "ramp_down",
        False,
    ),
    "maximum renewed in every other block": (
        "decode_reference",
        [
            (
                BLOCK_MAX,
                "if j % (2 * BK) == 0:\n                row_max(new_m, s[:, :cols])\n"
                "                max(new_m, new_m, m)\n            if j % (2 * BK) > 0:\n"
                "                copy(new_m, m)",
            )
        ],
        "steps",
        False,
    ),
    "maximum without the first key": (
        "decode_reference",
        [
            (
                BLOCK_MAX,
                "row_max(new_m, s[:, min(1, cols - 1) : cols])\n            max(new_m, new_m, m)",
            )
        ],
        "sink",
        False,
    ),
    "maximum without the last key": (
        "decode_reference",
        [(BLOCK_MAX, "row_max(new_m, s[:, : max(1, cols - 1)])\n            max(new_m, new_m, m)")],
        "sink_last",
        False,
    ),
    "-1,000 as first maximum": (
        "decode_reference",
        [("fill(m, -inf)", "fill(m, -1000.0)")],
        "far_below",
        True,
    ),
    "-50,000 as first maximum": (
        "attention_reference",
        [("fill(m[:rows], -inf)", "fill(m[:rows], -50000.0)")],
        "far_below",
        True,
    ),
    "-100,000 as first maximum": (
        "decode_reference",
        [("fill(m, -inf)", "fill(m, -100000.0)")],
        "far_below",
        True,
    ),
    "-30,000 added to masked scores": (
        "attention_reference",
        [
            ("s = acc(BQ, BK)", "s = acc(BQ, BK)\n            bias = sram(BQ, BK, f32)"),
            (
                "causal_mask(s[:rows, :cols], row=i * BQ, col=j)",
                "fill(bias[:rows, :cols], 0.0)\n"
                "                causal_mask(bias[:rows, :cols], row=i * BQ, col=j)\n"
                "                max(bias[:rows, :cols], bias[:rows, :cols], -30000.0)\n"
                "                add(s[:rows, :cols], s[:rows, :cols], bias[:rows, :cols])",
            ),
        ],
        "climb",
        True,
    ),
    "output summed up in f16": (
        "decode_reference",
        [
            ("out = acc(1, D)", "out = acc(1, D)\n        small = sram(1, D, f16)"),
            (
                "copy(m, new_m)",
                "copy(small, out)\n            copy(out, small)\n            copy(m, new_m)",
            ),
        ],
        "equal_keys",
        False,
    ),
    "logits at most 5,000": (
        "attention_reference",
        [
            (
                "mul(s[:rows, :cols], s[:rows, :cols], scale)\n",
                "mul(s[:rows, :cols], s[:rows, :cols], scale)\n"
                "                min(s[:rows, :cols], s[:rows, :cols], 5000.0)\n",
            )
        ],
        "far_above",
        False,
    ),
    "masked keys weigh e**-11": (
        "attention_reference",
        [
            (
                "sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])\n",
                "sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])\n"
                "                max(s[:rows, :cols], s[:rows, :cols], -11.0)\n",
            )
        ],
        "large_value",
        True,
    ),
}


def mutant(name: str, changes: list[tuple[str, str]]) -> Kernel:
    text = KERNELS[name].text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


@cache
def given(case: Case, distribution: str, seed: int = 0):
    inputs = case.shared_inputs(seed, distribution)
    return inputs, case.oracle(inputs)


def error(kernel: Kernel, case: Case, distribution: str, seed: int = 0) -> float:
    inputs, expected = given(case, distribution, seed)
    (actual,) = execute(kernel, case, inputs).values()
    return float(row_errors(actual, expected).max())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_distribution_shows_the_mistake_that_it_names(mistake):
    name, changes, distribution, alone = MISTAKES[mistake]
    kernel = mutant(name, changes)
    case = EXTEND if KERNELS[name].task == "extend" else DECODE
    shown = {found for found in DISTRIBUTIONS if not error(kernel, case, found) <= 0.01}
    assert distribution in shown
    assert not error(kernel, case, distribution) <= 0.013
    assert not shown & set(FIRST), "the first four would have been enough"
    assert not alone or shown == {distribution}


def test_a_single_key_left_out_of_one_maximum_shows_in_climb_alone():
    case = AttentionCase("left-out", "decode", (300,) * 16, (1,) * 16, 8, 2, 64, 16, True)
    left_out = (
        "if j == 128:\n                row_max(new_m, s[:, 1:cols])\n"
        "            else:\n                row_max(new_m, s[:, :cols])\n"
        "            max(new_m, new_m, m)"
    )
    kernel = mutant("decode_reference", [(BLOCK_MAX, left_out)])
    shown = {found for found in DISTRIBUTIONS if not error(kernel, case, found) < 0.01}
    assert shown == {"climb"}
    for seed in range(1, 4):
        assert not error(kernel, case, "climb", seed) < 0.01  # exp overflows: not a number


@pytest.mark.parametrize("length", [900, 8192])
def test_one_dropped_key_shows_in_zero_sum_whatever_the_seed(length):
    case = AttentionCase("dropped", "decode", (length, 77), (1, 1), 2, 1, 64, 16, True)
    place = length // 2 // 64 * 64
    one = ONE.replace("4992", str(place)).replace("4993", str(place + 1))
    # The block begins a key late: one key is dropped and another counts twice.
    kernel = mutant("decode_reference", [(WHERE, WHERE.replace("start + j", f"start + j + {one}"))])
    for seed in range(3):
        assert error(kernel, case, "zero_sum", seed) > 0.1
        assert error(mutant("decode_reference", []), case, "zero_sum", seed) < 0.006
    assert min(error(kernel, case, "normal", seed) for seed in range(3)) < 0.1


@pytest.mark.parametrize("case", [EXTEND, DECODE], ids=["extend", "decode"])
def test_references_pass_all_distributions_by_a_margin(case):
    reference = get_task(case.task).reference
    for distribution in DISTRIBUTIONS:
        for seed in range(2):
            assert error(reference, case, distribution, seed) < 0.006, distribution


def test_guards_of_real_kernels_are_right():
    guards = [
        ("fill(m[:rows], -inf)", "fill(m[:rows], -1e30)"),
        ("            div(ot", "            max(l[:rows], l[:rows], 1e-30)\n            div(ot"),
    ]
    kernel = mutant("attention_reference", guards)
    for distribution in DISTRIBUTIONS:
        assert error(kernel, EXTEND, distribution) < 0.006, distribution


# mistake in a level's reference -> (level, replacements, distribution)
LEVEL_MISTAKES = {
    "maximum of the first half": (
        "row_softmax",
        [("row_max(m[:rows], s[:rows])", "row_max(m[:rows], s[:rows, : max(1, C // 2)])")],
        "ramp_up",
    ),
    "maximum of the second half": (
        "row_softmax",
        [("row_max(m[:rows], s[:rows])", "row_max(m[:rows], s[:rows, C // 2 :])")],
        "ramp_down",
    ),
    "logits at least -1,000": (
        "row_softmax",
        [
            (
                "row_max(m[:rows], s[:rows])",
                "max(s[:rows], s[:rows], -1000.0)\n            row_max(m[:rows], s[:rows])",
            )
        ],
        "far_below",
    ),
    "one product is missing": (
        "matmul",
        [
            (
                "matmul(t[:rows, :cols], at",
                "fill(at[:rows, :1], 1.0)\n            matmul(t[:rows, :cols], at",
            )
        ],
        "zero_sum",
    ),
    "first block's maximum": (
        "attention_head",
        [
            (
                "row_max(new_m[:rows], s[:rows, :cols])\n"
                "            max(new_m[:rows], new_m[:rows], m[:rows])",
                "if j == 0:\n                row_max(new_m[:rows], s[:rows, :cols])\n"
                "            if j > 0:\n                copy(new_m[:rows], m[:rows])",
            )
        ],
        "ramp_up",
    ),
}


@pytest.mark.parametrize("mistake", LEVEL_MISTAKES)
def test_distribution_shows_a_mistake_in_a_level(mistake):
    level, changes, distribution = LEVEL_MISTAKES[mistake]
    kernel = mutant(LEVELS[level].reference_name, changes)
    assert error(kernel, TINY_LEVELS[level], distribution) > 0.013


@pytest.mark.parametrize("level", LEVELS)
def test_levels_have_finite_rows_on_every_distribution(level):
    for case in (TINY_LEVELS[level], *LEVELS[level].cases):
        for distribution in DISTRIBUTIONS:
            inputs, expected = given(case, distribution)
            assert np.isfinite(expected).all()
            assert all(np.isfinite(value).all() for value in inputs.values())


def test_documents_list_every_distribution():
    text = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text("utf-8")
    rows = [
        f"| `{name}` | {found.text} | {found.catches} |" for name, found in DISTRIBUTIONS.items()
    ]
    assert "\n".join(rows) in text
