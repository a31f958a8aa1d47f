"""Speed and memory of the suite: `python benchmarks/bench_suite.py [--memory]`.

All times are processor time on one core, with mask and observation.

- reset: a draw of a new task, shapes and chip, and the first observation, over episodes 1 to 40 of
  seed 0 of each task alone; the reference is timed on every case.
- step: the mean over walks of random legal macro actions with a memory that knows nothing of the
  episode, without the functional gate; beside it the same on the fixed macro id of the task.

--memory: resident memory of a process after 10,000 steps over 500 draws, in place of the times.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from typing import Any

from m890_envs import MACRO, KernelEditEnv, SuiteEnv
from m890sim.session import Memory
from m890sim.session.suite import TASKS

RESETS = 40
WALKS, STEPS = 8, 48  # of the suite; the fixed id has as many steps
FIXED = {"attention_head": "M890/AttentionHeadMacro-v0", "extend": "M890/PrefillMacro-v0"}
DRAWS, STEPS_A_DRAW = 500, 20


def resets(task: str) -> list[float]:
    """Seconds of each reset to a new episode."""
    env, found = SuiteEnv(tasks=task, memory=Memory()), []
    env.reset(seed=0)
    for _ in range(RESETS):
        begin = time.process_time()
        env.reset()
        found.append(time.process_time() - begin)
    return found


def step(env: KernelEditEnv, seed: int, walks: int, steps: int) -> float:
    """Seconds a step of walks, each from a reset."""
    rng, seconds, count = random.Random(seed), 0.0, 0
    for number in range(walks):
        _, info = env.reset(seed=seed if number == 0 else None)
        for _ in range(steps):
            action = rng.choice(info["action_mask"].nonzero()[0][1:].tolist())
            begin = time.process_time()
            _, _, terminated, truncated, info = env.step(action)
            seconds += time.process_time() - begin
            count += 1
            if terminated or truncated:
                break
    return seconds / count


def fixed_step(task: str, seed: int) -> float | None:
    """The same on the fixed macro id of a task, with an empty memory for each walk; None: no id."""
    title = "".join(word.capitalize() for word in task.split("_"))
    name = FIXED.get(task, f"M890/{title}Macro-v0")
    if name not in MACRO:
        return None
    arguments = {**MACRO[name], "verify": "never", "horizon": None, "budget": None}
    walks = [
        step(KernelEditEnv(**arguments, memory=Memory()), seed + number, 1, STEPS)
        for number in range(WALKS)
    ]
    return statistics.fmean(walks)


def memory() -> None:
    """Resident megabytes at the end, and the most there were, as Linux says."""
    env, rng = SuiteEnv(horizon=STEPS_A_DRAW, budget=None), random.Random(0)
    steps = 0
    for draw in range(DRAWS):
        _, info = env.reset(seed=0 if draw == 0 else None)
        for _ in range(STEPS_A_DRAW):
            legal: Any = info["action_mask"].nonzero()[0][1:]
            info = env.step(int(rng.choice(legal)) if len(legal) else 0)[4]
            steps += 1
            if not len(legal):
                break
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    now, most = (int(lines[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM"))
    print(f"{steps:,} steps over {DRAWS} draws: {now} MB resident, {most} MB at most")


def main() -> None:
    """Print the table."""
    print(f"{'task':<16}{'reset: median':>14}{'mean':>8}{'most':>8}{'step':>12}{'fixed id':>12}")
    resets("vector_add")  # modules, compiled code
    for task in TASKS:
        found = sorted(1e3 * seconds for seconds in resets(task))
        env = SuiteEnv(tasks=task, verify="never", horizon=None, budget=None, memory=Memory())
        own, other = 1e3 * step(env, 1, WALKS, STEPS), fixed_step(task, 1)
        beside = "-" if other is None else f"{1e3 * other:.1f} ms"
        median, mean = statistics.median(found), statistics.fmean(found)
        print(
            f"{task:<16}{median:>11.0f} ms{mean:>5.0f} ms{found[-1]:>5.0f} ms"
            f"{own:>9.1f} ms{beside:>12}"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["--memory"]:
        memory()
    elif sys.argv[1:]:
        sys.exit("usage: python benchmarks/bench_suite.py [--memory]")
    else:
        main()
