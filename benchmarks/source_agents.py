"""Players on a task: what each reaches by writing source, as a table in Markdown.

    python benchmarks/source_agents.py --runs runs/players

plays what is missing in that folder (minutes a run) and prints the table. `blind` plays on the
unfamiliar chip of each seed without documentation, `hinted` on the same chips and on m890 with it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from m890sim.agents.outcome import RunOutcome
from m890sim.protocol import Recording, Terms, session_plan
from m890sim.protocol.players.hosts import HostedHere
from m890sim.protocol.players.registry import PLAYERS


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/players"))
    parser.add_argument("--task", default="extend")
    parser.add_argument("--agents", nargs="+", choices=PLAYERS, default=list(PLAYERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(6)))
    args = parser.parse_args()
    rows = []
    for agent in args.agents:
        for chip in [*(["m890"] if PLAYERS[agent].docs == "full" else []), None]:
            for seed in args.seeds if chip is None else [0]:
                path = args.runs / f"{args.task}-{agent}-{chip or 'drawn'}-{seed}"
                if not (path / "result.json").exists():
                    played(path, args.task, agent, chip, seed)
                rows.append(row(path))
    for line in table(rows):
        print(line)


def played(path: Path, task: str, agent: str, chip: str | None, seed: int) -> RunOutcome:
    """One session, from nothing or from where it stopped, judged at the end."""
    if (path / "manifest.json").exists():
        recording = Recording(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        terms = Terms(docs=PLAYERS[agent].docs)
        recording = Recording.begin(
            path, session_plan(task, chip, agent=agent, seed=seed, terms=terms)
        )
    try:
        if not recording.ended:
            PLAYERS[agent].play(HostedHere(recording))
        return recording.finish()
    finally:
        recording.close()


def row(path: Path) -> list[str]:
    """The figures of one run, from its files."""
    result = json.loads((path / "result.json").read_text("utf-8"))
    lines = (path / "evaluations.jsonl").read_text("utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    tests = [line for line in log if "profile" not in line]
    right = sum(line.get("correct") is True for line in tests)
    judged, hidden = result["evaluation"], result["hidden"] or {}
    fast = next((n + 1 for n, line in enumerate(tests) if line["speedup"] >= 3), None)
    gap = judged.get("gap_closed")
    inside = hidden.get("speedup")
    return [
        result["agent"],
        result["chip"],
        f"{result['speedup']:.2f}x",
        "-" if gap is None else f"{gap:.0%}",
        "-" if inside is None else f"{inside:.2f}x",
        "-" if fast is None else str(fast),
        str(result["spent"]),
        str(result["session"]["calls"]),
        f"{right / len(tests):.0%}",
    ]


def table(rows: list[list[str]]) -> Iterator[str]:
    """Markdown."""
    head = "agent,chip,speedup,to the bound,hidden,evaluations to 3x,evaluations,calls,right"
    yield f"| {head.replace(',', ' | ')} |"
    yield "|" + " --- |" * (head.count(",") + 1)
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
