"""leaderboard: every submission of a folder verified, then ranked on hidden cases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m890sim.agents.files import write_json, write_whole
from m890sim.agents.reading import RunError
from m890sim.errors import M890Error
from m890sim.evidence.intervals import Interval, stratified_interval
from m890sim.evidence.scoring import Scored, score, score_apart
from m890sim.judge.evaluation import check_integer, package_version
from m890sim.judge.judgement import MOST_HIDDEN
from m890sim.timing import TIMING_VERSION

JSON, MARKDOWN = "leaderboard.json", "leaderboard.md"
SEED_BITS = 32
MOST_FILES = 1000
SAME = 0.5  # share of common kernels above which two runs are one
Told = Callable[[int, int, str], None]  # (files done, files in all, what comes next)


@dataclass(frozen=True, slots=True)
class Standing:
    """One agent on one task and chip, with all its submissions."""

    agent: str
    start: str  # name of the start kernel
    start_digest: str
    evaluations: int  # budget of each run
    hidden: Interval  # interquartile mean of the hidden speedups
    public: float  # the largest
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standings:
    """The agents of one task and chip, the best first."""

    task: str
    task_digest: str
    chip: str
    chip_digest: str
    rows: tuple[Standing, ...]


@dataclass(frozen=True)
class Leaderboard:
    """All tables, and what was not taken."""

    seed: int  # of the hidden cases
    hidden: int  # cases
    tables: tuple[Standings, ...]
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
                f"## {cell(table.task)} on {cell(table.chip)}",
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
                    f"| {rank} | {cell(row.agent)} | {found.value:.3f}x | {between} | "
                    f"{row.public:.3f}x | {found.runs} | {row.evaluations} | "
                    f"{cell(row.start)} {row.start_digest[:12]} |"
                )
        if self.rejected:
            lines += ["", "## Not taken", "", "| file | reason |", "| --- | --- |"]
            lines += [f"| {cell(file)} | {cell(reason)} |" for file, reason in self.rejected]
        return "\n".join(lines) + "\n"


def leaderboard(
    folder: Path,
    hidden: int,
    seed: int | None = None,
    told: Told | None = None,
    seconds: float | None = None,
) -> Leaderboard:
    """Verify and rank the submissions (*.json) of a folder; nothing is written.

    hidden: cases that each kernel is scored on. seed: of those cases; None draws a fresh one, which
    nobody could know who made a submission. seconds: each submission is worked out in a process of
    its own that is ended after so long; None: all in this one, however long they take.
    Raises: RunError where there is no such folder, or it holds too much; TypeError or ValueError
    for numbers that cannot be.
    """
    check_integer("hidden", hidden, 0)
    if hidden > MOST_HIDDEN:
        raise ValueError(f"hidden must be at most {MOST_HIDDEN}, not {hidden!r:.60}")
    if seed is not None:
        check_integer("seed", seed, 0)
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
    for number, file in enumerate(files):
        if told is not None:
            told(number, len(files), file.name)
        try:
            if seconds is None:
                entry = score(file, hidden, chosen)
            else:
                entry = score_apart(file, hidden, chosen, seconds)
            twin = _like(entry, scored)
            if twin is not None:
                raise RunError(f"it is the same run as {twin.file}, by the kernels of its log")
        except M890Error as error:
            rejected.append((file.name, str(error)))
            continue
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            rejected.append((file.name, f"it cannot be judged: {error!s:.300}"))
            continue
        except (MemoryError, RecursionError) as error:
            rejected.append((file.name, f"it takes too much: {type(error).__name__}"))
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


def _like(entry: Scored, others: list[Scored]) -> Scored | None:
    """The run that this one is, nearly: more than SAME of its kernels are that run's.

    Agent, seed and budget are what a file says, and a log that is cut or has another line is still
    the same run. Kernels of independent runs hardly ever agree.
    """
    own = set(entry.kernels)
    for other in others:
        if (entry.task_digest, entry.chip_digest) != (other.task_digest, other.chip_digest):
            continue
        if len(own & set(other.kernels)) > SAME * min(len(own), len(other.kernels)):
            return other
        if not own and not other.kernels:
            return other
    return None


def _tables(scored: list[Scored]) -> tuple[Standings, ...]:
    groups: dict[tuple[str, str, str, str], dict[tuple[str, str, str, int], list[Scored]]] = {}
    for entry in scored:
        place = (entry.task, entry.task_digest, entry.chip, entry.chip_digest)
        agent = (entry.agent, entry.start, entry.start_digest, entry.evaluations)
        groups.setdefault(place, {}).setdefault(agent, []).append(entry)
    tables = []
    for place, agents in sorted(groups.items(), key=lambda group: group[0]):
        rows = [
            Standing(
                *agent,
                hidden=stratified_interval([[entry.hidden for entry in entries]]),
                public=max(entry.public for entry in entries),
                files=tuple(entry.file for entry in entries),
            )
            for agent, entries in agents.items()
        ]
        rows.sort(key=lambda row: (-row.hidden.value, row.agent, row.start, row.evaluations))
        tables.append(Standings(*place, rows=tuple(rows)))
    return tuple(tables)


def _row(rank: int, row: Standing) -> dict[str, Any]:
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


def cell(text: str) -> str:
    """A stranger's text in a table: one line, no markup of its own."""
    plain = " ".join(ascii(text)[1:-1].split())
    for mark in "\\`*_[]<>|":
        plain = plain.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return plain[:400]
