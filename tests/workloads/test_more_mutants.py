"""The further tasks: each named mistake in a reference is judged wrong on the public cases."""

from __future__ import annotations

import pytest

import m890sim
from m890sim.kernel import print_kernel
from m890sim.workloads.more import MORE

ROPE = """            matmul(s[:rows, :cols], qr[:rows], kr[:cols].T, accumulate=True)
            fence()
"""
LATENT = """            matmul(s[:rows, :cols], ql[:rows], kl[:cols].T)
            fence()
            matmul(s[:rows, :cols], qr[:rows], kr[:cols].T, accumulate=True)
"""
MASKED = "fma(s[:rows, :cols], s[:rows, :cols], scale, bias[:rows, :cols])"
UNMASKED = "mul(s[:rows, :cols], s[:rows, :cols], scale)"

MUTANTS = {
    "swiglu": {
        "another sigmoid": [("scale=-1.0", "scale=-1.702")],
        "gate in the place of up": [("ut[:rows])", "gt[:rows])")],
    },
    "rms_rope": {
        "rotated the other way": [
            ("sub(s[:rows], s[:rows], t[:rows])", "add(s[:rows], s[:rows], t[:rows])")
        ],
        "eps left out": [("bias=eps", "bias=0.0")],
        "mean of one half": [
            ("add(m[:rows], m[:rows], n[:rows])", "add(m[:rows], m[:rows], m[:rows])")
        ],
    },
    "grouped_gemm": {
        "every offset but the ends off by one": [
            ("first = offsets[e] + i * BM", "first = offsets[e] - min(e, 1) + i * BM"),
            ("if first < offsets[e + 1]:", "if first < offsets[e + 1] - (e < E - 1):"),
            (
                "rows = min(BM, offsets[e + 1] - first)",
                "rows = min(BM, offsets[e + 1] - (e < E - 1) - first)",
            ),
        ],
        "the next expert's matrix": [("w[e, k", "w[min(e + 1, E - 1), k")],
        "the last block of the inner dimension left out": [
            ("range(0, K, BK)", "range(0, max(1, K - BK), BK)")
        ],
        "sums overwritten": [(", accumulate=True", "")],
    },
    "window_attention": {
        "a window of one more": [("window=window)", "window=window + 1)")],
        "a window of one less": [("window=window)", "window=window - 1)")],
        "no window": [("window=window)", "window=most_tokens)"), ("i * BQ - window + 1", "0 * i")],
        "a first block skipped": [("i * BQ - window + 1)", "i * BQ - window + 1 + BK)")],
        "sink left out": [("if has_sinks:", "if has_sinks > 1:")],
        "sink in the maximum alone": [("fill(l[:rows], 1.0)", "fill(l[:rows], 0.0)")],
        "sink of another head": [("sinks[h]", "sinks[(h + 1) % HQ]")],
        "cap left out": [("if has_cap:", "if has_cap > 1:")],
        "cap before the scale": [("scale=scale / cap", "scale=1.0 / cap")],
        "cap always": [("if has_cap:", "if has_cap < 2:")],
    },
    "mla_decode": {
        "rope part left out": [(ROPE, "")],
        "latent part left out of the logits": [
            (LATENT, LATENT.split("fence()\n", 1)[1].replace(", accumulate=True", ""))
        ],
        "pages left out": [
            (
                "latent[kv_indices[start + j : start + j + cols], :]",
                "latent[start + j : start + j + cols, :]",
            )
        ],
        "a last block of one token left out": [
            ("range(0, length, BK)", "range(0, max(1, length - 1), BK)")
        ],
        "another head's query": [("q_rope[b, i * BH : i * BH + rows, :]", "q_rope[b, 0:rows, :]")],
    },
    "tree_attention": {
        "mask ignored": [(MASKED, UNMASKED)],
        "every earlier token seen": [
            (MASKED, UNMASKED + "\n            causal_mask(s[:rows, :cols], row=i * BQ, col=j)")
        ],
        "ancestors ignored": [
            (
                MASKED,
                UNMASKED
                + "\n            causal_mask(s[:rows, :cols], row=i * BQ, col=j)"
                + "\n            window_mask(s[:rows, :cols], row=i * BQ, col=j, window=1)",
            )
        ],
        "parent ignored": [
            (
                "mask[b, i * BQ : i * BQ + rows, j : j + cols]",
                "mask[b, i * BQ : i * BQ + rows, max(0, j - 1) : max(0, j - 1) + cols]",
            )
        ],
        "a mask of -10,000": [("1e+30", "1e+04")],
        "another sequence's mask": [("mask[b, ", "mask[(b + 1) % B, ")],
        "the last cached token left out": [
            ("range(0, prefix, BK)", "range(0, prefix - 1, BK)"),
            ("cols = min(BK, prefix - j)", "cols = min(BK, prefix - 1 - j)"),
        ],
        "group of heads left out": [
            ("k[b, j : j + cols, h // G, :]", "k[b, j : j + cols, h % HKV, :]")
        ],
    },
}
ALL = [(task, fault) for task, faults in MUTANTS.items() for fault in faults]


def test_every_further_task_has_mutants():
    assert MUTANTS.keys() == set(MORE)


@pytest.mark.parametrize(("name", "fault"), ALL)
def test_mutant_is_judged_wrong(name, fault):
    task = m890sim.get_task(name)
    text = print_kernel(task.reference)
    for old, new in MUTANTS[name][fault]:
        assert old in text
        text = text.replace(old, new)
    found = m890sim.evaluate(m890sim.parse(text), task, rows=24)
    assert not found.correct, fault
