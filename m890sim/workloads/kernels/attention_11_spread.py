# Extend attention, step 11: an item for each core. Where tiles of 128 rows would leave cores
# without work, tiles get fewer rows.

from m890sim.lang import *


@kernel
def attention_11_spread(
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
    # Rows of a query tile: fewer where there would not be a tile for each core.
    R = min(BQ // G * G, ceil_div(ceil_div(T * HQ, CORES), G) * G)
    N = ceil_div(max_extend * G, R)

    for turn, b, h in cores(N, B, HKV, order="dynamic"):
        i = N - 1 - turn  # the tiles with most keys first
        first = qo_indptr[b]
        length = (qo_indptr[b + 1] - first) * G  # rows: G query heads a token, side by side in HBM
        if i * R < length:
            start = kv_indptr[b]
            prefix = kv_indptr[b + 1] - start
            rows = min(R, length - i * R)
            t0 = i * R // G  # the tile's first token, and the one after its last
            t1 = t0 + rows // G
            qt = sram(BQ, D, bf16)
            ot = sram(BQ, D, bf16)
            m = sram(BQ, 1, f32)  # running maximum of each row
            l = sram(BQ, 1, f32)  # running sum
            new_m = sram(BQ, 1, f32)
            bias = sram(BQ, 1, f32)
            alpha = sram(BQ, 1, f32)
            block_l = sram(BQ, 1, f32)
            out = acc(BQ, D)
            load(qt[:rows], q[first + t0 : first + t1, h * G : h * G + G, :], queue=2)
            fill(m[:rows], -inf)
            fill(l[:rows], 0.0)
            fill(out[:rows], 0.0)
            blocks = ceil_div(prefix, BK)  # of the prefix; those of the new tokens follow
            for n in range(blocks + ceil_div(t1, BK)):
                j = (n - blocks) * BK  # the block's first new token; negative in the prefix
                cols = (n < blocks) * min(BK, prefix - n * BK) + (n >= blocks) * min(BK, t1 - j)
                half = cols // 2
                kt = sram(BK, D, bf16, slots=2)
                vt = sram(BK, D, bf16, slots=2)
                s = acc(BQ, BK, slots=2)
                p = sram(BQ, BK, bf16, slots=2)
                with stage(0):
                    if n < blocks:
                        a = start + n * BK
                        load(kt[:half], k_cache[kv_indices[a : a + half], h, :])
                        load(kt[half:cols], k_cache[kv_indices[a + half : a + cols], h, :], queue=1)
                        load(vt[:half], v_cache[kv_indices[a : a + half], h, :], queue=2)
                        load(vt[half:cols], v_cache[kv_indices[a + half : a + cols], h, :], queue=3)
                    else:
                        a = first + j
                        load(kt[:half], k[a : a + half, h, :])
                        load(kt[half:cols], k[a + half : a + cols, h, :], queue=1)
                        load(vt[:half], v[a : a + half, h, :], queue=2)
                        load(vt[half:cols], v[a + half : a + cols, h, :], queue=3)
                    matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
                with stage(1):
                    if j + cols - 1 > t0:
                        causal_mask(s[:rows, :cols], row=t0, col=j, group=G)
                    row_max(new_m[:rows], s[:rows, :cols])
                    max(new_m[:rows], new_m[:rows], m[:rows])
                    mul(bias[:rows], new_m[:rows], -scale * LOG2E)
                    exp2(alpha[:rows], m[:rows], scale=scale * LOG2E, bias=bias[:rows])
                    exp2(
                        p[:rows, :cols],
                        s[:rows, :cols],
                        scale=scale * LOG2E,
                        bias=bias[:rows],
                        row_sum=block_l[:rows],
                    )
                    mul(out[:rows], out[:rows], alpha[:rows])
                    matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
                    fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                    copy(m[:rows], new_m[:rows])
            recip(l[:rows], l[:rows])
            mul(ot[:rows], out[:rows], l[:rows])
            store(o[first + t0 : first + t1, h * G : h * G + G, :], ot[:rows], queue=3)
