"""The gate catches wrong kernels: the references' texts with one mistake each."""

from __future__ import annotations

import pytest

from m890sim import evaluate, parse
from m890sim.kernel.ir import Kernel
from m890sim.workloads import DISTRIBUTIONS, KERNELS, AttentionCase, Case, get_task

EXTEND_CASE = AttentionCase("mutants", "extend", (200, 0, 5), (150, 65, 1), 4, 2, 64, 4, True)
DECODE_CASE = AttentionCase(
    "mutants-decode", "decode", (200, 1, 64, 131), (1,) * 4, 8, 2, 64, 4, True
)


def mutant(kernel: str, changes: list[tuple[str, str]]) -> Kernel:
    """A built-in kernel with every `old` of the changes replaced by its `new`."""
    text = KERNELS[kernel].text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse(text)


SCORES = "s[:rows, :cols], s[:rows, :cols]"
CACHE = "kv_indices[start + j : start + j + cols]"

# what is wrong -> replacements in attention_reference
EXTEND_MISTAKES = {
    "no causal mask": [("causal_mask(s[:rows, :cols], row=i * BQ, col=j)", "fence()")],
    "mask one key late": [("row=i * BQ, col=j", "row=i * BQ + 1, col=j")],
    "mask one key early": [("row=i * BQ, col=j", "row=i * BQ, col=j + 1")],
    "mean of V": [(f"mul({SCORES}, scale)", f"mul({SCORES}, 0.0)")],
    "unscaled logits": [(f"mul({SCORES}, scale)", f"mul({SCORES}, 1.0)")],
    "scale twice": [(f"mul({SCORES}, scale)", f"mul({SCORES}, scale * scale)")],
    "no prefix": [("range(0, prefix, BK)", "range(0, 0, BK)")],
    "no tail of the prefix": [("range(0, prefix, BK)", "range(0, prefix // BK * BK, BK)")],
    "no first block of the prefix": [("range(0, prefix, BK)", "range(BK, prefix, BK)")],
    "no first key": [("range(0, prefix, BK)", "range(1, prefix, BK)")],
    "no new tokens": [("range(0, i * BQ + rows, BK)", "range(0, 0, BK)")],
    "no diagonal block": [("range(0, i * BQ + rows, BK)", "range(0, i * BQ, BK)")],
    "no first new block": [
        ("range(0, i * BQ + rows, BK)", "range(min(i, 1) * BK, i * BQ + rows, BK)")
    ],
    "pages ignored": [(CACHE, "start + j : start + j + cols")],
    "pages of another sequence": [(CACHE, "kv_indices[j : j + cols]")],
    "V of another sequence": [(f"v_cache[{CACHE}", "v_cache[kv_indices[j : j + cols]")],
    "keys of another sequence": [("k[first + j : first + j + cols", "k[j : j + cols")],
    "wrong head of a group": [("h // G", "h % HKV")],
    "no maximum": [("row_max(new_m[:rows], s[:rows, :cols])", "fill(new_m[:rows], 0.0)")],
    "output not rescaled": [("mul(out[:rows], out[:rows], alpha[:rows])", "fence()")],
    "sum not rescaled": [("fma(l[:rows], l[:rows], alpha[:rows],", "add(l[:rows], l[:rows],")],
    "not divided": [("div(ot[:rows], out[:rows], l[:rows])", "copy(ot[:rows], out[:rows])")],
    "scores in bf16": [
        ("s = acc(BQ, BK)", "s = acc(BQ, BK)\n            n = sram(BQ, BK, bf16)"),
        (
            "sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])",
            "copy(n[:rows, :cols], s[:rows, :cols])\n"
            "                sub(s[:rows, :cols], n[:rows, :cols], new_m[:rows])",
        ),
    ],
    "last rows not stored": [
        (
            "store(o[first + i * BQ : first + i * BQ + rows, h, :], ot[:rows])",
            "store(o[first + i * BQ : first + i * BQ + rows - 1, h, :], ot[:rows - 1])",
        )
    ],
    "half a row": [("h, :], ot[:rows])", "h, :32], ot[:rows, :32])")],
}

# what is wrong -> replacements in decode_reference
DECODE_MISTAKES = {
    "mean of V": [("mul(s[:, :cols], s[:, :cols], scale)", "mul(s[:, :cols], s[:, :cols], 0.0)")],
    "unscaled logits": [("s[:, :cols], scale)", "s[:, :cols], 1.0)")],
    "no tail": [("range(0, length, BK)", "range(0, length // BK * BK, BK)")],
    "no last key": [("= kv_indptr[b + 1] - start", "= max(1, kv_indptr[b + 1] - start - 1)")],
    "no first key": [("range(0, length, BK)", "range(min(1, length - 1), length, BK)")],
    "pages ignored": [(CACHE, "start + j : start + j + cols")],
    "pages of another sequence": [(CACHE, "kv_indices[j : j + cols]")],
    "wrong head of a group": [("h // G", "h % HKV")],
    "no maximum": [("row_max(new_m, s[:, :cols])", "fill(new_m, 0.0)")],
    "output not rescaled": [("mul(out, out, alpha)", "fence()")],
    "heads not stored": [("store(o[b, h, :], ot)", "if h > 0:\n            store(o[b, h, :], ot)")],
}

# Wrong only where values are extreme: seen in these distributions alone.
ONLY_IN = {"no maximum": "large_maxima"}


def check_caught(kernel: Kernel, case: Case, mistake: str) -> None:
    evaluation = evaluate(kernel, case.task, cases=[case])
    (result,) = evaluation.cases
    assert not evaluation.correct
    assert evaluation.speedup == result.speedup == 1.0
    assert result.cycles is not None
    assert result.error > 0.02  # twice the tolerance: no mistake hides near it
    if mistake in ONLY_IN:
        assert f"distribution {ONLY_IN[mistake]!r}" in result.message


@pytest.mark.parametrize("mistake", EXTEND_MISTAKES)
def test_gate_catches_a_wrong_extend_kernel(mistake):
    kernel = mutant("attention_reference", EXTEND_MISTAKES[mistake])
    check_caught(kernel, EXTEND_CASE, mistake)


@pytest.mark.parametrize("mistake", DECODE_MISTAKES)
def test_gate_catches_a_wrong_decode_kernel(mistake):
    kernel = mutant("decode_reference", DECODE_MISTAKES[mistake])
    check_caught(kernel, DECODE_CASE, mistake)


@pytest.mark.parametrize(
    "mistake", ["no first key", "no first block of the prefix", "mask one key late"]
)
def test_gate_catches_small_mistakes_on_a_long_case(mistake):
    case = get_task("extend").case("extend-1920+128")
    kernel = mutant("attention_reference", EXTEND_MISTAKES[mistake])
    assert not evaluate(kernel, "extend", cases=[case]).correct


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("attention_reference", EXTEND_CASE),
        ("attention_textbook", EXTEND_CASE),
        ("decode_reference", DECODE_CASE),
    ],
)
def test_gate_passes_the_right_kernel_by_a_wide_margin(name, case):
    (result,) = evaluate(name, case.task, cases=[case]).cases
    assert result.correct
    assert result.message == ""
    assert 0.0005 < result.error < 0.006
    # All distributions in full.
    assert result.rows_checked == len(DISTRIBUTIONS) * case.output_shape[0] * case.output_shape[1]
