"""How much faster two workers are than one, and what a store saves; ratios of one run.

    python benchmarks/bench_scale.py

Each measurement is repeated and the least time of each side counts: other work on the machine only
ever adds. The files of both sides are compared, they must be the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from m890sim.agents.files import create
from m890sim.agents.optimize import optimize
from m890sim.agents.plan import Plan
from m890sim.bench.bench import bench
from m890sim.bench.protocol import Protocol
from m890sim.chip import get_chip
from m890sim.workloads import get_task

PROTOCOL = Protocol(("test",), ("matmul", "attention_head"), chips=6, seeds=2, budgets=(48,))
AGENTS = ["greedy", "annealing", "random-macro"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--evaluations", type=int, default=192)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        compared(
            f"m890 bench, {args.workers} workers to 1",
            args.repeats,
            lambda n: bench_with(place / f"one{n}", 1),
            lambda n: bench_with(place / f"more{n}", args.workers),
        )
        compared(
            f"m890 optimize extend --agent generations, {args.workers} workers to 1",
            args.repeats,
            lambda n: run_with(place / f"run-one{n}", args.evaluations, 1),
            lambda n: run_with(place / f"run-more{n}", args.evaluations, args.workers),
        )
        compared(
            "the same run with an empty store to none",
            args.repeats,
            lambda n: run_with(place / f"without{n}", args.evaluations, 1),
            lambda n: run_with(place / f"with{n}", args.evaluations, 1, place / f"store{n}"),
        )
        compared(
            "the same run with a store that knows it to none",
            args.repeats,
            lambda n: run_with(place / f"again{n}", args.evaluations, 1),
            lambda n: run_with(place / f"known{n}", args.evaluations, 1, place / "store0"),
        )


def compared(
    what: str, repeats: int, one: Callable[[int], bytes], other: Callable[[int], bytes]
) -> float:
    """Print how many times as fast the other side is."""
    times: list[list[float]] = [[], []]
    for number in range(repeats):
        found = []
        for side, call in enumerate((one, other)):
            begun = time.perf_counter()
            found.append(call(number))
            times[side].append(time.perf_counter() - begun)
        if found[0] != found[1]:
            sys.exit(f"{what}: the files differ")
    ratio = min(times[0]) / min(times[1])
    print(f"{what}: {ratio:.2f} times as fast, the files are the same", flush=True)
    return ratio


def bench_with(folder: Path, workers: int) -> bytes:
    """A small benchmark; the logs of its runs."""
    bench(folder, PROTOCOL, AGENTS, workers=workers)
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("evaluations.jsonl")))


def run_with(folder: Path, evaluations: int, workers: int, store: Path | None = None) -> bytes:
    """A run of evolution in generations on the preset; its log."""
    task = get_task("extend")
    plan = Plan(
        task, task.cases, get_chip("m890"), "generations", 3, evaluations, task.reference, 0
    )
    create(folder, plan.manifest())
    optimize(folder, workers=workers, store=store, picture=False)
    return (folder / "evaluations.jsonl").read_bytes()


if __name__ == "__main__":
    main()
