"""A kernel that is none for the task is refused, with every finding and its place."""

from __future__ import annotations

import pytest

from m890sim import evaluate, get_task, parse
from m890sim.errors import TaskError
from m890sim.judge import check_fits
from m890sim.workloads import KERNELS

TASK = get_task("extend")


def edited(*changes):
    text = KERNELS["attention_reference"].text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text, filename="my.py")


@pytest.mark.parametrize("name", [n for n, entry in KERNELS.items() if entry.task == "extend"])
def test_built_in_kernels_fit_their_task(name):
    check_fits(parse(KERNELS[name].text), TASK)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            [("k_cache", "kcache")],
            r"my\.py:\d+:\d+: 'kcache' is no parameter of the task; did you mean 'k_cache'",
        ),
        (
            [("max_extend: Size", "max_extend: Size, window: Size")],
            r"'window' is no parameter of the task; the task has q: Tensor",
        ),
        (
            [('q: Tensor["T", "HQ", "D"]', 'q: Tensor["HQ", "T", "D"]')],
            r'found q: Tensor\["HQ", "T", "D"\]; the task\'s parameter is q: Tensor\["T", "HQ"',
        ),
        (
            [('kv_indptr: Table["B + 1"]', 'kv_indptr: Table["B"]')],
            r'found kv_indptr: Table\["B"\]; the task\'s parameter is kv_indptr: Table\["B \+ 1"\]',
        ),
        (
            [
                ('o: Tensor["T", "HQ", "D"]', 'o: Tensor["T", "HQ", "D", f32]'),
                ("ot = sram(BQ, D, bf16)", "ot = sram(BQ, D, f32)"),
            ],
            r'found o: Tensor\["T", "HQ", "D", f32\]; the task\'s parameter is o: Tensor\["T"',
        ),
        (
            [
                ("max_extend: Size", "max_extend: Scalar"),
                ("ceil_div(max_extend, BQ)", "ceil_div(T, BQ)"),
            ],
            r"found max_extend: Scalar; the task's parameter is max_extend: Size",
        ),
        (
            [("store(o[first", "load(qt[:rows], o[first"), ("h, :], ot[:rows])", "h, :])")],
            r"my\.py: the kernel never stores 'o', the task's output",
        ),
        (
            [
                ("p = sram(BQ, BK, bf16)", "p = sram(BQ, BK, f8e4m3)"),
                (
                    "ot = sram(BQ, D, bf16)",
                    "ot = sram(BQ, D, bf16)\n            v8 = sram(BK, D, f8e4m3)",
                ),
                ("p[:rows, :cols], vt[:cols]", "p[:rows, :cols], v8[:cols]"),
                (
                    "mul(out[:rows], out[:rows], alpha[:rows])",
                    "copy(v8[:cols], vt[:cols])",
                ),
            ],
            r"my\.py:\d+:\d+: 'p' is f8e4m3; the task allows bf16, f16, f32",
        ),
    ],
    ids=["name", "extra", "dims", "table", "dtype", "kind", "no output", "policy"],
)
def test_kernel_that_does_not_fit_is_refused(changes, text):
    with pytest.raises(TaskError, match=text):
        evaluate(edited(*changes), TASK)


def test_store_into_an_input_is_refused():
    kernel = parse(
        """from m890sim.lang import *

@kernel
def k(q: Tensor["T", "HQ", "D"], v: Tensor["T", "HKV", "D"], o: Tensor["T", "HQ", "D"]):
    for h, t in cores(HQ, T):
        x = sram(1, D, bf16)
        load(x, q[t, h, :])
        store(o[t, h, :], x)
        if h < HKV:
            store(v[t, h, :], x)
"""
    )
    with pytest.raises(TaskError, match="stores 'v', an input of the task; store to 'o' only"):
        check_fits(kernel, TASK)


def test_all_findings_are_reported_at_once():
    kernel = edited(("k_cache", "kcache"), ("kv_indices", "indices"))
    with pytest.raises(TaskError) as refusal:
        check_fits(kernel, TASK)
    lines = str(refusal.value).splitlines()
    assert lines[0] == "kernel 'attention_reference' does not fit task 'extend':"
    assert len(lines) == 3


def test_kernel_of_another_task_is_refused():
    with pytest.raises(TaskError, match="does not fit task 'decode'"):
        evaluate("attention_reference", "decode")
