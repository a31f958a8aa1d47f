"""What an environment's step costs that nothing remembers: the edit, the legal edits, the timing.

Random edits from a kernel on; CartPole-v1's step, measured in the same run, is the yardstick.
Run: `python benchmarks/bench_edits.py` prints a table; `pytest benchmarks/bench_edits.py` measures
with pytest-benchmark. Both measure the legal edits of a kernel never seen (cold), of one after a
random edit of a known one (after an edit), the edit itself (apply), and the edited kernel's timing
on one case (bind and simulate). Times are processor time, means over random edits; cold is the
least of five.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import gymnasium
import pytest

from m890sim.chip import get_chip
from m890sim.errors import BindError
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import legal_edits, rewrite
from m890sim.schedule.core.memo import forget
from m890sim.schedule.core.tree import sites
from m890sim.session import context_of
from m890sim.workloads import Case, Task, get_task, load_kernel, simulate

# Task -> milliseconds aimed at for an edit, the legal edits after it, and the timing of one case.
MOST_MILLISECONDS = {"vector_add": 0.5, "row_softmax": 0.5, "extend": 3.0}
CHIP = get_chip("m890")
STEPS = 120
WALK = 8  # edits from the reference before going back to it

T = TypeVar("T")


@dataclass(frozen=True)
class Costs:
    """Milliseconds, means over random edits."""

    statements: int
    edits: int  # legal ones of the reference
    cold: float
    after_edit: float
    apply: float
    timing: float

    @property
    def step(self) -> float:
        """An edit, the legal edits after it, and its timing."""
        return self.after_edit + self.apply + self.timing


def timed(times: list[float], function: Callable[..., T], *arguments: Any) -> T:
    """The function's result; its milliseconds of processor time are added to `times`."""
    start = time.process_time()
    result = function(*arguments)
    times.append(1e3 * (time.process_time() - start))
    return result


def cart_pole_milliseconds(steps: int = 20_000) -> float:
    """Milliseconds of one step of CartPole-v1."""
    env = gymnasium.make("CartPole-v1")
    env.reset(seed=0)
    start = time.process_time()
    for number in range(steps):
        _, _, terminated, truncated, _ = env.step(number & 1)
        if terminated or truncated:
            env.reset()
    return 1e3 * (time.process_time() - start) / steps


def smallest_case(task: Task) -> Case:
    """The case that is simulated: that with the least work."""
    return min(task.cases, key=lambda case: case.work)


def time_case(kernel: Kernel, case: Case) -> None:
    """Bind and simulate; a kernel that does not fit counts too."""
    with contextlib.suppress(BindError):
        simulate(kernel, case, CHIP)


def measure(task: Task, steps: int = STEPS) -> Costs:
    """What a step from the task's reference on costs."""
    reference, case, context = (
        load_kernel(task.reference_name),
        smallest_case(task),
        context_of(task, CHIP),
    )
    time_case(reference, case)  # compile
    colds: list[float] = []
    for _ in range(5):
        forget()
        copy = parse(print_kernel(reference))  # new nodes: nothing is known of them
        timed(colds, legal_edits, copy, context)
    rng = random.Random(0)
    first = legal_edits(reference, context)
    kernel, edits = reference, first
    afters: list[float] = []
    applies: list[float] = []
    timings: list[float] = []
    for step in range(steps):
        if step % WALK == 0 or not edits:
            kernel, edits = reference, first
        kernel = timed(applies, rewrite, kernel, rng.choice(edits), context)
        edits = timed(afters, legal_edits, kernel, context)
        timed(timings, time_case, kernel, case)
    return Costs(
        statements=sum(1 for _ in sites(reference)),
        edits=len(first),
        cold=min(colds),
        after_edit=statistics.fmean(afters),
        apply=statistics.fmean(applies),
        timing=statistics.fmean(timings),
    )


@pytest.mark.parametrize("name", MOST_MILLISECONDS)
def test_step_that_nothing_remembers(benchmark: Any, name: str) -> None:
    """An edit of the reference, the legal edits after it, and the timing of one case."""
    task = get_task(name)
    costs = measure(task)
    yardstick = cart_pole_milliseconds()
    case, context = smallest_case(task), context_of(task, CHIP)
    reference = load_kernel(task.reference_name)
    edits = iter(random.Random(1).choices(legal_edits(reference, context), k=1_000_000))

    def step() -> None:
        kernel = rewrite(reference, next(edits), context)
        legal_edits(kernel, context)
        time_case(kernel, case)

    benchmark(step)
    benchmark.extra_info["milliseconds"] = round(costs.step, 3)
    benchmark.extra_info["times_cart_pole"] = round(costs.step / yardstick, 1)
    benchmark.extra_info["aimed_at_milliseconds"] = MOST_MILLISECONDS[name]


def main() -> None:
    """Print one line a task."""
    yardstick = cart_pole_milliseconds()
    print(f"CartPole-v1: {yardstick * 1e3:.1f} us a step. Below: milliseconds.")
    head = ("task", "statements", "edits", "cold", "after edit", "apply", "timing", "step", "aim")
    print("".join(f"{word:>12}" for word in (*head, "x CartPole")))
    for name, most in MOST_MILLISECONDS.items():
        costs = measure(get_task(name))
        numbers = (costs.cold, costs.after_edit, costs.apply, costs.timing, costs.step)
        print(
            f"{name:>12}{costs.statements:>12}{costs.edits:>12}"
            + "".join(f"{number:>12.3f}" for number in numbers)
            + f"{most:>12.1f}{costs.step / yardstick:>12.1f}"
        )


if __name__ == "__main__":
    main()
