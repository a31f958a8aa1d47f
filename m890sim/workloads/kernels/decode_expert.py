# Decode attention, the expert: step 12 of the ladder, stream-K. The keys of all sequences lie on
# one line, once for each group of key heads, and every core gets an even piece of it, wherever
# that cuts a sequence; a merge joins what was cut. Each sequence pays a toll on the line: short
# ones cost more than their keys. The groups of a sequence run through one pipeline, so that loads
# do not wait for the results of the group before. Where no core would have much more to do,
# nothing is cut. Otherwise as step 11: query heads packed into rows, key heads in pairs so that
# runs are long, loads two iterations and scores one ahead on four queues, softmax in one pass of
# the SFU.

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
    TOLL: Tunable = 192,
    LEAST: Tunable = 2048,
):
    G = HQ // HKV
    H = min(HP, HKV, max(1, 32 // G))  # key heads of an item
    W = ceil_div(HKV, H)
    # Tokens of a block: slots of two banks at most, and room for queries, weights and results.
    ROOM = (480000 - 4 * HQ * D - 8 * H * G * D) // (12 * H * D + 4 * H * G)
    KB = min(BK, max(16, min(32768 // (D * H), ROOM) // 16 * 16))
    # Whole sequences to the cores, or the line of all keys cut anywhere.
    WHOLE = max_length * ceil_div(B * W, CORES) <= ceil_div(P * W, CORES) + LEAST
    CUT = 1 - WHOLE
    # The toll of a sequence; where they stay whole, all take the same space on the line.
    C = WHOLE * max_length + CUT * TOLL * (B * W > CORES)
    # What a core gets of the line; how many can have part in one sequence.
    SHARE = WHOLE * max_length * ceil_div(B * W, CORES) + CUT * ceil_div((P + B * C) * W, CORES)
    N = min(CORES, max_length // SHARE + 2)
    part = hbm(B, HQ, N, D, f32)
    part_m = hbm(B, HQ, N, 1, f32)
    part_l = hbm(B, HQ, N, 1, f32)

    for core in cores(CORES):
        lo = core * SHARE
        hi = lo + SHARE
        for b in range(B):
            start = kv_indptr[b]
            end = kv_indptr[b + 1]
            base = (start * CUT + b * C) * W
            length = end - start
            space = length * CUT + C
            if base < hi and base + space * W > lo:
                # The core's tokens of the sequence, from ... to, and their blocks.
                head = max(0, lo - base)
                to = min(space * W, hi - base)
                blocks = ceil_div(length, KB)
                w0 = head // space
                w1 = to // space
                r0 = head - w0 * space
                r1 = to - w1 * space
                n0 = w0 * blocks + min(blocks, r0 // KB + (r0 >= length))
                n1 = w1 * blocks + min(blocks, ceil_div(r1, KB))
                qt = sram(HQ, D, bf16, slots=2)
                m = sram(H * G, 1, f32)  # running maximum
                l = sram(H * G, 1, f32)  # running sum
                new_m = sram(H * G, 1, f32)
                bias = sram(H * G, 1, f32)
                alpha = sram(H * G, 1, f32)
                block_l = sram(H * G, 1, f32)
                po = sram(H * G, D, f32)
                out = acc(H * G, D)
                f0 = w0 * H * G
                f1 = min(HQ, ceil_div(to, space) * H * G)
                load(qt[f0:f1], q[b, f0:f1, :], queue=2)
                for n in range(n0, n1):
                    w = n // blocks
                    j = (n - w * blocks) * KB
                    g = w * space
                    t0 = max(j, head - g)
                    t1 = min(j + KB, length, to - g)
                    cols = t1 - t0
                    h = w * H  # the first key head; how many; rows of their query heads
                    hs = min(H, HKV - h)
                    rows = hs * G
                    half = cols // 2
                    split = half * hs
                    last = cols * hs
                    a = start + t0
                    c = a + half
                    e = a + cols
                    opens = n == n0 or j == 0
                    kt = sram(KB * H, D, bf16, slots=3)
                    vt = sram(KB * H, D, bf16, slots=3)
                    s = acc(H * G, KB, slots=2)
                    p = sram(H * G, KB, bf16, slots=2)
                    with stage(0):
                        load(kt[:split], k_cache[kv_indices[a:c], h : h + hs, :])
                        load(kt[split:last], k_cache[kv_indices[c:e], h : h + hs, :], queue=1)
                        if n > n0:
                            load(vt[:split], v_cache[kv_indices[a:c], h : h + hs, :], queue=2)
                            load(vt[split:last], v_cache[kv_indices[c:e], h : h + hs, :], queue=3)
                        else:
                            load(vt[:last], v_cache[kv_indices[a:e], h : h + hs, :], queue=2)
                    with stage(1):
                        for y in range(hs):
                            f = (h + y) * G
                            matmul(s[y * G : y * G + G, :cols], qt[f : f + G], kt[y:last:hs].T)
                    with stage(2):
                        if opens:
                            row_max(m[:rows], s[:rows, :cols])
                            mul(bias[:rows], m[:rows], -scale * LOG2E)
                            exp2(
                                p[:rows, :cols],
                                s[:rows, :cols],
                                scale=scale * LOG2E,
                                bias=bias[:rows],
                                row_sum=l[:rows],
                            )
                            for y in range(hs):
                                matmul(
                                    out[y * G : y * G + G],
                                    p[y * G : y * G + G, :cols],
                                    vt[y:last:hs],
                                )
                        else:
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
                            for y in range(hs):
                                matmul(
                                    out[y * G : y * G + G],
                                    p[y * G : y * G + G, :cols],
                                    vt[y:last:hs],
                                    accumulate=True,
                                )
                            fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
                            copy(m[:rows], new_m[:rows])
                        f = h * G
                        if t1 == length and g >= head:
                            ot = sram(H * G, D, bf16, slots=2)
                            recip(l[:rows], l[:rows])
                            mul(ot[:rows], out[:rows], l[:rows])
                            store(o[b, f : f + rows, :], ot[:rows], queue=3)
                        elif t1 == length or n == n1 - 1:
                            x = core - (base + g) // SHARE
                            copy(po[:rows], out[:rows])
                            store(part_m[b, f : f + rows, x, :], m[:rows], queue=3)
                            store(part_l[b, f : f + rows, x, :], l[:rows], queue=3)
                            store(part[b, f : f + rows, x, :], po[:rows], queue=3)

    # Merge: a split weighs 2 ** (its maximum - the largest of all), as a share of the sum.
    for b, h in cores(B * CUT, HQ, order="cyclic"):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        first = (start * CUT + b * C) * W + h // G // H * (length * CUT + C)
        x0 = first // SHARE
        x1 = (first + length - 1) // SHARE
        if x0 < x1:
            n = x1 - x0 + 1
            pt = sram(N, D, f32, slots=2)
            weight = sram(N, 1, f32, slots=2)
            pl = sram(N, 1, f32, slots=2)
            largest = sram(1, 1, f32)
            total = sram(1, 1, f32)
            final = sram(1, D, bf16, slots=2)
            load(weight[:n], part_m[b, h, :n, :])
            load(pl[:n], part_l[b, h, :n, :], queue=1)
            load(pt[:n], part[b, h, :n, :], queue=2)
            col_max(largest, weight[:n])
            mul(largest, largest, -scale * LOG2E)
            exp2(weight[:n], weight[:n], scale=scale * LOG2E, bias=largest)
            mul(pl[:n], pl[:n], weight[:n])
            col_sum(total, pl[:n])
            recip(total, total)
            mul(weight[:n], weight[:n], total)
            mul(pt[:n], pt[:n], weight[:n])
            col_sum(final, pt[:n])
            store(o[b, h, :], final, queue=3)
