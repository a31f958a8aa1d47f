"""All agents on all small levels and on `extend`, at equal numbers of evaluations.

    python benchmarks/agents.py [--tasks T ...] [--agents A ...] [--first-seed 1000]

A run is one agent, one task, one seed, and a budget of evaluations of different kernels, from
nothing: what MaskablePPO spends in training counts. Its score is the best verified speedup.
Runs are appended to the CSV file as they end, and those that it has are not done again; it cannot
know that an agent's own code has changed: delete its lines then. At last tables and plot are
written; `--no-runs` writes them from the runs that there are. MaskablePPO needs the extra
`m890sim[train]`; `ppo-untrained` is its policy with a learning rate of 0, which tells what comes of
learning and what of the policy's form.

Named by --agents alone: `random-single` and `random-macro` take uniformly random legal actions with
restarts, single edits and macros by the same rule; `mlp-macro` is MaskablePPO with a plain MLP on
macros, every episode from the reference, `mlp-macro-untrained` the same with a learning rate of 0;
`mlp-macro-restarts` and `mlp-macro-restarts-untrained` have the restarts too.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from learning import restarts
from learning.extra import missing_extra
from learning.ledger import RECORDS
from learning.report import print_tables, write_report
from learning.runs import Run, append_run, read_runs, setting_of

from m890_envs.env import LONGER
from m890sim.agents import AGENTS, run_agent
from m890sim.agents.plan import gate_settings
from m890sim.kernel import digest
from m890sim.schedule import EDITS
from m890sim.schedule.actions import ROWS
from m890sim.schedule.macros import MACROS
from m890sim.session import KernelSession, Memory
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import get_task, load_kernel

ROOT = Path(__file__).resolve().parents[1]
LEVELS = ("vector_add", "row_softmax", "matmul", "attention_head")
TASKS = (*LEVELS, "extend")
PPO, UNTRAINED = "ppo", "ppo-untrained"
STILL = {"learning_rate": 0.0, "n_epochs": 1}
LEARNERS: dict[str, dict[str, Any]] = {
    PPO: {},
    UNTRAINED: STILL,
    "mlp-macro": {"plain": True, "restarts": 0.0},
    "mlp-macro-untrained": {"plain": True, "restarts": 0.0, **STILL},
    "mlp-macro-restarts": {"plain": True},
    "mlp-macro-restarts-untrained": {"plain": True, **STILL},
}
RANDOM = {"random-single": "single", "random-macro": "macro"}  # agent -> actions
EVALUATIONS = 432
SEEDS, SEEDS_OF_EXTEND = 10, 5
CHIP = "m890"
STATES = 3000  # kernels that a process keeps with their edits

Job = tuple[str, str, int, int]  # task, agent, seed, evaluations

_memory: dict[str, Memory] = {}


def setting(task: str, agent: str) -> str:
    """Digest of what a run hangs on beside task, agent, seed and budget."""
    found = get_task(task)
    parts: list[object] = [TIMING_VERSION, sorted(EDITS), CHIP, *sorted(gate_settings().items())]
    parts += [digest(load_kernel(found.reference_name)), [case.name for case in found.cases]]
    if agent in RANDOM:
        parts += [ROWS, MACROS, LONGER, restarts.HORIZON, restarts.RESTARTS, RECORDS]
    if agent in LEARNERS:
        from learning.ppo import ENVS, HORIZON, RESTARTS, SETTINGS, SITES

        parts += [ROWS, SITES, HORIZON, ENVS, RESTARTS, RECORDS]
        if "plain" in LEARNERS[agent]:
            parts += [MACROS, LONGER]
        parts += sorted({**SETTINGS, **LEARNERS[agent]}.items())
    return setting_of(parts)


def perform(job: Job) -> Run:
    """One run, in whatever process."""
    task, agent, seed, evaluations = job
    if task not in _memory:
        _memory.clear()  # of one task at a time; it saves time and changes no result
        _memory[task] = Memory(states=STATES)
    begin = time.process_time()
    search = learn if agent in LEARNERS else wander if agent in RANDOM else let_search
    spent, curve = search(task, agent, seed, evaluations)
    return Run(
        task=task,
        agent=agent,
        seed=seed,
        evaluations=evaluations,
        setting=setting(task, agent),
        spent=spent,
        speedup=round(curve[-1][1], 6),
        found_at=curve[-1][0],
        bound=round(bound_of(task), 6),
        seconds=round(time.process_time() - begin, 1),
        curve=" ".join(f"{number}:{speedup:.6f}" for number, speedup in curve),
    )


def let_search(
    task: str, agent: str, seed: int, evaluations: int
) -> tuple[int, list[tuple[int, float]]]:
    """A search agent: evaluations spent, and (evaluations, speedup) of every new best."""
    session = KernelSession(
        task,
        chip=CHIP,
        budget=evaluations,
        **gate_settings(),
        memory=_memory[task],
    )
    run_agent(AGENTS[agent], session, seed)
    curve = [(1, 1.0)]
    for entry in session.log:
        if entry.accepted and entry.speedup > curve[-1][1]:
            curve.append((entry.index + 1, entry.speedup))
    return session.spent, curve


def wander(
    task: str, agent: str, seed: int, evaluations: int
) -> tuple[int, list[tuple[int, float]]]:
    """Random actions with restarts."""
    ledger = restarts.wander(
        task, RANDOM[agent], evaluations, seed, chip=CHIP, memory=_memory[task]
    )
    return ledger.spent, [(1, 1.0), *ledger.curve]


def learn(
    task: str, agent: str, seed: int, evaluations: int
) -> tuple[int, list[tuple[int, float]]]:
    """MaskablePPO, untrained at first."""
    from learning.ppo import train

    changes = LEARNERS[agent]
    _, ledger = train(task, evaluations, seed, chip=CHIP, memory=_memory[task], **changes)
    return ledger.spent, [(1, 1.0), *ledger.curve]


def bound_of(task: str) -> float:
    """Geometric mean over the cases of reference cycles over lower bound."""
    session = KernelSession(task, chip=CHIP, memory=_memory.setdefault(task, Memory()))
    product, cases = 1.0, session.report()["cases"]
    for case in cases:
        product *= case["reference_cycles"] / case["lower_bound_cycles"]
    return float(product ** (1 / len(cases)))


def evaluations_of(options: argparse.Namespace, task: str) -> int:
    """The budget of a run."""
    found = options.evaluations_of_extend if task == "extend" else None
    return int(options.evaluations if found is None else found)


def jobs_of(options: argparse.Namespace, agents: Sequence[str]) -> list[Job]:
    """Every run that is asked for."""
    return [
        (task, agent, seed, evaluations_of(options, task))
        for task in options.tasks
        for agent in agents
        for seed in range(
            options.first_seed,
            options.first_seed + (options.seeds_of_extend if task == "extend" else options.seeds),
        )
    ]


def run_all(jobs: Sequence[Job], path: Path, processes: int, console: Console) -> None:
    """Perform the jobs and append each run as it ends."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("runs", total=len(jobs))
        for run in _finished(jobs, processes):
            append_run(path, run)
            progress.update(bar, advance=1)
            progress.console.print(
                f"{run.task} {run.agent} seed {run.seed}: {run.speedup:.2f}x "
                f"at {run.found_at} of {run.spent}, {run.seconds:.0f} s"
            )


def _finished(jobs: Sequence[Job], processes: int) -> Iterable[Run]:
    if processes == 1:
        yield from map(perform, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(perform, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def parse_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    agents = (*AGENTS, *LEARNERS, *RANDOM)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, metavar="TASK")
    parser.add_argument(
        "--agents",
        nargs="+",
        default=[*AGENTS, PPO, UNTRAINED],
        choices=agents,
        metavar="AGENT",
    )
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS)
    parser.add_argument("--evaluations-of-extend", type=int, help="as --evaluations by default")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="on every small level")
    parser.add_argument("--seeds-of-extend", type=int, default=SEEDS_OF_EXTEND)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--no-runs", action="store_true", help="tables of the runs that the CSV file has"
    )
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "agents_results.csv")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "agents_results.md")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "agents_results.svg")
    options = parser.parse_args(words)
    for name in ("evaluations", "evaluations_of_extend", "seeds", "seeds_of_extend", "processes"):
        if (found := getattr(options, name)) is not None and found < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if options.first_seed < 0:
        parser.error("--first-seed must be at least 0")
    return options


def main() -> int:
    """Do what is missing, then print and write the tables."""
    options = parse_options()
    console = Console()
    if LEARNERS.keys() & set(options.agents) and (message := missing_extra()):
        remedy = f"or leave {' and '.join(LEARNERS)} out of --agents"
        console.print(f"{message}; {remedy}", markup=False, highlight=False, soft_wrap=True)
        return 2
    try:
        runs = read_runs(options.csv)
    except ValueError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    settings = {
        (task, agent): setting(task, agent) for task in options.tasks for agent in options.agents
    }
    wanted = {(*job, settings[job[0], job[1]]): job for job in jobs_of(options, options.agents)}
    done = {run.key for run in runs}
    left = [job for key, job in wanted.items() if key not in done and not options.no_runs]
    console.print(f"{len(done & wanted.keys())} of {len(wanted)} runs are in {options.csv.name}")
    try:
        if left:
            run_all(left, options.csv, options.processes, console)
    except KeyboardInterrupt:
        console.print(f"stopped; the runs that ended are in {options.csv.name}, and stay there")
        return 130
    by_key = {run.key: run for run in read_runs(options.csv)}
    found = [by_key[key] for key in wanted if key in by_key]
    print_tables(found, console)
    command = shlex.join(["python", "benchmarks/agents.py", *sys.argv[1:]])
    write_report(found, command, options.report, options.plot, options.csv)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
