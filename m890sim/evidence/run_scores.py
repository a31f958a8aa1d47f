"""RunScore: what a record says of one run, as the numbers by which runs are compared.

Files are strangers' files: read as `record` does, and what cannot be is refused. The numbers are
those of the record; `verify` works them out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN, broken_link
from m890sim.agents.files import MANIFEST
from m890sim.agents.reading import RunError
from m890sim.chip import FAMILIES
from m890sim.evidence.record import Record

BUDGETS = (32, 128, 432)  # evaluations at which runs are compared
MOST_RUNS = 1000
MOST_ENTRIES = 100_000  # of folders that are looked through
MOST_LEVELS = 8  # of folders within folders
LARGEST_SPEEDUP = 1e9

Steps = tuple[tuple[int, float], ...]  # (evaluations or calls, best speedup from there on)


@dataclass(frozen=True, slots=True)
class RunScore:
    """One run.

    curve: (evaluations spent, best right speedup from there on), evaluation 1 the start kernel's;
    by_calls: the same by calls of tools, empty for an agent that edits. Kernels that the final
    judgement refused count nowhere, and beside them none that is faster than what it found right:
    it looks at one kernel of an agent that writes source, whose tricks are in many. final: speedup
    of the kernel that the run came to; 1.0 where none was right. right, asked: evaluations that
    were right, and those that somebody asked about, the start aside. hidden: speedup on the hidden
    cases. judged: the run ended with a judgement.
    """

    path: str
    chain: str
    agent: str
    docs: str  # documentation level; "" for an agent that edits
    seed: int
    task: str
    task_digest: str
    chip: str
    chip_digest: str
    cases: tuple[str, ...]
    start: str
    start_digest: str
    evaluations: int  # budget
    spent: int
    calls: int | None
    curve: Steps
    by_calls: Steps
    final: float
    gap_closed: float | None
    right: int
    asked: int
    hidden: float | None
    judged: bool
    solved: bool  # the final judgement found a right kernel
    verified: bool = False

    @property
    def drawn(self) -> bool:
        """Whether its chip was drawn from a family."""
        return self.chip.partition(":")[0] in FAMILIES and ":" in self.chip

    def at(self, evaluations: int) -> float | None:
        """Best right speedup after so many evaluations.

        A run that ended earlier of its own accord keeps what it had; None where it could not go so
        far, or has not yet.
        """
        if self.spent < evaluations and (self.evaluations < evaluations or not self.judged):
            return None
        return value_at(self.curve, evaluations)

    @property
    def area(self) -> float | None:
        """Mean of log2(best right speedup) over the evaluations of the budget; None where unjudged.

        Those after an early end count with what the run had.
        """
        return mean_log(self.curve, self.evaluations) if self.judged else None

    @property
    def hidden_gap(self) -> float | None:
        """Speedup on the hidden cases over that on the public ones."""
        return None if self.hidden is None else self.hidden / self.final

    def fast(self, p: float) -> bool:
        """Whether its kernel is right, by the final judgement, and more than p times faster."""
        return self.solved and self.final > p


def value_at(steps: Steps, place: int) -> float:
    """The best speedup at a place of a curve; 1.0 before its first step."""
    found = 1.0
    for start, value in steps:
        if start > place:
            break
        found = value
    return found


def mean_log(steps: Steps, count: int) -> float:
    """Mean of log2 of a curve over the places 1 ... count."""
    ends = [start for start, _ in steps[1:]] + [count + 1]
    parts = [
        (min(end, count + 1) - start) * math.log2(value)
        for (start, value), end in zip(steps, ends, strict=True)
        if start <= count
    ]
    return math.fsum(parts) / count


def score_of(record: Record, path: str, verified: bool = False) -> RunScore:
    """The numbers of a record. Raises: RunError where they cannot be."""
    plan, lines, result = record.plan(), record.lines, record.result
    for name, found in (("evaluation", lines), ("call", record.calls or [])):
        broken = broken_link(record.manifest, found)
        if broken is not None:
            raise RunError(
                f"{name} {broken} does not follow from what stands before it: the file was changed"
            )
    if not lines:
        raise RunError("it has no evaluation yet")
    judged = result is not None and result.get("interrupted") is False
    if result is not None and result.get(CHAIN) != record.head:
        raise RunError("its result belongs to another log")
    refused = _refused(result)
    best = result["best"] if judged and result is not None else None
    final = 1.0
    gap: float | None = 0.0
    if best is not None:
        line = _line_of(lines, best)
        final, gap = _speedup(line["speedup"], "the best kernel"), line["gap_closed"]
    # What was refused has its like in the log: nothing faster than what was found right counts.
    bests = _bests(lines, refused, final if judged and refused else LARGEST_SPEEDUP)
    if not judged:
        final, gap = bests[-1], _gap_of(lines, bests[-1])
    tested = [line for line in lines[1:] if "profile" not in line]
    asked = [line for line in tested if line["correct"] is not None]
    wrong = {line["index"] for line in asked if line["correct"] is False} | refused
    terms = plan.terms
    return RunScore(
        path=path,
        chain=record.head,
        agent=plan.agent,
        docs="" if terms is None else terms.docs,
        seed=plan.seed,
        task=plan.task.name,
        task_digest=plan.task.digest,
        chip=plan.chip.name,
        chip_digest=plan.chip.digest,
        cases=tuple(case.name for case in plan.cases),
        start=plan.start.name,
        start_digest=str(plan.manifest()["start"]["digest"]),
        evaluations=plan.evaluations,
        spent=len(lines),
        calls=None if record.calls is None else len(record.calls),
        curve=_steps(enumerate(bests, 1)),
        by_calls=_by_calls(record.calls or [], bests),
        final=final,
        gap_closed=gap,
        right=sum(line["index"] not in wrong for line in asked),
        asked=len(asked),
        hidden=_hidden(result) if best is not None else None,
        judged=judged,
        solved=best is not None,
        verified=verified,
    )


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The run directories among and below some paths, in order; files as they are.

    Links are not followed. Raises: RunError where a path is not there, holds no run, or too much.
    """
    found: dict[Path, None] = {}
    looked = 0
    for given in paths:
        if not os.path.lexists(given):
            raise RunError(f"{given} does not exist; give run directories, or folders of them")
        before, waiting = len(found), [(given, 0)]
        while waiting:
            path, level = waiting.pop()
            if not path.is_dir():
                found[path] = None  # a submission
                continue
            if (path / MANIFEST).exists():
                found[path] = None
                continue
            try:
                with os.scandir(path) as entries:
                    inner = sorted(
                        entry.name for entry in entries if entry.is_dir(follow_symlinks=False)
                    )
            except OSError as error:
                raise RunError(f"cannot read {path}: {error.strerror or error}") from error
            looked += len(inner)
            if looked > MOST_ENTRIES:
                raise RunError(f"{given} holds more than {MOST_ENTRIES} folders; give fewer")
            if level < MOST_LEVELS:
                waiting += [(path / name, level + 1) for name in reversed(inner)]
        if len(found) == before and given not in found:
            raise RunError(f"{given} holds no run directory (with a {MANIFEST})")
    if len(found) > MOST_RUNS:
        raise RunError(f"there are {len(found)} runs, at most {MOST_RUNS} are compared")
    return list(found)


def _bests(lines: Sequence[Mapping[str, Any]], refused: set[int], most: float) -> list[float]:
    """Best right speedup after each evaluation, of kernels that are at most so fast."""
    best, found = 1.0, []
    for line in lines:
        speedup = _speedup(line["speedup"], f"evaluation {line['index']}")
        right = line["accepted"] and line["correct"] is not False
        if right and speedup <= most and line["index"] not in refused:
            best = max(best, speedup)
        found.append(best)
    return found


def _by_calls(calls: Sequence[Mapping[str, Any]], bests: Sequence[float]) -> Steps:
    """The curve by calls of tools."""
    found = []
    for number, call in enumerate(calls, 1):
        if not 0 < call["spent"] <= len(bests):
            raise RunError(f"call {number - 1}: the log has no evaluation {call['spent']}")
        found.append((number, bests[call["spent"] - 1]))
    return _steps(found)


def _steps(values: Iterable[tuple[int, float]]) -> Steps:
    """The places where a curve rises, its first one at the front."""
    found: list[tuple[int, float]] = []
    for place, value in values:
        if not found or value != found[-1][1]:
            found.append((place, value))
    return tuple(found)


def _refused(result: Mapping[str, Any] | None) -> set[int]:
    """Evaluations that the final judgement refused."""
    rejected = (result or {}).get("rejected") or []
    if not isinstance(rejected, list):
        raise RunError(f"its result is damaged: rejected must not be {rejected!r:.60}")
    found = {entry.get("index") for entry in rejected if isinstance(entry, dict)}
    return {index for index in found if type(index) is int}


def _line_of(lines: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Mapping[str, Any]:
    index = best.get("index")
    if type(index) is not int or not 0 <= index < len(lines):
        raise RunError(f"its result names evaluation {index!r:.60}, which the log does not have")
    if lines[index]["digest"] != best["digest"]:
        raise RunError(f"its result names another kernel than evaluation {index}")
    return lines[index]


def _gap_of(lines: Sequence[Mapping[str, Any]], best: float) -> float | None:
    """How far a run has come that was not judged yet."""
    for line in lines:
        if line["accepted"] and line["speedup"] == best:
            gap: float | None = line["gap_closed"]
            return gap
    return 0.0


def _hidden(result: Mapping[str, Any] | None) -> float | None:
    hidden = (result or {}).get("hidden")
    if not isinstance(hidden, dict):
        return None
    return _speedup(hidden.get("speedup"), "the hidden cases")


def _speedup(value: Any, of: str) -> float:
    if type(value) not in (float, int) or not 0 < value < LARGEST_SPEEDUP:
        raise RunError(f"the speedup of {of} cannot be {value!r:.60}")
    return float(value)
