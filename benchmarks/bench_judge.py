"""What judging costs, in seconds of processor time on one core, beside NumPy's own attention.

    python benchmarks/bench_judge.py [--optimize]

Prints one line a job: the quick gate of a search, all public gates, cases of real size with the
share of rows that was looked at. --optimize adds the whole run `m890 optimize extend` (seed 0).
Inputs are not kept between jobs, so that each pays for its own. Ratios are against NumPy's flash
attention of prefill-2048 in blocks of 64 (benchmarks/bench_execute.py), timed in the same run.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # they slow a current NumPy
    os.environ.pop(name, None)

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from bench_execute import numpy_causal_attention

from m890sim import KernelSession, evaluate, get_task
from m890sim.agents.plan import gate_settings
from m890sim.cli import main as m890
from m890sim.execute import one_blas_thread
from m890sim.judge import Evaluation, check
from m890sim.judge.gate_inputs import Store
from m890sim.workloads import AttentionCase

LENGTHS = tuple(int(3072 ** (i * 77 % 128 / 127)) for i in range(128))  # log-uniform, mixed
DECODE_128 = AttentionCase(
    "decode-128", "decode", LENGTHS, (1,) * 128, 32, 8, 128, 16, True, "128 sequences"
)
PREFILL_4096 = AttentionCase("prefill-4096", "extend", (0,), (4096,), 32, 8, 128)


def numpy_attention() -> None:
    """Causal flash attention of prefill-2048 in float32, blocks of 64."""
    inputs = get_task("extend").case("prefill-2048").make_inputs(0)
    numpy_causal_attention(inputs["q"], inputs["k"], inputs["v"], inputs["scale"])


def seconds(job: Callable[[], object]) -> float:
    """Processor time of a job that begins with nothing kept."""
    check.STORE = Store(check.STORE.most_bytes)
    start = time.process_time()
    job()
    return time.process_time() - start


def shown(found: Evaluation) -> str:
    """Right or wrong, and the least share of rows of a case."""
    verdict = "right" if found.correct else "WRONG"
    return f"{verdict}, {min(case.share for case in found.cases):.1%} of all rows"


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimize", action="store_true", help="time `m890 optimize extend` too")
    args = parser.parse_args()
    evaluate("attention_head_expert", "attention_head", rows=1)  # compiles
    with one_blas_thread():
        yardstick = min(seconds(numpy_attention) for _ in range(3))
    print(f"NumPy's flash attention of prefill-2048: {yardstick:.2f} s, the unit of the ratios")

    def line(what: str, job: Callable[[], Evaluation]) -> None:
        kept: list[Evaluation] = []
        took = seconds(lambda: kept.append(job()))
        print(f"{what}: {took:.2f} s, {took / yardstick:.1f} times NumPy, {shown(kept[0])}")

    for task, first, kernel in (
        ("attention_head", "attention_head_reference", "attention_head_expert"),
        ("extend", "attention_reference", "attention_expert"),
    ):
        session = KernelSession(task, verify="always", **gate_settings())
        session.load(first)
        session.evaluate()  # the inputs are known from here on, as in a search
        session.load(kernel)
        start = time.process_time()
        entry = session.evaluate()
        verdict = "right" if entry.correct else "WRONG"
        print(f"{kernel}, quick gate and timing: {time.process_time() - start:.3f} s, {verdict}")
    line("attention_expert, all public gates", lambda: evaluate("attention_expert", "extend"))
    line("decode_expert, all public gates", lambda: evaluate("decode_expert", "decode"))
    line(
        "decode_expert, 128 sequences, 32/8 heads",
        lambda: evaluate("decode_expert", "decode", cases=[DECODE_128]),
    )
    line(
        "attention_expert, prefill of 4,096 tokens, 32/8 heads",
        lambda: evaluate("attention_expert", "extend", cases=[PREFILL_4096]),
    )
    if args.optimize:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "run")
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                took = seconds(lambda: m890(["optimize", "extend", "--seed", "0", "--out", out]))
        print(f"m890 optimize extend --seed 0: {took:.1f} s, {took / yardstick:.1f} times NumPy")


if __name__ == "__main__":
    sys.exit(main())
