"""Flash attention in Triton, run by Triton's interpreter (TRITON_INTERPRET=1) on CPU tensors."""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is decorated, so before the import

import torch
import triton
import triton.language as tl
from protocol import BLOCK, measure, read_work


@triton.jit
def attention(
    q_pointer,
    k_pointer,
    v_pointer,
    o_pointer,
    scale,
    tokens,
    D: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """One program computes BM query rows of one head; tensors are [heads, tokens, D]."""
    start_m = tl.program_id(0) * BM
    base = tl.program_id(1) * tokens * D
    rows = start_m + tl.arange(0, BM)
    columns = tl.arange(0, D)
    inside = rows[:, None] < tokens
    q = tl.load(q_pointer + base + rows[:, None] * D + columns[None, :], mask=inside, other=0.0)
    largest = tl.full([BM], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BM], dtype=tl.float32)
    out = tl.zeros([BM, D], dtype=tl.float32)
    for start_n in range(0, tokens, BN):
        keys = start_n + tl.arange(0, BN)
        piece = base + keys[:, None] * D + columns[None, :]
        k = tl.load(k_pointer + piece, mask=keys[:, None] < tokens, other=0.0)
        v = tl.load(v_pointer + piece, mask=keys[:, None] < tokens, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * (scale * 1.4426950408889634)
        scores = tl.where(keys[None, :] < tokens, scores, float("-inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        p = tl.exp2(scores - larger[:, None])
        shrink = tl.exp2(largest - larger)
        total = total * shrink + tl.sum(p, 1)
        out = out * shrink[:, None] + tl.dot(p.to(v.dtype), v)
        largest = larger
    out = out / total[:, None]
    tl.store(o_pointer + base + rows[:, None] * D + columns[None, :], out, mask=inside)


def main() -> None:
    """Run the work in float32, or with --mode bf16 in bf16 as on a GPU."""
    work = read_work()
    dtype = torch.bfloat16 if work.mode == "bf16" else torch.float32
    q, k, v = (torch.from_numpy(x).to(dtype) for x in (work.q, work.k, work.v))
    grid = (triton.cdiv(work.tokens, BLOCK), work.heads)

    def call():
        o = torch.empty(q.shape, dtype=torch.float32)
        attention[grid](q, k, v, o, work.scale, work.tokens, D=work.d, BM=BLOCK, BN=BLOCK)
        return o.numpy()

    measure(work, call)


if __name__ == "__main__":
    main()
