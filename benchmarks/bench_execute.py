# ruff: noqa: E402 - the environment is set before NumPy is imported
"""Values and cycles of a kernel beside NumPy's own tiled flash attention, in one run.

8 heads, 1,024 tokens, d = 64, no mask: both together within 3 times NumPy's time. And values alone
of `attention_reference`, 64 x 64 blocks, on prefill-2048, beside NumPy's causal attention of the
same blocks: below NumPy's time in batches; processor time, one BLAS thread, item by item and in
batches.
Run: `python benchmarks/bench_execute.py` prints the ratios; `pytest benchmarks/bench_execute.py`
measures with pytest-benchmark.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # read when NumPy is imported
    os.environ.pop(_name, None)

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import m890sim
from m890sim.chip import get_chip
from m890sim.execute import FloatDomain, execute_kernel, one_blas_thread, run_kernel
from m890sim.language import load_kernel
from m890sim.timing import simulate_program
from m890sim.workloads import get_task, launch_arguments

TOKENS, HEADS, DIM = 1024, 8, 64
SYMBOLS = {"T": TOKENS, "H": HEADS, "D": DIM}
SCALE = DIM**-0.5
MOST_TIMES_NUMPY = 3.0
MOST_IN_BATCHES = 1.0  # times NumPy, on the reference
KERNELS = Path(m890sim.__file__).parent / "workloads" / "kernels"
KERNEL = load_kernel(Path(__file__).parent / "kernels" / "attention_dense.py")

Arrays = dict[str, Any]


def make_inputs() -> Arrays:
    """q, k, v: (tokens, heads, d), rounded to bf16."""
    rng = np.random.default_rng(0)
    shape = (TOKENS, HEADS, DIM)
    domain = FloatDomain()
    return {
        name: domain.lift(name, rng.standard_normal(shape, np.float32), "bf16") for name in "qkv"
    }


def numpy_flash_attention(q: Any, k: Any, v: Any, block: int = 128) -> Any:
    """The same algorithm, straightforward float32 NumPy."""
    out = np.empty_like(q)
    for head in range(q.shape[1]):
        for i in range(0, q.shape[0], block):
            queries = q[i : i + block, head]
            top = np.full((len(queries), 1), -np.inf, np.float32)
            total = np.zeros((len(queries), 1), np.float32)
            part = np.zeros_like(queries)
            for j in range(0, k.shape[0], block):
                scores = (queries @ k[j : j + block, head].T) * np.float32(SCALE)
                new_top = np.maximum(top, scores.max(axis=1, keepdims=True))
                weights = np.exp(scores - new_top)
                decay = np.exp(top - new_top)
                total = total * decay + weights.sum(axis=1, keepdims=True)
                part = part * decay + weights @ v[j : j + block, head]
                top = new_top
            out[i : i + block, head] = part / total
    return out


def values_and_cycles(inputs: Arrays) -> tuple[Any, int]:
    """The kernel's output and its cycles."""
    outputs = run_kernel(KERNEL, SYMBOLS, {}, {"scale": SCALE}, inputs)
    return outputs["o"], simulate_program(KERNEL, get_chip("m890"), SYMBOLS, {}).cycles


def fastest(*functions: Callable[[], Any], times: int = 9) -> list[float]:
    """Seconds of each function's fastest run; they take turns, so that a busy machine is fair."""
    seconds = [float("inf")] * len(functions)
    for _ in range(times):
        for n, function in enumerate(functions):
            start = time.perf_counter()
            function()
            seconds[n] = min(seconds[n], time.perf_counter() - start)
    return seconds


def measure(inputs: Arrays) -> tuple[float, float, float]:
    """Seconds of NumPy, of values alone, and of values and cycles."""
    values_and_cycles(inputs)  # compile and warm up
    numpy_seconds, values_seconds, both_seconds = fastest(
        lambda: numpy_flash_attention(**inputs),
        lambda: run_kernel(KERNEL, SYMBOLS, {}, {"scale": SCALE}, inputs),
        lambda: values_and_cycles(inputs),
    )
    return numpy_seconds, values_seconds, both_seconds


def numpy_causal_attention(q: Any, k: Any, v: Any, scale: float, block: int = 64) -> Any:
    """Causal flash attention, straightforward float32 NumPy; blocks above the diagonal skipped."""
    out = np.empty_like(q)
    group = q.shape[1] // k.shape[1]
    above = np.triu(np.ones((block, block), bool), 1)
    for head in range(q.shape[1]):
        for i in range(0, q.shape[0], block):
            queries = q[i : i + block, head]
            top = np.full((len(queries), 1), -np.inf, np.float32)
            total = np.zeros((len(queries), 1), np.float32)
            part = np.zeros_like(queries)
            for j in range(0, i + block, block):
                keys, values = k[j : j + block, head // group], v[j : j + block, head // group]
                scores = (queries @ keys.T) * np.float32(scale)
                if i == j:
                    scores[above] = -np.inf
                new_top = np.maximum(top, scores.max(axis=1, keepdims=True))
                weights = np.exp(scores - new_top)
                decay = np.exp(top - new_top)
                total = total * decay + weights.sum(axis=1, keepdims=True)
                part = part * decay + weights @ values
                top = new_top
            out[i : i + block, head] = part / total
    return out


def measure_reference(times: int = 5) -> list[float]:
    """Processor seconds on prefill-2048: NumPy, item by item, in batches; the fastest of each."""
    task = get_task("extend")
    case = next(case for case in task.cases if case.name == "prefill-2048")
    kernel = load_kernel(KERNELS / "attention_reference.py")
    given = case.make_inputs(0, "normal")
    launch = launch_arguments(kernel, case, given)
    q, k, v = (given[name] for name in "qkv")
    functions: list[Callable[[], Any]] = [
        lambda: numpy_causal_attention(q, k, v, given["scale"]),
        lambda: execute_kernel(kernel, *launch, batches=False).outputs["o"],
        lambda: execute_kernel(kernel, *launch).outputs["o"],
    ]
    seconds = [float("inf")] * len(functions)
    found: list[Any] = [None] * len(functions)
    with one_blas_thread():
        for _ in range(times):
            for n, function in enumerate(functions):
                start = time.process_time()
                found[n] = function()
                seconds[n] = min(seconds[n], time.process_time() - start)
    for values in found[1:]:
        assert np.linalg.norm(values - found[0]) <= 0.01 * np.linalg.norm(found[0])
    return seconds


def test_values_and_cycles(benchmark: Any) -> None:
    """Ours; the ratio to NumPy is in the benchmark's extra information."""
    inputs = make_inputs()
    expected = numpy_flash_attention(**inputs)
    actual, cycles = values_and_cycles(inputs)
    assert np.linalg.norm(actual - expected) <= 0.01 * np.linalg.norm(expected)
    assert cycles > 0
    benchmark(values_and_cycles, inputs)
    numpy_seconds, _, both_seconds = measure(inputs)
    benchmark.extra_info["times_numpy"] = round(both_seconds / numpy_seconds, 2)
    assert both_seconds <= MOST_TIMES_NUMPY * numpy_seconds


def test_numpy_flash_attention(benchmark: Any) -> None:
    """The yardstick."""
    inputs = make_inputs()
    benchmark(lambda: numpy_flash_attention(**inputs))


def test_reference_in_batches() -> None:
    """Processor time of the reference's values, beside NumPy's attention of the same blocks."""
    numpy_seconds, _, batched = measure_reference()
    assert batched <= MOST_IN_BATCHES * numpy_seconds


def main() -> None:
    """Print one line: milliseconds of NumPy, of values, of values and cycles, and the ratio."""
    numpy_seconds, values_seconds, both_seconds = measure(make_inputs())
    print(
        f"NumPy {numpy_seconds * 1e3:.1f} ms, values {values_seconds * 1e3:.1f} ms, values and "
        f"cycles {both_seconds * 1e3:.1f} ms: {both_seconds / numpy_seconds:.2f} times NumPy"
    )
    numpy_seconds, single, batched = measure_reference()
    print(
        f"attention_reference on prefill-2048: NumPy {numpy_seconds * 1e3:.0f} ms, item by item "
        f"{single * 1e3:.0f} ms ({single / numpy_seconds:.2f} times), in batches "
        f"{batched * 1e3:.0f} ms ({batched / numpy_seconds:.2f} times)"
    )


if __name__ == "__main__":
    main()
