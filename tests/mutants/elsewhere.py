"""What the attention tests of SGLang would let through: their inputs, shapes and tolerances.

Source: sgl-project/sglang, test/srt/test_triton_attention_kernels.py at commit 0c74cb4.

- extend: 19 sequences, cached and new tokens uniform between 1 and 6,164, 12/4 heads of 128, 96, 80
  or 13 elements (13 is left out here), q, k, v normal with mean 0.1 and standard deviation 0.2
  in bf16, `torch.allclose(rtol=1e-2)`. Here four sequences with at most 200 new
  tokens, so that it is practical; cached ones as there.
- decode: two sequences of 5, 100, 128 or 500 tokens, standard normal, cosine similarity above 0.99
  and `allclose(atol=3e-2)` between two kernels; here against the fp64 oracle. (Their other decode
  test compares nothing.)

Slots are in order, one token a page.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from m890sim.errors import M890Error
from m890sim.kernel.ir import Kernel
from m890sim.workloads import AttentionCase, execute
from m890sim.workloads.case import Array
from m890sim.workloads.inputs import round_bf16

CACHED, NEW = 6165, 201  # below; there 6,165 for both
SEED = 42


def passes(kernel: Kernel, task: str) -> bool:
    """Whether the kernel passes the task's test in all its shapes; one that traps does not."""
    return all(_agrees(kernel, case) for case in _cases(task))


@cache
def _cases(task: str) -> tuple[AttentionCase, ...]:
    if task == "extend":
        random = np.random.Generator(np.random.PCG64(SEED))
        cached, new = (random.integers(1, below, 4).tolist() for below in (CACHED, NEW))
        return tuple(_case(task, cached, new, 12, 4, elements) for elements in (128, 96, 80))
    return tuple(
        _case(task, [length] * 2, [1, 1], *shape)
        for length in (5, 100, 128, 500)
        for shape in ((16, 16, 64), (16, 1, 64), (128, 1, 80))
    )


def _case(
    task: str, cached: list[int], queries: list[int], heads: int, key_heads: int, elements: int
) -> AttentionCase:
    name = f"sglang-{task}-{cached[0]}-{heads}-{key_heads}-{elements}"
    return AttentionCase(
        name, task, tuple(cached), tuple(queries), heads, key_heads, elements, 1, False
    )


@cache
def _inputs(case: AttentionCase) -> tuple[dict[str, Any], Array]:
    """Inputs and the right output, rounded to bf16."""
    mean, deviation = (0.1, 0.2) if case.task == "extend" else (0.0, 1.0)
    random = np.random.Generator(np.random.PCG64(SEED))
    inputs = case.make_inputs(0)
    for name in ("q", "k", "v", "k_cache", "v_cache"):
        if name in inputs:
            drawn = random.normal(mean, deviation, inputs[name].shape)
            inputs[name] = round_bf16(drawn.astype(np.float32))
    return inputs, round_bf16(case.oracle(inputs).astype(np.float32)).astype(np.float64)


def _agrees(kernel: Kernel, case: AttentionCase) -> bool:
    inputs, expected = _inputs(case)
    try:
        actual = execute(kernel, case, inputs)["o"].astype(np.float64)
    except M890Error:
        return False
    if case.task == "extend":
        return bool(np.allclose(actual, expected, rtol=1e-2, atol=1e-8))
    close = bool(np.allclose(actual, expected, rtol=1e-5, atol=3e-2))
    return close and _cosine(actual, expected) > 0.99


def _cosine(a: Array, b: Array) -> float:
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))
