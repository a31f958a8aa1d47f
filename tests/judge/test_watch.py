"""The watch points at maxima that are none, and a wrong output decides."""

from __future__ import annotations

import numpy as np
import pytest

from m890sim import parse
from m890sim.judge.bends import bend
from m890sim.judge.watch import check_maxima, watch
from m890sim.workloads import KERNELS, AttentionCase, Case, get_task, load_kernel
from m890sim.workloads.levels.attention_head import AttentionHeadCase
from m890sim.workloads.levels.row_softmax import RowSoftmaxCase
from m890sim.workloads.levels.vector_add import VectorAddCase

CASES: dict[str, Case] = {
    "extend": AttentionCase("watch", "extend", (200, 0, 5), (150, 165, 1), 4, 2, 64, 4, True),
    "decode": AttentionCase("watch-decode", "decode", (200, 1, 331), (1,) * 3, 8, 2, 64, 4, True),
    "attention_head": AttentionHeadCase("watch-head", "attention_head", 150, 16),
    "row_softmax": RowSoftmaxCase("watch-softmax", "row_softmax", 19, 170),
    "vector_add": VectorAddCase("watch-add", "vector_add", 9, 20),
}
SMALL = AttentionCase("watch-small", "extend", (20, 0), (15, 16), 4, 2, 8, 4, True)
ROW_MAX = "row_max(new_m[:rows], s[:rows, :cols])"
MASK = "causal_mask(s[:rows, :cols], row=i * BQ, col=j)"
# What the maximum is -> kernel, replacements; all are right in exact arithmetic.
WRONG = {
    "none": ("attention_reference", ((ROW_MAX, "fill(new_m[:rows], 0.0)"),)),
    "a small number": ("attention_reference", ((ROW_MAX, "fill(new_m[:rows], -1000.0)"),)),
    "that of the first key of a block": (
        "attention_reference",
        ((ROW_MAX, "row_max(new_m[:rows], s[:rows, :1])"),),
    ),
    "that of half a block": (
        "attention_reference",
        ((ROW_MAX, "row_max(new_m[:rows], s[:rows, :max(1, cols // 2)])"),),
    ),
    "all but the last key of a block": (
        "attention_reference",
        ((ROW_MAX, "row_max(new_m[:rows], s[:rows, :max(1, cols - 1)])"),),
    ),
    "that of the row's neighbour": (
        "attention_reference",
        (("max(new_m[:rows], new_m[:rows], m[:rows])",
          "copy(new_m[: rows - 1], new_m[1:rows])\n"
          "                max(new_m[:rows], new_m[:rows], m[:rows])"),),
    ),
    "that of hidden keys too": (
        "attention_reference",
        ((f"{MASK}\n                fence()\n                {ROW_MAX}",
          f"{ROW_MAX}\n                {MASK}"),),
    ),
    "that of the first block": (
        "decode_reference",
        (("row_max(new_m, s[:, :cols])",
          "if j == 0:\n                row_max(new_m, s[:, :cols])\n"
          "            else:\n                copy(new_m, m)"),),
    ),
    "that of the first columns": (
        "row_softmax_reference",
        (("row_max(m[:rows], s[:rows])", "row_max(m[:rows], s[:rows, :128])"),),
    ),
    "that of the first tokens": (
        "attention_head_reference",
        ((ROW_MAX, "row_max(new_m[:rows], s[:rows, :max(1, cols - 8)])"),),
    ),
}  # fmt: skip


BY_ROOT = "rsqrt(l[:rows], l[:rows])\n            mul(l[:rows], l[:rows], l[:rows])"
BY_LOG = "log2(l[:rows], l[:rows])\n            exp2(l[:rows], l[:rows], scale=-1.0)"


@pytest.mark.parametrize(("name", "quotient"), [("rsqrt", BY_ROOT), ("log2", BY_LOG)])
def test_a_sum_is_watched_however_a_kernel_divides_by_it(name: str, quotient: str) -> None:
    # The larger maximum of two rows: the other's sum falls to 0.
    text = KERNELS["attention_reference"].text
    divided = "div(ot[:rows], out[:rows], l[:rows])"
    assert divided in text and ROW_MAX in text
    right = text.replace(divided, f"{quotient}\n            mul(ot[:rows], out[:rows], l[:rows])")
    wrong = right.replace(
        "max(new_m[:rows], new_m[:rows], m[:rows])",
        "copy(new_m[: rows - 1], new_m[1:rows])\n"
        "                max(new_m[:rows], new_m[:rows], m[:rows])",
    )
    task = get_task("extend")
    assert not watch(parse(right), task, CASES["extend"], 4).too_large
    pointing = watch(parse(wrong), task, CASES["extend"], 4)
    assert pointing.too_large and f": {name} " in pointing.total_at
    assert not check_maxima(parse(wrong), task, CASES["extend"], 4).passed


@pytest.mark.parametrize("name", list(WRONG))
def test_check_maxima_finds_a_wrong_output(name: str) -> None:
    kernel, changes = WRONG[name]
    text = KERNELS[kernel].text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    task = get_task(KERNELS[kernel].task)
    found = check_maxima(parse(text), task, CASES[task.name], seed=4)
    assert not found.passed, found.reason
    assert "wrong: o[" in found.reason and found.pointing.text in found.reason


@pytest.mark.parametrize("name", [n for n, e in KERNELS.items() if e.task in CASES])
def test_check_maxima_points_at_no_built_in_kernel(name: str) -> None:
    task = get_task(KERNELS[name].task)
    found = check_maxima(load_kernel(name), task, CASES[task.name], seed=4)
    assert found.passed and found.reason == "" and not found.pointing.text


def test_check_maxima_passes_where_it_points_and_nothing_is_wrong() -> None:
    # exp(x) = 1 / exp(-x) where weights are not concerned: a hint, and no verdict.
    text = KERNELS["vector_add_reference"].text
    assert "store(z[" in text
    changed = text.replace("        for ", "        up = sram(1, 1, f32)\n        for ", 1)
    place = changed.index("up = sram(1, 1, f32)\n") + len("up = sram(1, 1, f32)\n")
    more = "        fill(up, 3.0)\n        exp(up, up)\n"
    found = check_maxima(
        parse(changed[:place] + more + changed[place:]),
        get_task("vector_add"),
        CASES["vector_add"],
        seed=1,
    )
    assert found.passed and "no bent input makes an output wrong" in found.reason
    assert "an exponential of 3 at" in found.reason


def test_watch_tells_where() -> None:
    text = KERNELS["attention_reference"].text.replace(ROW_MAX, "fill(new_m[:rows], 0.0)")
    found = watch(parse(text), get_task("extend"), CASES["extend"], seed=0)
    assert found.too_small and found.argument > 3
    assert ": exp (work item b=" in found.argument_at


def test_watch_lists_guards_and_those_that_act() -> None:
    text = KERNELS["attention_reference"].text
    scaled = "mul(s[:rows, :cols], s[:rows, :cols], scale)"
    divided = "div(ot[:rows], out[:rows], l[:rows])"
    clamp = f"{scaled}\n                max(s[:rows, :cols], s[:rows, :cols], 0.0)"
    guard = f"max(l[:rows], l[:rows], 1e-30)\n            {divided}"
    changed = parse(text.replace(scaled, clamp).replace(divided, guard))
    found = watch(changed, get_task("extend"), CASES["extend"], seed=0)
    assert len(found.guards) == 3 and len(found.active) == 2
    assert found.active < found.guards


@pytest.mark.parametrize("task", ["extend", "decode", "attention_head", "row_softmax"])
def test_bend_keeps_shapes_and_has_no_effect_on_the_case(task: str) -> None:
    case = SMALL if task == "extend" else CASES[task]
    plain = case.make_inputs(2, "normal")
    names = set()
    for name, inputs in bend(case, 2, too_small=True, too_large=True):
        names.add(name)
        assert set(inputs) == set(plain)
        for key, array in inputs.items():
            assert np.shape(array) == np.shape(plain[key])
        assert np.isfinite(case.oracle(inputs)).all()
    assert len(names) == 26
    again = case.make_inputs(2, "normal")
    assert all(np.array_equal(plain[k], again[k], equal_nan=True) for k in plain)


def test_bend_raises_logits_above_all_others() -> None:
    case = CASES["row_softmax"]
    bent = dict(bend(case, 1, too_small=True, too_large=False))
    logits = bent["a key of each row raised by 150"]["x"] * case.scalars["scale"]
    assert (np.sort(logits, axis=-1)[:, -1] - np.sort(logits, axis=-1)[:, -2] > 120).all()
