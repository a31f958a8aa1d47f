"""The same attention on the simulated chip: values and cycles in one call (kernels/attention.py).

With --mode gemm:M,N,K[;M,N,K...] it counts plain GEMMs on one core instead (kernels/gemm.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from protocol import emit, measure, read_work

from m890sim.chip import M890
from m890sim.execute import run_kernel
from m890sim.kernel.ir import Instr, walk
from m890sim.language import load_kernel
from m890sim.timing import simulate_program

KERNELS = Path(__file__).parent / "kernels"


def count_gemm(m: int, n: int, k: int) -> dict[str, float]:
    """One GEMM on one core: cycles of the matrix unit and of the whole kernel, and the error.

    `matrix_unit` is how long the unit was busy, and the latency of its last instruction; `load`
    the part in which no row streams. In bf16 a row takes a cycle.
    """
    kernel = load_kernel(KERNELS / "gemm.py")
    chip = M890.replace(cores=1)
    symbols = {"M": m, "N": n, "K": k}
    timing = simulate_program(kernel, chip, symbols, {}, trace=True)
    ops = [node.op for node in walk(kernel.body) if isinstance(node, Instr)]
    trace = np.asarray(timing.trace)
    matmuls = trace[[ops[number] == "matmul" for number in trace[:, 2]]]
    start, busy_end, ready = matmuls[:, 4], matmuls[:, 5], matmuls[:, 6]
    busy = int((busy_end - start).sum())
    blocks = -(-n // chip.matrix_columns) * -(-k // chip.matrix_rows)

    random = np.random.default_rng(0)
    a, b = (random.integers(-8, 9, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    values = run_kernel(kernel, symbols, {}, {}, {"a": a, "b": b})["c"]
    exact = a.astype(np.float64) @ b
    return {
        "matrix_unit": busy + int((ready - busy_end)[-1]),
        "load": busy - m * blocks,
        "whole_kernel": int(timing.cycles),
        "error": float(np.abs(values - exact).max() / np.abs(exact).max()),
    }


def main() -> None:
    """Run the work in bf16 with fp32 sums, the chip's own arithmetic."""
    work = read_work()
    if work.mode.startswith("gemm:"):
        shapes = [[int(x) for x in part.split(",")] for part in work.mode[5:].split(";")]
        emit("gemms", gemms=[count_gemm(*shape) for shape in shapes])
        return
    kernel = load_kernel(KERNELS / "attention.py")
    symbols = {"H": work.heads, "T": work.tokens, "D": work.d}
    tensors = {"q": work.q, "k": work.k, "v": work.v}
    cycles = 0

    def call() -> np.ndarray:
        nonlocal cycles
        outputs = run_kernel(kernel, symbols, {}, {"scale": work.scale}, tensors)
        cycles = int(simulate_program(kernel, M890, symbols, {}).cycles)
        return outputs["o"]

    measure(work, call, lambda: {"cycles": cycles})


if __name__ == "__main__":
    main()
