"""leaderboard: every submission of a folder verified, then ranked on hidden cases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m890sim.agents.files import write_json, write_whole
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence.intervals import Interval, stratified_interval
from m890sim.evidence.record import Record, read_record
from m890sim.evidence.verification import verify
from m890sim.judge import judge_kernel
from m890sim.judge.evaluation import package_version
from m890sim.language import parse
from m890sim.timing import TIMING_VERSION

JSON, MARKDOWN = "leaderboard.json", "leaderboard.md"
SEED_BITS = 32
MOST_FILES = 1000
Told = Callable[[int, int, str], None]  # (files done, files in all, what comes next)


@dataclass(frozen=True, slots=True)
class Scored:
    """A submission that holds, on the hidden cases."""

    file: str
    plan: Plan
    commitment: str
    public: float  # speedup on the cases that the agent knew
    hidden: float  # speedup on the hidden ones


@dataclass(frozen=True, slots=True)
class Row:
    """One agent on one task and chip, with all its submissions."""

    agent: str
    start: str  # name of the start kernel
    start_digest: str
    evaluations: int  # budget of each run
    hidden: Interval  # interquartile mean of the hidden speedups
    public: float  # the largest
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The agents of one task and chip, the best first."""

    task: str
    task_digest: str
    chip: str
    chip_digest: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All tables, and what was not taken."""

    seed: int  # of the hidden cases
    hidden: int  # cases
    tables: tuple[Table, ...]
    rejected: tuple[tuple[str, str], ...] = field(default=())  # (file, why)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "m890sim": package_version(),
            "timing_version": TIMING_VERSION,
            "seed": self.seed,
            "hidden": self.hidden,
            "tables": [
                {
                    "task": {"name": table.task, "digest": table.task_digest},
                    "chip": {"name": table.chip, "digest": table.chip_digest},
                    "rows": [_row(rank, row) for rank, row in enumerate(table.rows, 1)],
                }
                for table in self.tables
            ],
            "rejected": [{"file": file, "reason": reason} for file, reason in self.rejected],
        }

    def as_markdown(self) -> str:
        """The same for readers."""
        lines = [
            "# Leaderboard",
            "",
            f"Hidden score: geometric mean of the speedups over the task's reference on "
            f"{self.hidden} hidden cases, drawn with seed {self.seed} when every kernel was fixed; "
            "a wrong case counts 1.0. Interquartile mean over an agent's submissions, with the 95% "
            "bootstrap interval. Every submission was worked out again from its start kernel. "
            f"m890sim {package_version()}, timing version {TIMING_VERSION}; the chips are "
            "fictional.",
        ]
        for table in self.tables:
            lines += [
                "",
                f"## {_cell(table.task)} on {_cell(table.chip)}",
                "",
                f"Task {table.task_digest[:12]}, chip {table.chip_digest[:12]}.",
                "",
                "| rank | agent | hidden | 95% interval | public | runs | evaluations | start |",
                "| ---: | --- | ---: | --- | ---: | ---: | ---: | --- |",
            ]
            for rank, row in enumerate(table.rows, 1):
                found = row.hidden
                between = f"{found.low:.3f} to {found.high:.3f}" if found.runs > 1 else "-"
                lines.append(
                    f"| {rank} | {_cell(row.agent)} | {found.value:.3f}x | {between} | "
                    f"{row.public:.3f}x | {found.runs} | {row.evaluations} | "
                    f"{_cell(row.start)} {row.start_digest[:12]} |"
                )
        if self.rejected:
            lines += ["", "## Not taken", "", "| file | reason |", "| --- | --- |"]
            lines += [f"| {_cell(file)} | {_cell(reason)} |" for file, reason in self.rejected]
        return "\n".join(lines) + "\n"


def leaderboard(
    folder: Path, hidden: int, seed: int | None = None, told: Told | None = None
) -> Leaderboard:
    """Verify and rank the submissions (*.json) of a folder; nothing is written.

    hidden: cases that each kernel is scored on. seed: of those cases; None draws a fresh one, which
    nobody could know who made a submission.
    Raises: RunError where there is no such folder, or it holds too much.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is no directory; give a folder of submissions")
    files = sorted(file for file in folder.glob("*.json") if file.name != JSON)
    if len(files) > MOST_FILES:
        raise RunError(f"{folder} holds {len(files)} submissions, at most {MOST_FILES} are read")
    if not files:
        raise RunError(f"{folder} holds no submission (*.json); m890 submit writes one")
    chosen = secrets.randbits(SEED_BITS) if seed is None else seed
    scored: list[Scored] = []
    rejected: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for number, file in enumerate(files):
        if told is not None:
            told(number, len(files), file.name)
        try:
            entry = _scored(file, hidden, chosen)
            twin = seen.setdefault(entry.commitment, file.name)
            if twin != file.name:
                raise RunError(f"it is the same run as {twin}")
        except M890Error as error:
            rejected.append((file.name, str(error)))
            continue
        scored.append(entry)
    return Leaderboard(chosen, hidden, _tables(scored), tuple(rejected))


def check_writable(folder: Path) -> None:
    """Raises: RunError where `write` could not write the board into the folder."""
    if not folder.is_dir():
        raise RunError(f"{folder} is no directory; give a folder of submissions")
    for name in (JSON, MARKDOWN):
        if (folder / name).is_dir():
            raise RunError(f"cannot write {folder / name}: it is a directory; choose another --out")
    if not os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise RunError(f"cannot write into {folder}; choose another directory with --out")


def write(board: Leaderboard, folder: Path) -> None:
    """leaderboard.json and leaderboard.md in a folder. Raises: RunError."""
    write_json(folder / JSON, board.as_dict())
    write_whole(folder / MARKDOWN, board.as_markdown().encode("utf-8"))


def _scored(file: Path, hidden: int, seed: int) -> Scored:
    """A submission with its score. Raises: M890Error, saying why it has none."""
    found = verify(file)
    if found.difference is not None:
        raise RunError(found.difference)
    record: Record = read_record(file)
    plan = record.plan()
    if record.best is None or record.result is None or record.result["best"] is None:
        raise RunError("it has no right kernel")
    kernel = parse(record.best, filename=file.name)
    judged = judge_kernel(kernel, plan.task, plan.chip, hidden=hidden, seed=seed, cases=plan.cases)
    if judged.refuted:
        reason = next(f"{gate.gate}: {gate.reason}" for gate in judged.gates if not gate.passed)
        raise RunError(f"wrong with seed {seed}: {reason}")
    score = judged.speedup if judged.hidden is None else judged.hidden.speedup
    return Scored(file.name, plan, record.commitment, judged.speedup, score)


def _tables(scored: list[Scored]) -> tuple[Table, ...]:
    groups: dict[tuple[str, str, str, str], dict[tuple[str, str, str, int], list[Scored]]] = {}
    for entry in scored:
        plan = entry.plan
        place = (plan.task.name, plan.task.digest, plan.chip.name, plan.chip.digest)
        start = plan.manifest()["start"]
        agent = (plan.agent, start["name"], start["digest"], plan.evaluations)
        groups.setdefault(place, {}).setdefault(agent, []).append(entry)
    tables = []
    for place, agents in sorted(groups.items(), key=lambda group: group[0]):
        rows = [
            Row(
                *agent,
                hidden=stratified_interval([[entry.hidden for entry in entries]]),
                public=max(entry.public for entry in entries),
                files=tuple(entry.file for entry in entries),
            )
            for agent, entries in agents.items()
        ]
        rows.sort(key=lambda row: (-row.hidden.value, row.agent, row.start, row.evaluations))
        tables.append(Table(*place, rows=tuple(rows)))
    return tuple(tables)


def _row(rank: int, row: Row) -> dict[str, Any]:
    return {
        "rank": rank,
        "agent": row.agent,
        "hidden": row.hidden.value,
        "low": row.hidden.low,
        "high": row.hidden.high,
        "runs": row.hidden.runs,
        "public": row.public,
        "evaluations": row.evaluations,
        "start": {"name": row.start, "digest": row.start_digest},
        "files": list(row.files),
    }


def _cell(text: str) -> str:
    """A stranger's text in a table: one line, no markup of its own."""
    plain = " ".join(ascii(text)[1:-1].split())
    for mark in "\\`*_[]<>|":
        plain = plain.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return plain[:400]
