"""The end of a run: the fastest kernel is judged by every gate and on hidden cases; the outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m890sim.agents.chain import CHAIN, hidden_seed
from m890sim.agents.plan import Plan, named
from m890sim.judge import Evaluation, Judgement, judge_kernel
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.messages import shown
from m890sim.session import LogEntry

# Fastest kernels that the final judgement may refuse before it turns to the start kernel. An agent
# that has found a trick uses it in all that follows, and each judgement takes seconds.
MOST_REJECTED = 20
FINAL_ROWS = 64  # of every distribution and case that the final judgement looks at


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    plan: Plan
    path: Path
    interrupted: bool
    log: tuple[LogEntry, ...]
    head: str  # the chain's value after the log
    best: LogEntry | None  # None: no kernel was right
    kernel: Kernel | None
    judgement: Judgement | None  # the final one; None where there is none
    rejected: tuple[tuple[int, str], ...]  # evaluations that the final judgement refused, and why

    @property
    def evaluation(self) -> Evaluation | None:
        """The final judgement's public cases."""
        return None if self.judgement is None else self.judgement.evaluation

    @property
    def speedup(self) -> float:
        """Of the best kernel; 1.0, the reference's own, where there is none."""
        return 1.0 if self.best is None else self.best.speedup

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: what result.json says."""
        plan, best, judged = self.plan, self.best, self.judgement
        final = {} if judged is None else judged.as_dict()
        return {
            "task": plan.task.name,
            "chip": plan.chip.name,
            "agent": plan.agent,
            "seed": plan.seed,
            "evaluations": plan.evaluations,
            "spent": len(self.log),
            "failed": sum(entry.failed for entry in self.log),
            "interrupted": self.interrupted,
            "speedup": self.speedup,
            "reference": plan.manifest()["reference"],
            "start": named(plan.start),
            CHAIN: self.head,
            "best": None
            if best is None
            else {
                "index": best.index,
                "digest": best.digest,
                "edits": len(best.edits),
                "cycles": best.cycles,
            },
            "rejected": [{"index": index, "message": why} for index, why in self.rejected],
            "evaluation": None if judged is None else judged.evaluation.as_dict(),
            "gates": final.get("gates"),
            "hidden": final.get("hidden"),
            "coverage": final.get("coverage"),
        }


def finish(
    plan: Plan,
    path: Path,
    log: Sequence[LogEntry],
    best: LogEntry | None,
    kernel_of: Callable[[LogEntry], Kernel],
    head: str,
    interrupted: bool,
) -> RunOutcome:
    """Judge the best kernel by every gate; where it is wrong, the next fastest, the start last.

    A kernel that has no room on a hidden case keeps its place: the hidden score counts 1.0 there.
    The seed of inputs and hidden cases follows from the log and the kernel, which are fixed.
    """
    rejected: list[tuple[int, str]] = []
    for entry in ranked(log, best):
        kernel, judgement = kernel_of(entry), None
        if not interrupted:
            judgement = judge_kernel(
                kernel,
                plan.task,
                plan.chip,
                hidden=plan.hidden,
                seed=hidden_seed(head, entry.digest),
                cases=plan.cases,
                rows=FINAL_ROWS,
                thorough=False,
            )
            if judgement.refuted:
                rejected.append((entry.index, reason_of(judgement)))
                continue
        return RunOutcome(
            plan, path, interrupted, tuple(log), head, entry, kernel, judgement, tuple(rejected)
        )
    return RunOutcome(plan, path, interrupted, tuple(log), head, None, None, None, tuple(rejected))


def reason_of(judgement: Judgement) -> str:
    """Why a kernel is refused: what the first gate that it failed says."""
    failed = [gate for gate in judgement.gates if not gate.passed]
    first = next((gate for gate in failed if gate.gate != "hidden"), failed[0])
    return f"{first.gate}: {first.reason}"


def ranked(log: Sequence[LogEntry], best: LogEntry | None) -> list[LogEntry]:
    """Evaluations that may be the best, from the fastest on; the start kernel's at the end."""
    if best is None:
        return []
    timed = [entry for entry in log if not entry.failed and entry.profile is None]
    others = [entry for entry in timed if entry.index != best.index]
    others.sort(key=lambda entry: (entry.outcome.product or 0, entry.index))
    order = [best, *others]
    last = [entry for entry in order[MOST_REJECTED:] if entry.index == 0]
    return order[:MOST_REJECTED] + last


def best_text(plan: Plan, entry: LogEntry, kernel: Kernel) -> str:
    """What best.py holds for an evaluation."""
    header = (
        f"# {shown(plan.task.name)} on {shown(plan.chip.name, 100)}: {entry.speedup:.4f}x over "
        f"{plan.task.reference_name}, in cycles of the simulator.",
        f"# Evaluation {entry.index} of agent {shown(plan.agent, 200)} with "
        f"seed {plan.seed}: {len(entry.edits)} edits of {shown(plan.start.name, 100)}.",
    )
    return print_kernel(dataclasses.replace(kernel, header=header, doc="", footer=()))
