"""Speed of the timing engine: `python -m pytest benchmarks/bench_engine.py -s`.

Prints millions of dispatched tile instructions a second on one core, attribution on, for a single
simulated core and for all 16, and the ratio to a fixed integer loop of numba that is timed in the
same run (machines differ and are noisy).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numba
import pytest

from m890sim.chip import CHIPS, ChipSpec
from m890sim.timing import simulate_program
from m890sim.workloads import load_kernel

KERNEL = Path(__file__).parent / "kernels" / "stages.py"
SYMBOLS = {"T": 16384, "HQ": 8, "HKV": 8, "D": 128}
M890 = CHIPS["m890"]
ONE_CORE = M890.replace(name="one core", cores=1)


@numba.njit("int64(int64)")  # type: ignore[untyped-decorator]
def _yardstick(n: int) -> int:
    """A linear congruential generator: one dependent multiply and add a step."""
    x = 1
    for _ in range(n):
        x = x * 6364136223846793005 + 1442695040888963407
    return x


# Processor time: on a shared machine the wall clock measures the neighbours.
@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("chip", [ONE_CORE, M890], ids=lambda chip: chip.name)
def test_instructions_a_second(benchmark: Any, chip: ChipSpec) -> None:
    kernel = load_kernel(KERNEL)
    simulate_program(kernel, chip, SYMBOLS | {"T": 128}, {})
    result = benchmark.pedantic(
        lambda: simulate_program(kernel, chip, SYMBOLS, {}), rounds=15, iterations=1
    )
    best = benchmark.stats.stats.min
    steps = 100_000_000
    _yardstick(1)
    start = time.process_time()
    _yardstick(steps)
    step_seconds = (time.process_time() - start) / steps
    print(
        f"\n{chip.name}: {result.instructions:,} instructions, best of 15: "
        f"{result.instructions / best / 1e6:.1f} million a second; "
        f"one instruction takes as long as "
        f"{best / result.instructions / step_seconds:.0f} multiply-adds in a row"
    )
