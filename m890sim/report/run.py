"""RunReport: what a run directory or a submission tells of its search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.chain import broken_link
from m890sim.agents.clock import PARTS, read_times
from m890sim.agents.picture import PUBLISHED
from m890sim.agents.plan import Plan
from m890sim.agents.reading import RunError
from m890sim.drawing.curve import Speedups
from m890sim.evidence.record import Record, read_record
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.report.lineage import LineageStep, Told, lineage
from m890sim.report.refusals import Refusal, refusals
from m890sim.timing import TIMING_VERSION


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run, told.

    lineage: from the start to the best kernel, made and timed again. seconds: by part, of PARTS,
    as the clock of whoever ran it said, for the evaluations that it was on for (timed).
    judged: whether the best kernel was judged in full. hidden: speedup on hidden cases, as the
    record says.
    """

    plan: Plan
    lines: Sequence[dict[str, Any]]
    best: int | None  # the evaluation of the best kernel; None: none was right
    kernel: Kernel | None
    lineage: Sequence[LineageStep]
    refusals: Sequence[Refusal]
    seconds: dict[str, float]
    timed: int
    judged: bool
    hidden: float | None

    @property
    def speedup(self) -> float:
        """Of the best kernel; 1.0, the reference's own, where there is none."""
        return 1.0 if self.best is None else float(self.lines[self.best]["speedup"])

    @property
    def failed(self) -> int:
        """Evaluations of kernels that do not fit, trap, or are wrong."""
        return sum(line["correct"] is False and "profile" not in line for line in self.lines)

    @property
    def profiles(self) -> int:
        """Evaluations that went into profiles, of kernels that were evaluated before."""
        return sum("profile" in line for line in self.lines)

    @property
    def curve(self) -> Speedups:
        """The speedup over the evaluations."""
        return Speedups(
            [None if line["correct"] is False else line["speedup"] for line in self.lines],
            [line["best_speedup"] for line in self.lines],
            self.plan.evaluations,
            PUBLISHED,
            () if self.best is None else (self.best,),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plan = self.plan
        keys = ("index", "cycles", "speedup", "best_speedup", "correct", "accepted", "code")
        return {
            "task": plan.task.name,
            "chip": plan.chip.name,
            "agent": plan.agent,
            "seed": plan.seed,
            "timing_version": TIMING_VERSION,
            "reference": plan.task.reference_name,
            "start": plan.start.name,
            "cases": [case.name for case in plan.cases],
            "evaluations": plan.evaluations,
            "spent": len(self.lines),
            "failed": self.failed,
            "profiles": self.profiles,
            "judged": self.judged,
            "speedup": self.speedup,
            "hidden_speedup": self.hidden,
            "best": self.best,
            "log": [{key: line[key] for key in keys} for line in self.lines],
            "lineage": [asdict(step) for step in self.lineage],
            "refusals": [asdict(refusal) for refusal in self.refusals],
            "seconds": self.seconds,
            "timed_evaluations": self.timed,
        }


def report_of(path: Path | str, told: Told | None = None) -> RunReport:
    """Read a run directory, or a submission, and tell what happened; nothing is written.

    The best kernel's steps are made and timed again; all else is as the record says: `verify` works
    it out. Raises: RunError for what is no record, damaged, or of another version.
    """
    record = read_record(Path(path))
    plan, lines = record.plan(), record.lines
    broken = broken_link(record.manifest, lines)
    if broken is not None:
        raise RunError(
            f"{path}: evaluation {broken} does not follow from what stands before it (its chain): "
            "the file was changed; m890 verify says more"
        )
    result = record.result or {}
    rejected = result.get("rejected")
    best = _best(record)
    steps = [] if best is None else lineage(plan, lines, best, told)
    timed, seconds = 0, dict.fromkeys(PARTS, 0.0)
    for sitting in read_times(record.path) if record.path.is_dir() else ():
        timed += sitting["count"]
        for part, value in sitting["seconds"].items():
            seconds[part] += float(value)
    return RunReport(
        plan,
        lines,
        best,
        None if best is None or record.best is None else parse(record.best, filename="best.py"),
        steps,
        refusals(lines, rejected if isinstance(rejected, list) else ()),
        seconds if timed else {},
        min(timed, len(lines)),
        result.get("interrupted") is False,
        _hidden(result),
    )


def _best(record: Record) -> int | None:
    """The evaluation that the result names; of a run that has none yet, the fastest right one."""
    lines = record.lines
    if record.result is not None:
        best = record.result["best"]
        if best is None:
            return None
        index = best.get("index")
        if type(index) is not int or not 0 <= index < len(lines):
            raise RunError(f"{record.path}: the result names evaluation {index!r:.60}, not there")
        return index
    accepted = [line for line in lines if line["accepted"] and None not in line["cycles"].values()]
    # By the product of the cycles, as sessions order kernels: no rounding decides.
    accepted.sort(key=lambda line: (math.prod(line["cycles"].values()), line["index"]))
    return accepted[0]["index"] if accepted else None


def _hidden(result: dict[str, Any]) -> float | None:
    hidden = result.get("hidden")
    found = hidden.get("speedup") if isinstance(hidden, dict) else None
    return found if isinstance(found, float) else None
