# Flash attention.
from m890sim.lang import *

@kernel
def attention(q: Tensor["T", "HQ", "D"], k: Tensor["T", "HKV", "D"], v: Tensor["T", "HKV", "D"],
              o: Tensor["T", "HQ", "D"], scale: Scalar, BQ: Tunable = 128, BK: Tunable = 128):
    """Doc \\ "quoted" """
    G = HQ // HKV
    for h, i in cores(HQ, ceil_div(T, BQ), order="snake"):      # work items, spread over the cores
        rows = min(BQ, T - i * BQ)
        qt = sram(BQ, D, bf16)
        # running maximum
        m = sram(BQ, 1, f32); l = sram(BQ, 1, f32); out = acc(BQ, D)
        m2 = sram(BQ, 1, f32)
        alpha = sram(BQ, 1, f32)
        rs = sram(BQ, 1, f32)
        load(qt[:rows], q[i * BQ : i * BQ + rows, h, :])
        fill(m, -inf); fill(l, 0); fill(out, 0.0)
        for j in range(0, i * BQ + rows, BK):
            cols = min(BK, T - j)
            kt = sram(BK, D, bf16, slots=2)                     # declared in the loop: a new tile every iteration;
            vt = sram(BK, D, bf16, slots=2)                     # slots=2: two copies, so iterations can overlap
            s = acc(BQ, BK, slots=2)
            p = sram(BQ, BK, bf16)
            with stage(0):
                load(kt[:cols], k[j : j + cols, h // G, :], queue=0)
                load(vt[:cols], v[j : j + cols, h // G, :], queue=1)
                matmul(s[:rows, :cols], qt[:rows], kt[:cols].T)
            with stage(1):
                causal_mask(s[:rows, :cols], row=i * BQ, col=j)
                row_max(m2[:rows], s[:rows, :cols])
                max(m2[:rows], m2[:rows], m[:rows])
                sub(alpha[:rows], m[:rows], m2[:rows])
                exp(alpha[:rows], alpha[:rows], scale=scale)
                copy(m[:rows], m2[:rows])
                sub(s[:rows, :cols], s[:rows, :cols], m[:rows])
                exp2(p[:rows, :cols], # the probabilities
                     s[:rows, :cols],
                     # scaled
                     scale=scale * LOG2E, row_sum=rs[:rows], engine=vector)
                fma(l[:rows], l[:rows], alpha[:rows], rs[:rows])
                mul(out[:rows], out[:rows], alpha[:rows])
                matmul(out[:rows], p[:rows, :cols], vt[:cols], accumulate=True)
        # normalize
        recip(l[:rows], l[:rows])
        ot = sram(BQ, D, bf16)
        mul(ot[:rows], out[:rows], l[:rows])
        store(o[i * BQ : i * BQ + rows, h, :], ot[:rows], queue=3)
        # done
    # footer
