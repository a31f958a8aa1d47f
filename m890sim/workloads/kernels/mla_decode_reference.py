# Decode attention over a compressed cache (MLA, absorbed), the reference: 16 heads of a sequence an
# item, 32 tokens a block, online softmax, one queue, one slot, and a fence after each step. The
# latent part of a token is its value too, so that it is loaded once.

from m890sim.lang import *


@kernel
def mla_decode_reference(
    q_latent: Tensor["B", "HQ", "L"],
    q_rope: Tensor["B", "HQ", "R"],
    latent: Tensor["S", "L"],
    rope: Tensor["S", "R"],
    o: Tensor["B", "HQ", "L"],
    kv_indptr: Table["B + 1"],
    kv_indices: Table["P"],
    most_tokens: Size,
    scale: Scalar,
    BH: Tunable = 16,
    BK: Tunable = 32,
):
    for b, i in cores(B, ceil_div(HQ, BH)):
        start = kv_indptr[b]
        length = kv_indptr[b + 1] - start
        rows = min(BH, HQ - i * BH)
        ql = sram(BH, L, bf16)
        qr = sram(BH, R, bf16)
        kl = sram(BK, L, bf16)
        kr = sram(BK, R, bf16)
        p = sram(BH, BK, bf16)
        m = sram(BH, 1, f32)  # running maximum of each head
        l = sram(BH, 1, f32)  # running sum
        new_m = sram(BH, 1, f32)
        alpha = sram(BH, 1, f32)
        block_l = sram(BH, 1, f32)
        s = acc(BH, BK)
        out = acc(BH, L)
        load(ql[:rows], q_latent[b, i * BH : i * BH + rows, :])
        fence()
        load(qr[:rows], q_rope[b, i * BH : i * BH + rows, :])
        fence()
        fill(m[:rows], -inf)
        fill(l[:rows], 0.0)
        fill(out[:rows], 0.0)
        fence()
        for j in range(0, length, BK):
            cols = min(BK, length - j)
            load(kl[:cols], latent[kv_indices[start + j : start + j + cols], :])
            fence()
            load(kr[:cols], rope[kv_indices[start + j : start + j + cols], :])
            fence()
            matmul(s[:rows, :cols], ql[:rows], kl[:cols].T)
            fence()
            matmul(s[:rows, :cols], qr[:rows], kr[:cols].T, accumulate=True)
            fence()
            mul(s[:rows, :cols], s[:rows, :cols], scale)
            fence()
            row_max(new_m[:rows], s[:rows, :cols])
            max(new_m[:rows], new_m[:rows], m[:rows])
            fence()
            sub(alpha[:rows], m[:rows], new_m[:rows])
            fence()
            exp(alpha[:rows], alpha[:rows])
            fence()
            sub(s[:rows, :cols], s[:rows, :cols], new_m[:rows])
            fence()
            exp(p[:rows, :cols], s[:rows, :cols])
            fence()
            row_sum(block_l[:rows], p[:rows, :cols])
            fma(l[:rows], l[:rows], alpha[:rows], block_l[:rows])
            fence()
            mul(out[:rows], out[:rows], alpha[:rows])
            fence()
            matmul(out[:rows], p[:rows, :cols], kl[:cols], accumulate=True)
            fence()
            copy(m[:rows], new_m[:rows])
            fence()
        div(ql[:rows], out[:rows], l[:rows])
        fence()
        store(o[b, i * BH : i * BH + rows, :], ql[:rows])
        fence()
