"""Which code of a kernel no judged case ran, and further hidden cases drawn to run it.

Code that stores or computes under a condition that no judged case meets is judged by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from m890sim.execute.coverage import RUNS, CoverageWalk, Goal
from m890sim.execute.lanes import Unbatched
from m890sim.judge.records import Evaluation
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel, walk
from m890sim.language import parse
from m890sim.workloads import Case, Task, launch_arguments

# Further cases that are looked at: so many for each hidden one, at least so many, and more as long
# as an instruction never ran. Only shapes and tables are made of those that run nothing new.
FURTHER = 4
LEAST_FURTHER = 48
MOST_FURTHER = 512
# Of the further cases that run no new instruction but bring a condition or a loop where it never
# was, one for so many hidden cases is judged.
HIDDEN_A_CONDITION = 4
SHOWN = 5  # goals that a message names

Judge = Callable[[tuple[Case, ...]], Evaluation]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a kernel's code ran on the judged cases.

    goals: how many there are; docs/judge.md, "What ran". never: instructions that ran on no case,
    nor on one that was drawn for them. partly: conditions, comparisons and loops that some way
    never came out. drawn: further hidden cases that were looked at. evaluation: those of them that
    run what nothing else ran, judged; None where there is none. followed: False where the walk
    could not follow the kernel.
    """

    goals: int
    never: tuple[Goal, ...]
    partly: tuple[Goal, ...]
    drawn: int = 0
    evaluation: Evaluation | None = None
    followed: bool = True

    @property
    def reason(self) -> str:
        """Why the gate is not passed; "" where it is."""
        if not self.followed:
            return "it could not be found out which code runs; use plainer indices and loops"
        wrong = (
            [case for case in self.evaluation.cases if not case.correct] if self.evaluation else []
        )
        if wrong:
            first = next((case for case in wrong if not case.unfit), wrong[0])
            return (
                f"wrong on {first.case}, which was drawn because it runs what no other case ran: "
                f"{first.message}"
            )
        if not self.never:
            return ""
        others = len(self.never) - SHOWN
        text = "; ".join(goal.said for goal in self.never[:SHOWN])
        text += f"; and {others} more" if others > 0 else ""
        return (
            f"{text}: on no public or hidden case, nor on {self.drawn} further ones; remove it, as "
            "no case of the task's generator needs it, or judge it on more cases (--hidden)"
        )

    @property
    def refuted(self) -> bool:
        """Whether an answer is wrong on a further case."""
        if self.evaluation is None:
            return False
        return any(not case.correct and not case.unfit for case in self.evaluation.cases)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "goals": self.goals,
            "never_ran": [{"line": goal.line, "text": goal.text} for goal in self.never],
            "one_sided": [goal.said for goal in self.partly],
            "drawn": self.drawn,
            "results": [] if self.evaluation is None else self.evaluation.as_dict()["cases"],
            "followed": self.followed,
        }


def cover(
    kernel: Kernel,
    task: Task,
    judged: Iterable[Case],
    hidden: int,
    seed: int,
    judge: Judge,
) -> Coverage:
    """Find what runs on no public and no judged case, and draw further hidden cases to run it.

    judged: cases beside the task's public ones. hidden: how many of the seed's were judged; cases
    from that number on are drawn, none where it is 0. judge: judges those that run something new.
    Raises: as `judge`.
    """
    known = walk_of(kernel)
    missing = set(known.goals)
    try:
        every = {case: None for case in (*task.cases, *judged)}
        for case in sorted(every, key=lambda case: case.work):
            missing -= reached(known, kernel, case, missing)
            if not missing:
                break
        drawn, chosen = 0, []
        if missing and hidden and task.hidden is not None:
            usual = min(MOST_FURTHER, max(LEAST_FURTHER, FURTHER * hidden))
            conditions = -(-hidden // HIDDEN_A_CONDITION)
            for case in task.hidden_cases(hidden + MOST_FURTHER, seed)[hidden:]:
                if not missing or (drawn >= usual and not _instructions(missing)):
                    break
                drawn += 1
                found = reached(known, kernel, case, missing)
                runs = bool(_instructions(found))
                if not found or not (runs or conditions):
                    continue
                conditions -= not runs
                missing -= found
                chosen.append(case)
    except Unbatched:
        return Coverage(len(known.goals), (), (), followed=False)
    never = _instructions(missing)
    partly = tuple(sorted(missing.difference(never)))
    evaluation = judge(tuple(chosen)) if chosen else None
    return Coverage(len(known.goals), never, partly, drawn, evaluation)


def _instructions(goals: set[Goal]) -> tuple[Goal, ...]:
    return tuple(sorted(goal for goal in goals if goal.kind == RUNS))


def walk_of(kernel: Kernel) -> CoverageWalk:
    """The kernel's walk; lines are those of its text, or of its printed form where an edit made it.

    Edits leave statements with the place of what they were made of, or with none.
    """
    places = [stmt.loc for stmt in walk(kernel.body)]
    if len(set(places)) == len(places) and all(place.line for place in places):
        return CoverageWalk(kernel)
    printed = parse(print_kernel(kernel))
    return CoverageWalk(replace(printed, filename=kernel.filename))


def reached(known: CoverageWalk, kernel: Kernel, case: Case, goals: Iterable[Goal]) -> set[Goal]:
    """Those of the goals that come about on a case. Raises: as `Walk.reached`."""
    given = {**case.tables, **case.scalars}
    symbols, tables, scalars, _ = launch_arguments(kernel, case, given)
    return known.reached(symbols, tables, scalars, set(goals))
