# Causal attention of one head, the expert: all keys and values stay in SRAM, and a block of queries
# sees all its keys at once, so that there is no running maximum and nothing to rescale. Blocks go
# through four stages: load, scores, softmax in one pass of the SFU, weighted sum and quotient. The
# block with most keys comes first, so that the last one, with nothing beside it, is short.
# What is not loaded, stored or multiplied lies in ACC, which has no banks to share.
# Where the keys and values do not fit, blocks of keys go by, with a running maximum.

from m890sim.lang import *


@kernel
def attention_head_expert(
    q: Tensor["T", "D"],
    k: Tensor["T", "D"],
    v: Tensor["T", "D"],
    o: Tensor["T", "D"],
    scale: Scalar,
    BQ: Tunable = 64,
    QUEUES: Tunable = 4,
    SRAM: Tunable = 432000,
    ACC: Tunable = 260000,
):
    # Queries of a block: as many as fit ACC beside their scores.
    B0 = max(1, min(BQ, ACC // (12 * T + 8 * D + 64)))
    N = ceil_div(T, B0)
    B = ceil_div(T, N)
    # Whether all keys fit. The tiles of the other way have no rows.
    ALL = B0 >= min(BQ, 12) and 4 * T * D + B * (10 * D + 4 * T) <= SRAM
    KEYS = ALL * T
    BLOCK = (1 - ALL) * max(8, min(BQ, 8192 // D))

    for core in cores(1):
        kt = sram(KEYS, D, bf16)
        vt = sram(KEYS, D, bf16)
        one = KEYS // 4
        two = KEYS // 2
        three = KEYS - one
        load(kt[:one], k[:one, :])
        load(kt[one:two], k[one:two, :], queue=1)
        load(kt[two:three], k[two:three, :], queue=2 % QUEUES)
        load(kt[three:], k[three:KEYS, :], queue=3 % QUEUES)
        load(vt[:two], v[:two, :])
        load(vt[two:], v[two:KEYS, :], queue=1)
        for turn in range(N * ALL):
            i = N - 1 - turn
            first = i * B
            rows = min(B * ALL, KEYS - first)
            end = first + rows
            qt = sram(B * ALL, D, bf16, slots=3)
            p = sram(B * ALL, KEYS, bf16, slots=2)
            ot = sram(B * ALL, D, bf16, slots=2)
            m = acc(B * ALL, 1, slots=2)
            bias = acc(B * ALL, 1, slots=2)
            l = acc(B * ALL, 1, slots=3)
            r = acc(B * ALL, 1, slots=3)
            s = acc(B * ALL, KEYS, slots=3)
            out = acc(B * ALL, D, slots=2)
            with stage(0):
                load(qt[:rows], q[first:end, :], queue=2 % QUEUES)
            with stage(1):
                matmul(s[:rows, :end], qt[:rows], kt[:end].T)
            with stage(2):
                causal_mask(s[:rows, first:end], row=first, col=first)
                row_max(m[:rows], s[:rows, :end])
                mul(bias[:rows], m[:rows], -scale * LOG2E)
                exp2(
                    p[:rows, :end],
                    s[:rows, :end],
                    scale=scale * LOG2E,
                    bias=bias[:rows],
                    row_sum=l[:rows],
                )
                recip(r[:rows], l[:rows])
            with stage(3):
                matmul(out[:rows], p[:rows, :end], vt[:end])
            with stage(4):
                mul(ot[:rows], out[:rows], r[:rows])
                store(o[first:end, :], ot[:rows], queue=1)
        for i in range(ceil_div(T * (1 - ALL), max(1, BLOCK))):
            start = i * BLOCK
            count = min(BLOCK, T - start)
            q1 = sram(BLOCK, D, bf16, slots=2)
            o1 = sram(BLOCK, D, bf16)
            m1 = acc(BLOCK, 1)  # running maximum
            l1 = acc(BLOCK, 1)  # running sum
            out1 = acc(BLOCK, D)
            load(q1[:count], q[start : start + count, :])
            fill(m1[:count], -inf)
            fill(l1[:count], 0.0)
            fill(out1[:count], 0.0)
            for n in range(i + 1):
                j = n * BLOCK
                cols = min(BLOCK, T - j)
                k1 = sram(BLOCK, D, bf16, slots=3)
                v1 = sram(BLOCK, D, bf16, slots=3)
                s1 = acc(BLOCK, BLOCK, slots=2)
                p1 = sram(BLOCK, BLOCK, bf16)
                new_m = acc(BLOCK, 1)
                bias1 = acc(BLOCK, 1)
                alpha = acc(BLOCK, 1)
                block_l = acc(BLOCK, 1)
                with stage(0):
                    load(k1[:cols], k[j : j + cols, :], queue=2 % QUEUES)
                    load(v1[:cols], v[j : j + cols, :], queue=3 % QUEUES)
                with stage(1):
                    matmul(s1[:count, :cols], q1[:count], k1[:cols].T)
                with stage(2):
                    if n == i:
                        causal_mask(s1[:count, :cols], row=start, col=j)
                    row_max(new_m[:count], s1[:count, :cols])
                    max(new_m[:count], new_m[:count], m1[:count])
                    mul(bias1[:count], new_m[:count], -scale * LOG2E)
                    exp2(alpha[:count], m1[:count], scale=scale * LOG2E, bias=bias1[:count])
                    exp2(
                        p1[:count, :cols],
                        s1[:count, :cols],
                        scale=scale * LOG2E,
                        bias=bias1[:count],
                        row_sum=block_l[:count],
                    )
                    fma(l1[:count], l1[:count], alpha[:count], block_l[:count])
                    mul(out1[:count], out1[:count], alpha[:count])
                    matmul(out1[:count], p1[:count, :cols], v1[:cols], accumulate=True)
                    copy(m1[:count], new_m[:count])
            recip(l1[:count], l1[:count])
            mul(o1[:count], out1[:count], l1[:count])
            store(o[start : start + count, :], o1[:count], queue=1)
