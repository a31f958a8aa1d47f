"""The default agent on fresh seeds, gated as in a search: a table of docs/agents.md.

    python benchmarks/default_agent.py --out docs/default_agent.csv
    python benchmarks/default_agent.py --agent annealing --tasks extend --seeds 4

Each run is 432 evaluations on the preset chip, from the reference kernel. Goes on from the CSV.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

from m890sim.agents import DEFAULT_AGENT, AgentSession, get_agent, run_agent
from m890sim.agents.plan import gate_settings

FIELDS = ("agent", "task", "seed", "evaluations", "speedup", "processor_seconds")
FIRST = 1000  # no seed below was looked at while the agent was made


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default=DEFAULT_AGENT)
    parser.add_argument("--tasks", default="extend,decode")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--evaluations", type=int, default=432)
    parser.add_argument("--out", type=Path, help="CSV to write, and to go on from")
    args = parser.parse_args()
    rows = []
    if args.out is not None and args.out.exists():
        with args.out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    for task in args.tasks.split(","):
        for seed in range(args.first, args.first + args.seeds):
            wanted = (args.agent, task, str(seed), str(args.evaluations))
            if wanted not in [tuple(row[name] for name in FIELDS[:4]) for row in rows]:
                rows.append(dict(zip(FIELDS, (*wanted, *measured(*wanted)), strict=True)))
                if args.out is not None:
                    written(args.out, rows)
    print("| agent | task | runs | least | median | most | 10x or more | seconds, median |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for agent, task in dict.fromkeys((row["agent"], row["task"]) for row in rows):
        own = [row for row in rows if (row["agent"], row["task"]) == (agent, task)]
        reached = sorted(float(row["speedup"]) for row in own)
        seconds = statistics.median(float(row["processor_seconds"]) for row in own)
        print(
            f"| `{agent}` | `{task}` | {len(own)} | {reached[0]:.2f}x "
            f"| {statistics.median(reached):.2f}x | {reached[-1]:.2f}x "
            f"| {sum(it >= 10 for it in reached)} | {seconds:.1f} |"
        )


def measured(agent: str, task: str, seed: str, evaluations: str) -> tuple[str, str]:
    """The best speedup that passed the gate, and seconds of processor time."""
    began = time.process_time()
    session = AgentSession(task, budget=int(evaluations), **gate_settings())
    run_agent(get_agent(agent), session, int(seed))
    return f"{session.best_speedup:.4f}", f"{time.process_time() - began:.1f}"


def written(out: Path, rows: list[dict[str, str]]) -> None:
    """Write all rows."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
