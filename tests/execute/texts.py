"""Kernel texts of these tests."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

import numpy as np

from m890sim.execute import round_to
from m890sim.kernel import ir
from m890sim.language import parse

HEAD = "from m890sim.lang import *\n\n\n@kernel\n"


def kernel_of(params: str, body: str) -> ir.Kernel:
    """A kernel named `f` in file `f.py`; its body starts in line 6."""
    return parse(f"{HEAD}def f({params}):\n{indent(dedent(body).strip(), '    ')}\n", "f.py")


def randoms(shape: tuple[int, ...], dtype: str = "f32", seed: int = 0) -> Any:
    """Normal numbers, rounded to a dtype."""
    return round_to(np.random.default_rng(seed).standard_normal(shape).astype(np.float32), dtype)


# Two phases: scores go through HBM scratch. Row blocks of the second phase read those of one head.
TWO_PHASES = kernel_of(
    'q: Tensor["T", "H", "D"], k: Tensor["T", "H", "D"], v: Tensor["T", "H", "D"], '
    'o: Tensor["T", "H", "D"], scale: Scalar, B: Tunable = 8',
    """
    s_all = hbm(H, T, T, f32)
    for h, i in cores(H, ceil_div(T, B), order="snake"):
        rows = min(B, T - i * B)
        qt = sram(B, D, bf16)
        load(qt[:rows], q[i * B : i * B + rows, h, :])
        for j in range(0, i * B + rows, B):
            cols = min(B, T - j)
            kt = sram(B, D, bf16, slots=2)
            s = acc(B, B, slots=2)
            st = sram(B, B, f32, slots=2)
            with stage(0):
                load(kt[:cols], k[j : j + cols, h, :])
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            with stage(1):
                mul(s[:rows, :cols], s[:rows, :cols], scale)
                causal_mask(s[:rows, :cols], row=i * B, col=j)
                copy(st[:rows, :cols], s[:rows, :cols])
                store(s_all[h, i * B : i * B + rows, j : j + cols], st[:rows, :cols])
    for h, i in cores(H, ceil_div(T, B)):
        rows = min(B, T - i * B)
        seen = i * B + rows
        st = sram(B, T, f32)
        p = sram(B, T, bf16)
        m = sram(B, 1, f32)
        l = sram(B, 1, f32)
        vt = sram(T, D, bf16)
        out = acc(B, D)
        ot = sram(B, D, bf16)
        load(st[:rows, :seen], s_all[h, i * B : i * B + rows, :seen])
        row_max(m[:rows], st[:rows, :seen])
        sub(st[:rows, :seen], st[:rows, :seen], m[:rows])
        exp(p[:rows, :seen], st[:rows, :seen], row_sum=l[:rows])
        load(vt[:seen], v[:seen, h, :])
        matmul(out[:rows], p[:rows, :seen], vt[:seen])
        div(ot[:rows], out[:rows], l[:rows])
        store(o[i * B : i * B + rows, h, :], ot[:rows])
    """,
)


def attention(q: Any, k: Any, v: Any, scale: float) -> Any:
    """Causal attention in float64, shapes (tokens, heads, d)."""
    scores = np.einsum("ihd,jhd->hij", q.astype(np.float64), k.astype(np.float64)) * scale
    scores = np.where(np.tri(q.shape[0], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", weights, v.astype(np.float64))
