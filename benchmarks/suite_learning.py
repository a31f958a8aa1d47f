"""What training on drawn chips brings on chips that no training saw, at equal evaluations.

    python benchmarks/suite_learning.py [--policies DIR] [--cells 6] [--evaluations 150] [--no-runs]

Every policy `ppo-*.npz` of the folder (`benchmarks/train_suite.py`) plays in every cell of the
split: a task, a case and a chip, `--cells` for each task. Once as a search of so many evaluations
(`PolicyAgent`), and in `--episodes` single episodes from the reference. Beside each trained policy
plays its frozen twin, whose inputs always are the mean of what the policy saw in 12 episodes on
training chips: one score for each action, whatever the kernel and the chip, so that what reading
them brings is the difference. Runs are appended to the CSV file as they end; those that it has are
not done again. At last page and plot are written; `--no-runs` writes them from the runs that there
are. Needs no torch.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning.curves import read_curves
from learning.runs import Run, append_run, read_runs, setting_of
from learning.suite_report import draw, write_page

from m890_envs import FlatMaskedObservation, SuiteEnv, exact
from m890_envs.policies import Policy, PolicyAgent, load_policy
from m890_envs.policy import FLAT
from m890sim.agents import Dice, run_agent
from m890sim.errors import M890Error
from m890sim.session import KernelSession, Memory
from m890sim.session.suite import RULE, Episode, Suite
from m890sim.timing import TIMING_VERSION

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("vector_add", "row_softmax", "matmul", "attention_head")
FROZEN_EPISODES = 12
GATE = {"verify": "gains", "rows": 8}


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--policies", type=Path, default=ROOT / "envs" / "m890_envs" / "trained")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--cells", type=int, default=6, help="of each task")
    parser.add_argument("--evaluations", type=int, default=150, help="of a search")
    parser.add_argument("--episodes", type=int, default=2, help="from the reference, in each cell")
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "suite_learning.csv")
    parser.add_argument("--training", type=Path, default=ROOT / "docs" / "suite_training.csv")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "suite_learning.md")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "suite_learning.svg")
    parser.add_argument("--no-runs", action="store_true", help="write page and plot alone")
    options = parser.parse_args()
    if min(options.cells, options.evaluations) < 1 or options.episodes < 0:
        parser.error("--cells and --evaluations must be at least 1, --episodes at least 0")
    return options


def main() -> int:
    """Do the runs that are missing, then write page and plot."""
    options = parse_options()
    console = Console(highlight=False)
    try:
        return _main(options, console)
    except (M890Error, ValueError) as error:
        console.print(f"suite_learning: {error}", markup=False, soft_wrap=True)
        return 2


def _main(options: argparse.Namespace, console: Console) -> int:
    paths = sorted(options.policies.glob("ppo-*.npz"))
    if not paths:
        raise ValueError(f"there is no policy in {options.policies}; run benchmarks/train_suite.py")
    policies = [load_policy(path) for path in paths]
    policies += [frozen(policy) for policy in policies if policy.trained and policy.fields]
    suite = Suite(options.split, TASKS, cases=1)
    cells = [
        suite.draw(0, number, {"task": task}) for number in range(options.cells) for task in TASKS
    ]
    known = {run.key: run for run in read_runs(options.csv)}
    jobs = [
        (cell, policy, seed, evaluations)
        for cell in cells
        for policy in policies
        for evaluations, seeds in ((options.evaluations, 1), (policy.horizon, options.episodes))
        for seed in range(seeds)
    ]
    missing = [job for job in jobs if key_of(*job) not in known]
    console.print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are in {options.csv.name}")
    if not options.no_runs:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            bar = progress.add_task("runs", total=len(missing))
            for job in missing:
                run = perform(*job)
                append_run(options.csv, run)
                known[run.key] = run
                progress.advance(bar)
    runs = [known[key] for key in (key_of(*job) for job in jobs) if key in known]
    if not runs:
        raise ValueError(f"{options.csv} has no run of these cells and policies")
    curves = read_curves(options.training)
    options.left = len(jobs) - len(runs)
    draw(runs, curves, options.plot)
    command = shlex.join(["python", "benchmarks/suite_learning.py", *sys.argv[1:]])
    write_page(runs, policies, curves, command, options, console)
    return 0


def frozen(policy: Policy) -> Policy:
    """The policy that has the same scores everywhere: those of the mean of what it saw."""
    seen: list[np.ndarray] = []
    env = FlatMaskedObservation(
        SuiteEnv("train", TASKS, cases=1, horizon=policy.horizon, budget=None, **GATE),
        policy.fields,
    )
    dice = Dice(0)
    for number in range(FROZEN_EPISODES):
        found, info = env.reset(seed=0) if number == 0 else env.reset()
        ended = False
        while not ended:
            seen.append(found)
            action = policy.choose(found, info["action_mask"], dice)
            found, _, terminated, truncated, info = env.step(action)
            ended = terminated or truncated
    scores = policy.scores(exact.on_grid(np.mean(np.array(seen, dtype=np.float64), axis=0)))
    layers = [(np.zeros((0, policy.actions)), scores)]
    name = policy.name.replace("ppo", "frozen")
    return replace(policy, layers=layers, fields=(), name=name)


def key_of(cell: Episode, policy: Policy, seed: int, evaluations: int) -> tuple[object, ...]:
    """What tells a run from others, as `Run.key` does."""
    setting = setting_of([TIMING_VERSION, RULE, policy.id, sorted(GATE.items())])
    return name_of(cell), agent_of(policy), seed, evaluations, setting


def name_of(cell: Episode) -> str:
    """Task, chip and case in one text."""
    return "@".join((cell.task_name, cell.chip_name, *cell.options["cases"]))


def agent_of(policy: Policy) -> str:
    """The name of the policy's agent."""
    return PolicyAgent(policy).name


@lru_cache(1)
def memory_of(_cell: str) -> Memory:
    """What runs of one cell share: it saves time and changes no result."""
    return Memory(states=3000)


def perform(cell: Episode, policy: Policy, seed: int, evaluations: int) -> Run:
    """One run: an episode where the evaluations are the policy's horizon, else a search."""
    begin = time.process_time()
    # Weights that were never trained are all but the same for every seed of a training: with the
    # same dice they would do the same too.
    dice = seed + 1000 * int(policy.provenance.get("seed") or 0)
    session = KernelSession(
        cell.task,
        cell.cases,
        cell.chip,
        budget=evaluations,
        memory=memory_of(name_of(cell)),
        **GATE,
    )
    if evaluations == policy.horizon:
        spent, curve = episode(cell, policy, dice)
    else:
        run_agent(PolicyAgent(policy), session, dice)
        spent, curve = session.spent, [(1, 1.0)]
        best = None
        for entry in session.log:
            if entry.accepted and (best is None or entry.speedup > best):
                best = entry.speedup
                curve.append((entry.index + 1, max(1.0, best)))
    report = session.report()["cases"][0]
    name, agent, seed, evaluations, setting = key_of(cell, policy, seed, evaluations)
    return Run(
        task=name,
        agent=agent,
        seed=seed,
        evaluations=evaluations,
        setting=setting,
        spent=spent,
        speedup=round(curve[-1][1], 6),
        found_at=curve[-1][0],
        bound=round(report["reference_cycles"] / report["lower_bound_cycles"], 6),
        seconds=round(time.process_time() - begin, 2),
        curve=" ".join(f"{number}:{speedup:.6f}" for number, speedup in curve),
    )


def episode(cell: Episode, policy: Policy, seed: int) -> tuple[int, list[tuple[int, float]]]:
    """One episode in the environment itself: evaluations, and the best so far."""
    inner = SuiteEnv(
        cases=1, horizon=policy.horizon, budget=None, memory=memory_of(name_of(cell)), **GATE
    )
    env = FlatMaskedObservation(inner, policy.fields if policy.fields else FLAT)
    found, info = env.reset(options={"task": cell.task, "chip": cell.chip, "cases": cell.cases})
    dice, curve, ended = Dice(seed), [(1, 1.0)], False
    while not ended:
        flat = found if policy.fields else found[:0]
        action = policy.choose(flat, info["action_mask"], dice)
        found, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
        best = float(info["best_speedup"])
        if best > curve[-1][1]:
            curve.append((int(info["evaluations"]), best))
    return int(info["evaluations"]), curve


if __name__ == "__main__":
    raise SystemExit(main())
