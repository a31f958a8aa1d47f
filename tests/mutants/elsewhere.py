"""What the attention tests of SGLang would let through: their inputs, shapes and tolerances.

Source: sgl-project/sglang, test/srt/test_triton_attention_kernels.py at commit 0c74cb4.

- extend: lengths uniform between 1 and 6,164, 12/4 heads, q, k and v normal with mean 0.1 and
  standard deviation 0.2 in bf16, `torch.allclose(rtol=1e-2)`. Here with four sequences of at most
  400 + 400 tokens, so that it is practical; a mistake in one key shows more on short sequences.
- prefill: two sequences of 8 and 12 tokens, 4 heads, standard normal, cosine similarity above
  1 - 1e-5 and `allclose(atol=1e-2)`.
- decode: two sequences of 5, 100, 128 or 500 tokens, standard normal, cosine similarity above 0.99
  and `allclose(atol=3e-2)` between two kernels; here against the fp64 oracle. (Their other decode
  test compares nothing.)

Slots are in order, one token a page.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from m890sim.errors import M890Error
from m890sim.kernel.ir import Kernel
from m890sim.workloads import AttentionCase, execute
from m890sim.workloads.case import Array
from m890sim.workloads.inputs import round_bf16

LONGEST = 400  # 6,164 there
SEED = 42

EXTEND_TEST, PREFILL_TEST, DECODE_TEST = "extend", "prefill", "grouped decode"
TESTS = {"extend": (EXTEND_TEST, PREFILL_TEST), "decode": (DECODE_TEST,)}


def passes(kernel: Kernel, test: str) -> bool:
    """Whether the kernel passes the test in all its shapes; one that traps does not."""
    return all(_agrees(kernel, test, case) for case in _cases(test))


def _cases(test: str) -> list[AttentionCase]:
    if test == EXTEND_TEST:
        random = np.random.Generator(np.random.PCG64(SEED))
        lengths = random.integers(1, LONGEST, (2, 4)).tolist()
        return [_case("extend", lengths[0], lengths[1], 12, 4, d) for d in (128, 96, 80)]
    if test == PREFILL_TEST:
        return [_case("extend", [0, 0], [8, 12], 4, 4, d) for d in (128, 96, 80)]
    shapes = [(16, 16, 64), (16, 1, 64), (128, 1, 80)]
    return [
        _case("decode", [length] * 2, [1, 1], *shape)
        for length in (5, 100, 128, 500)
        for shape in shapes
    ]


def _case(
    task: str, cached: list[int], queries: list[int], heads: int, key_heads: int, elements: int
) -> AttentionCase:
    name = f"sglang-{task}-{cached[0]}-{heads}-{key_heads}-{elements}"
    return AttentionCase(
        name, task, tuple(cached), tuple(queries), heads, key_heads, elements, 1, False
    )


def _inputs(case: AttentionCase, mean: float, deviation: float) -> dict[str, Any]:
    random = np.random.Generator(np.random.PCG64(SEED))
    inputs = case.make_inputs(0)
    for name in ("q", "k", "v", "k_cache", "v_cache"):
        if name in inputs:
            drawn = random.normal(mean, deviation, inputs[name].shape)
            inputs[name] = round_bf16(drawn.astype(np.float32))
    return inputs


def _agrees(kernel: Kernel, test: str, case: AttentionCase) -> bool:
    inputs = _inputs(case, 0.1, 0.2) if test == EXTEND_TEST else _inputs(case, 0.0, 1.0)
    try:
        actual = execute(kernel, case, inputs)["o"].astype(np.float64)
    except M890Error:
        return False
    expected = round_bf16(case.oracle(inputs).astype(np.float32)).astype(np.float64)
    if test == EXTEND_TEST:
        return bool(np.allclose(actual, expected, rtol=1e-2, atol=1e-8))
    if test == PREFILL_TEST:
        similar = _cosine(actual, expected) > 1 - 1e-5
        return similar and bool(np.allclose(actual, expected, rtol=1e-5, atol=1e-2))
    similar = _cosine(actual, expected) > 0.99
    return similar and bool(np.allclose(actual, expected, rtol=1e-5, atol=3e-2))


def _cosine(a: Array, b: Array) -> float:
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b)))
