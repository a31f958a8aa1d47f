# Extend attention, the expert: query heads of a group packed into rows, two query tiles in ping-pong over the same keys,
# loads two iterations ahead on four queues, softmax in one pass of the SFU, masks on the diagonal only, heavy items first.
# While the SFU works on one tile, the matrix unit and the vector unit prepare the other one.

from m890sim.lang import *


@kernel
def attention_expert(
    q: Tensor["T", "HQ", "D"],
    k: Tensor["T", "HKV", "D"],
    v: Tensor["T", "HKV", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["T", "HQ", "D"],
    qo_indptr: Table["B + 1"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    max_extend: Size,
    scale: Scalar,
    BQ: Tunable = 128,
    BK: Tunable = 128,
    CORES: Tunable = 16,
):
    G = HQ // HKV
    # Rows of a query tile: smaller where there would not be an item for each core.
    R = min(BQ, ceil_div(ceil_div(T * HQ, 2 * CORES), G) * G)
    N = ceil_div(max_extend * G, 2 * R)

    for turn, b, h in cores(N, B, HKV, order="dynamic"):
        i = N - 1 - turn  # heavy items first
        first = qo_indptr[b]
        total = (qo_indptr[b + 1] - first) * G  # rows of this sequence and key head
        if i * 2 * R < total:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows0 = min(R, total - i * 2 * R)
            rows1 = max(0, min(R, total - i * 2 * R - R))
            t0 = i * 2 * R // G  # position of tile 0's first row; of tile 1's; their ends
            t1 = t0 + rows0 // G
            e1 = t1 + rows1 // G
            NP = ceil_div(prefix, BK)  # blocks of the prefix, then blocks of new tokens
            N0 = NP + ceil_div(t1, BK)
            N1 = NP + ceil_div(e1, BK)
            q0 = sram(BQ, D, bf16)
            p0 = sram(BQ, BK, bf16)
            m0 = sram(BQ, 1, f32)
            l0 = sram(BQ, 1, f32)
            mx0 = sram(BQ, 1, f32)
            mn0 = sram(BQ, 1, f32)
            nb0 = sram(BQ, 1, f32)
            al0 = sram(BQ, 1, f32)
            rs0 = sram(BQ, 1, f32, at=15)
            s0 = acc(BQ, BK)
            out0 = acc(BQ, D)
            q1 = sram(BQ, D, bf16)
            p1 = sram(BQ, BK, bf16)
            m1 = sram(BQ, 1, f32)
            l1 = sram(BQ, 1, f32)
            mx1 = sram(BQ, 1, f32)
            mn1 = sram(BQ, 1, f32)
            nb1 = sram(BQ, 1, f32)
            al1 = sram(BQ, 1, f32)
            rs1 = sram(BQ, 1, f32, at=15)
            s1 = acc(BQ, BK)
            out1 = acc(BQ, D)
            load(q0[:rows0], q[first + t0 : first + t1, h * G : h * G + G, :], queue=2)
            load(q1[:rows1], q[first + t1 : first + e1, h * G : h * G + G, :], queue=3)
            fill(m0[:rows0], -inf)
            fill(l0[:rows0], 0.0)
            fill(out0[:rows0], 0.0)
            fill(m1[:rows1], -inf)
            fill(l1[:rows1], 0.0)
            fill(out1[:rows1], 0.0)
            for n in range(N1 + 1):
                # Block n: its position j among the new tokens, its keys (all, and for each tile), and those of block n - 1.
                j = (n - NP) * BK
                cols = (n < NP) * min(BK, prefix - n * BK) + (n >= NP) * max(0, min(BK, e1 - j))
                c0 = (n < NP) * cols + (n >= NP) * max(0, min(BK, t1 - j))
                c1 = cols
                prev = (n <= NP) * min(BK, prefix - n * BK + BK) + (n > NP) * max(0, min(BK, e1 - j + BK))
                d0 = (n <= NP) * prev + (n > NP) * max(0, min(BK, t1 - j + BK))
                d1 = prev
                kt = sram(BK, D, bf16, slots=3)
                vt = sram(BK, D, bf16, slots=3)
                with stage(0):
                    if n < NP:
                        at = start + n * BK
                        x = cols // 2
                        load(kt[:x], k_cache[kv_indices[at : at + x], h, :])
                        load(kt[x:cols], k_cache[kv_indices[at + x : at + cols], h, :], queue=1)
                    elif n < N1:
                        at = first + j
                        x = cols // 2
                        load(kt[:x], k[at : at + x, h, :])
                        load(kt[x:cols], k[at + x : at + cols, h, :], queue=1)
                    if n > 0 and n <= NP:
                        at = start + n * BK - BK
                        x = prev // 2
                        load(vt[:x], v_cache[kv_indices[at : at + x], h, :], queue=2)
                        load(vt[x:prev], v_cache[kv_indices[at + x : at + prev], h, :], queue=3)
                    elif n > 0:
                        at = first + j - BK
                        x = prev // 2
                        load(vt[:x], v[at : at + x, h, :], queue=2)
                        load(vt[x:prev], v[at + x : at + prev, h, :], queue=3)
                with stage(2):
                    if n < N0:
                        matmul(s0[:rows0, :c0], q0[:rows0], kt[:c0].T)
                    if n > 0 and n <= N0:
                        matmul(out0[:rows0], p0[:rows0, :d0], vt[:d0], accumulate=True)
                    if n < N0:
                        if n >= NP and j + c0 - 1 > t0:
                            causal_mask(s0[:rows0, :c0], row=t0, col=j, group=G)
                        row_max(mx0[:rows0], s0[:rows0, :c0])
                        max(mn0[:rows0], mx0[:rows0], m0[:rows0])
                        mul(nb0[:rows0], mn0[:rows0], -scale * LOG2E)
                        exp2(al0[:rows0], m0[:rows0], scale=scale * LOG2E, bias=nb0[:rows0])
                        exp2(
                            p0[:rows0, :c0],
                            s0[:rows0, :c0],
                            scale=scale * LOG2E,
                            bias=nb0[:rows0],
                            row_sum=rs0[:rows0],
                        )
                        copy(m0[:rows0], mn0[:rows0])
                        mul(out0[:rows0], out0[:rows0], al0[:rows0])
                    if n > 0 and rows1 > 0:
                        fma(l1[:rows1], l1[:rows1], al1[:rows1], rs1[:rows1])
                    if n < N1 and rows1 > 0:
                        matmul(s1[:rows1, :c1], q1[:rows1], kt[:c1].T)
                    if n > 0 and n <= N1 and rows1 > 0:
                        matmul(out1[:rows1], p1[:rows1, :d1], vt[:d1], accumulate=True)
                    if n < N1 and rows1 > 0:
                        if n >= NP and j + c1 - 1 > t1:
                            causal_mask(s1[:rows1, :c1], row=t1, col=j, group=G)
                        row_max(mx1[:rows1], s1[:rows1, :c1])
                        max(mn1[:rows1], mx1[:rows1], m1[:rows1])
                        mul(nb1[:rows1], mn1[:rows1], -scale * LOG2E)
                        exp2(al1[:rows1], m1[:rows1], scale=scale * LOG2E, bias=nb1[:rows1])
                        exp2(
                            p1[:rows1, :c1],
                            s1[:rows1, :c1],
                            scale=scale * LOG2E,
                            bias=nb1[:rows1],
                            row_sum=rs1[:rows1],
                        )
                        copy(m1[:rows1], mn1[:rows1])
                        mul(out1[:rows1], out1[:rows1], al1[:rows1])
                    if n < N0:
                        fma(l0[:rows0], l0[:rows0], al0[:rows0], rs0[:rows0])
            o0 = sram(BQ, D, bf16)
            recip(l0[:rows0], l0[:rows0])
            mul(o0[:rows0], out0[:rows0], l0[:rows0])
            store(o[first + t0 : first + t1, h * G : h * G + G, :], o0[:rows0])
            o1 = sram(BQ, D, bf16)
            recip(l1[:rows1], l1[:rows1])
            mul(o1[:rows1], out1[:rows1], l1[:rows1])
            store(o[first + t1 : first + e1, h * G : h * G + G, :], o1[:rows1], queue=1)
