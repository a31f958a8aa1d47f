# Decode attention, the expert: key heads in pairs, so that a token of both is one run of HBM; the query heads of a pair packed into rows;
# the cache split over the cores, loads two iterations ahead on four queues, softmax in one pass of the SFU; a merge phase.

from m890sim.lang import *


@kernel
def decode_expert(
    q: Tensor["B", "HQ", "D"],
    k_cache: Tensor["S", "HKV", "D"],
    v_cache: Tensor["S", "HKV", "D"],
    o: Tensor["B", "HQ", "D"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    max_length: Size,
    scale: Scalar,
    BK: Tunable = 128,
    HP: Tunable = 2,
    CORES: Tunable = 16,
    SHARE: Tunable = 1,
    MOST: Tunable = 64,
):
    G = HQ // HKV
    H = min(HP, HKV)  # key heads of an item
    W = ceil_div(HKV, H)
    ROWS = H * G
    # Tokens of a split: an even share of all, in whole blocks.
    LONG = max(BK, ceil_div(ceil_div(P * W, CORES * SHARE), BK) * BK, ceil_div(max_length, MOST))
    N = ceil_div(max_length, LONG)
    part = hbm(B, W, N, ROWS, D, f32)
    part_m = hbm(B, W, ROWS, N, f32)
    part_l = hbm(B, W, ROWS, N, f32)

    for x, b, w in cores(N, B, W, order="dynamic"):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        if x * LONG < length:
            h0 = w * H
            hs = min(H, HKV - h0)
            rows = hs * G
            end = min(length, x * LONG + LONG)
            qt = sram(HP * G, D, bf16)
            m = sram(HP * G, 1, f32)
            l = sram(HP * G, 1, f32)
            out = acc(HP * G, D)
            load(qt[:rows], q[b, h0 * G : h0 * G + rows, :], queue=2)
            fill(m[:rows], -inf)
            fill(l[:rows], 0.0)
            fill(out[:rows], 0.0)
            for j in range(x * LONG, end, BK):
                cols = min(BK, end - j)
                half = cols // 2
                a = start + j
                kt = sram(BK * HP, D, bf16, slots=3)
                vt = sram(BK * HP, D, bf16, slots=3)
                with stage(0):
                    load(kt[: half * hs], k_cache[kv_indices[a : a + half], h0 : h0 + hs, :])
                    load(
                        kt[half * hs : cols * hs],
                        k_cache[kv_indices[a + half : a + cols], h0 : h0 + hs, :],
                        queue=1,
                    )
                    load(
                        vt[: half * hs], v_cache[kv_indices[a : a + half], h0 : h0 + hs, :], queue=2
                    )
                    load(
                        vt[half * hs : cols * hs],
                        v_cache[kv_indices[a + half : a + cols], h0 : h0 + hs, :],
                        queue=3,
                    )
                with stage(2):
                    s = acc(HP * G, BK, slots=2)
                    mx = sram(HP * G, 1, f32)
                    mn = sram(HP * G, 1, f32)
                    nb = sram(HP * G, 1, f32)
                    al = sram(HP * G, 1, f32)
                    rs = sram(HP * G, 1, f32, at=15)
                    p = sram(HP * G, BK, bf16, slots=2, at=14)
                    for y in range(hs):
                        matmul(
                            s[y * G : y * G + G, :cols],
                            qt[y * G : y * G + G],
                            kt[y : cols * hs : hs].T,
                        )
                    row_max(mx[:rows], s[:rows, :cols])
                    max(mn[:rows], mx[:rows], m[:rows])
                    mul(nb[:rows], mn[:rows], -scale * LOG2E)
                    exp2(al[:rows], m[:rows], scale=scale * LOG2E, bias=nb[:rows])
                    exp2(
                        p[:rows, :cols],
                        s[:rows, :cols],
                        scale=scale * LOG2E,
                        bias=nb[:rows],
                        row_sum=rs[:rows],
                    )
                    copy(m[:rows], mn[:rows])
                    mul(out[:rows], out[:rows], al[:rows])
                    fma(l[:rows], l[:rows], al[:rows], rs[:rows])
                    for y in range(hs):
                        matmul(
                            out[y * G : y * G + G],
                            p[y * G : y * G + G, :cols],
                            vt[y : cols * hs : hs],
                            accumulate=True,
                        )
            if length <= LONG:
                ot = sram(HP * G, D, bf16)
                recip(l[:rows], l[:rows])
                mul(ot[:rows], out[:rows], l[:rows])
                store(o[b, h0 * G : h0 * G + rows, :], ot[:rows], queue=1)
            else:
                po = sram(HP * G, D, f32)
                copy(po[:rows], out[:rows])
                store(part_m[b, w, :rows, x : x + 1], m[:rows])
                store(part_l[b, w, :rows, x : x + 1], l[:rows], queue=2)
                store(part[b, w, x, :rows, :], po[:rows], queue=1)

    for b, w in cores(B, W, order="dynamic"):
        length = kv_indptr[b + 1] - kv_indptr[b]
        if length > LONG:
            h0 = w * H
            rows = min(H, HKV - h0) * G
            n = ceil_div(length, LONG)
            pm = sram(HP * G, MOST, f32)
            pl = sram(HP * G, MOST, f32)
            mm = sram(HP * G, 1, f32)
            total = sram(HP * G, 1, f32)
            res = acc(HP * G, D)
            load(pm[:rows, :n], part_m[b, w, :rows, :n])
            load(pl[:rows, :n], part_l[b, w, :rows, :n], queue=1)
            row_max(mm[:rows], pm[:rows, :n])
            mul(mm[:rows], mm[:rows], -scale * LOG2E)
            exp2(pm[:rows, :n], pm[:rows, :n], scale=scale * LOG2E, bias=mm[:rows])
            mul(pl[:rows, :n], pl[:rows, :n], pm[:rows, :n])
            row_sum(total[:rows], pl[:rows, :n])
            recip(total[:rows], total[:rows])
            mul(pm[:rows, :n], pm[:rows, :n], total[:rows])
            fill(res[:rows], 0.0)
            for x in range(n):
                pt = sram(HP * G, D, f32, slots=4)
                load(pt[:rows], part[b, w, x, :rows, :], queue=2)
                fma(res[:rows], pt[:rows], pm[:rows, x : x + 1], res[:rows])
            final = sram(HP * G, D, bf16)
            copy(final[:rows], res[:rows])
            store(o[b, h0 * G : h0 * G + rows, :], final[:rows], queue=3)
