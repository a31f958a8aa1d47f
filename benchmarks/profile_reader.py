"""What reading profiles is worth: `reader` against `annealing` at equal evaluations.

    python benchmarks/profile_reader.py [--tasks T ...] [--chips C ...] [--seeds 5]

A run is one agent, one task, one chip, one seed and one budget, from the reference kernel; its
score is the best speedup that the gate of `m890 optimize` accepted. Every profile that `reader`
asks for counts as an evaluation of its budget, beside the evaluation of the kernel that it
explains; there are no other timings. Runs are appended to the CSV file as they end, and those that
it has are not done again; `--no-runs` writes the table from the runs that there are.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from m890sim.agents import AgentSession, get_agent, run_agent
from m890sim.agents.plan import gate_settings
from m890sim.evidence.intervals import Interval, stratified_interval
from m890sim.session import Memory

ROOT = Path(__file__).resolve().parents[1]
READER = "reader"
ANNEALING = "annealing"
AGENTS = (ANNEALING, READER)
TASKS = ("extend", "decode", "vector_add", "row_softmax", "matmul", "attention_head")
DRAWN = (
    "balanced:test:0",
    "small:test:1",
    "starved:test:2",
    "wide:test:3",
    "far-memory:test:4",
    "slow-control:test:5",
)
ON_DRAWN = ("extend", "decode")  # tasks that are run on drawn chips, too
CHIP = "m890"
BUDGETS = (16, 32, 64, 128)
ON_DRAWN_BUDGETS = (32,)
ON_DRAWN_SEEDS = 3  # on each


@dataclass(frozen=True, slots=True)
class ReaderRun:
    """One run: a line of the CSV file. profiles: evaluations of the budget that were profiles."""

    task: str
    chip: str
    agent: str
    seed: int
    evaluations: int
    speedup: float
    profiles: int
    failed: int
    seconds: float  # of processor time

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """What a run is, without what came out."""
        return self.task, self.chip, self.agent, self.seed, self.evaluations


Job = tuple[str, str, str, int]  # task, chip, agent, seed


def perform(job: Job, budgets: Sequence[int], memory: Memory) -> list[ReaderRun]:
    """The runs of one agent at some budgets. memory: saves time and changes no result.

    What `reader` does first does not depend on its budget, so that one run shows them all.
    """
    if job[2] == READER:
        return _perform(job, budgets, memory)
    return [run for budget in budgets for run in _perform(job, [budget], memory)]


def _perform(job: Job, budgets: Sequence[int], memory: Memory) -> list[ReaderRun]:
    task, chip, agent, seed = job
    begin, most = time.process_time(), max(budgets)
    session = AgentSession(task, chip=chip, budget=most, memory=memory, **gate_settings())
    run_agent(get_agent(agent), session, seed)
    seconds = round(time.process_time() - begin, 1)
    runs = []
    for budget in budgets:
        log = session.log[:budget]
        best = max((entry.speedup for entry in log if entry.accepted), default=1.0)
        profiles = sum(entry.profile is not None for entry in log)
        failed = sum(entry.failed for entry in log)
        cost = round(seconds * budget / most, 1)
        runs.append(ReaderRun(*job, budget, round(best, 6), profiles, failed, cost))
    return runs


def jobs_of(options: argparse.Namespace) -> Iterator[Job]:
    """Every run that is asked for, those of one task and chip together."""
    for chip in options.chips:
        for task in options.tasks:
            if chip != CHIP and task not in ON_DRAWN:
                continue
            seeds = options.seeds if chip == CHIP else min(ON_DRAWN_SEEDS, options.seeds)
            for agent in AGENTS:
                for seed in range(options.first_seed, options.first_seed + seeds):
                    yield task, chip, agent, seed


def budgets_of(job: Job) -> tuple[int, ...]:
    """Evaluations, each of a run."""
    return BUDGETS if job[1] == CHIP else ON_DRAWN_BUDGETS


def read_runs(path: Path) -> list[ReaderRun]:
    """The runs of a file; none where it is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            ReaderRun(
                row["task"],
                row["chip"],
                row["agent"],
                int(row["seed"]),
                int(row["evaluations"]),
                float(row["speedup"]),
                int(row["profiles"]),
                int(row["failed"]),
                float(row["seconds"]),
            )
            for row in csv.DictReader(stream)
        ]


def append_run(path: Path, run: ReaderRun) -> None:
    """One more line, behind a head where the file is new."""
    head = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if head:
            writer.writerow([entry.name for entry in fields(ReaderRun)])
        writer.writerow(asdict(run).values())


def interval_of(strata: Sequence[Sequence[float]]) -> Interval:
    """Of speedups, by their logs, so that the mean is a geometric one."""
    found = stratified_interval([[math.log(one) for one in scores] for scores in strata])
    return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.runs)


def cell(found: Interval) -> str:
    """As the tables show it."""
    return f"{found.value:.2f}x ({found.low:.2f} to {found.high:.2f})"


def verdict(default: Interval, reader: Interval) -> str:
    """Whose interval lies above the other one."""
    if default.below(reader):
        return READER
    return ANNEALING if reader.below(default) else "neither"


def rows_of(runs: Sequence[ReaderRun]) -> Iterator[tuple[str, ...]]:
    """The rows of the table: each task on the preset, then all drawn chips together."""
    scores: dict[tuple[str, str, str, int], list[float]] = {}
    for run in runs:
        scores.setdefault((run.task, run.chip, run.agent, run.evaluations), []).append(run.speedup)
    for task in dict.fromkeys(run.task for run in runs):
        chips = list(dict.fromkeys(run.chip for run in runs if run.task == task))
        drawn = [chip for chip in chips if chip != CHIP]
        sets = ([(CHIP, [CHIP])] if CHIP in chips else []) + [(chip, [chip]) for chip in drawn]
        sets += [("all drawn chips", drawn)] if len(drawn) > 1 else []
        for label, members in sets:
            for evaluations in BUDGETS:
                found = [
                    [scores.get((task, chip, agent, evaluations), []) for chip in members]
                    for agent in AGENTS
                ]
                if all(one for strata in found for one in strata):
                    default, reader = map(interval_of, found)
                    cells = (cell(default), cell(reader), verdict(default, reader))
                    yield task, label, str(evaluations), str(reader.runs), *cells


def report(runs: Sequence[ReaderRun], command: str) -> str:
    """The page: how it was measured, and the table."""
    head = ("task", "chip", "evaluations", "runs", ANNEALING, READER, "interval above")
    rows = [head, ("---", "---", "---:", "---:", "---:", "---:", "---"), *rows_of(runs)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    read = [run for run in runs if run.agent == READER]
    share = sum(run.profiles for run in read) / max(1, sum(run.evaluations for run in read))
    return f"""# What reading profiles is worth

    {command}

wrote this page from [reader_results.csv](reader_results.csv), which has one line a run; without
`--no-runs` the command first does what is missing there. Both agents have the same start kernel,
cases, chip, budget and gate. `{READER}` sees cycles and profiles alone; each profile counts as an
evaluation ({100 * share:.0f}% of its budgets went there), and it asks for no what-ifs.

{table}

Geometric interquartile means, and in brackets 95% bootstrap intervals (percentiles of 10,000
resamples of the seeds, within each chip); runs: one a seed and chip. The last column names the
agent whose interval lies above the other one. Neither agent was tuned on these seeds or on the
drawn chips (`family:test:number`). Annealing plans by its budget, so that each of its
budgets is a run of its own; what a `{READER}` run does first does not depend on how much follows.
"""


def parse_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, metavar="TASK")
    parser.add_argument("--chips", nargs="+", default=[CHIP, *DRAWN], metavar="CHIP")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument(
        "--no-runs", action="store_true", help="the table of the runs that the CSV file has"
    )
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "reader_results.csv")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "reader_results.md")
    options = parser.parse_args(words)
    if options.seeds < 1 or options.first_seed < 0:
        parser.error("--seeds must be at least 1, --first-seed at least 0")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Do what is missing, then print and write the table."""
    options = parse_options(words)
    jobs = list(jobs_of(options))
    done = {run.key for run in read_runs(options.csv)}
    memory, place = Memory(), ("", "")
    for job in jobs if not options.no_runs else []:
        if done.issuperset((*job, budget) for budget in budgets_of(job)):
            continue
        if job[:2] != place:
            memory, place = Memory(), job[:2]
        for run in perform(job, budgets_of(job), memory):
            if run.key not in done:
                append_run(options.csv, run)
                print(*asdict(run).values(), flush=True)
    wanted = {(*job, budget) for job in jobs for budget in budgets_of(job)}
    runs = [run for run in read_runs(options.csv) if run.key in wanted]
    for row in rows_of(runs):
        print("  ".join(row))
    options.report.write_text(report(runs, "python benchmarks/profile_reader.py --no-runs"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
