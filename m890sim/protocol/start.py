"""What a session is about, from names: its plan, and the unfamiliar chip that is the default."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m890sim.agents.plan import Plan, hidden_of
from m890sim.agents.terms import Terms
from m890sim.chip import FAMILIES, ChipSpec, draw_chip
from m890sim.judge.arguments import cases_of
from m890sim.kernel.ir import Kernel
from m890sim.session.arguments import chip_of, integer_of, kernel_of, task_of
from m890sim.workloads import Case, Task

EVALUATIONS = 432  # those of the published run, as Terms.calls are its calls of tools
MOST_NUMBER = 1_000_000


def unfamiliar_chip(seed: int) -> ChipSpec:
    """A chip that nothing was trained on: of the `test` splits of all families, in turn.

    Raises: TypeError, ValueError for what is no integer from 0 on.
    """
    number = integer_of("seed", seed, 0) % MOST_NUMBER
    names = [family.name for family in FAMILIES.values() if "test" in family.splits]
    return draw_chip(names[number % len(names)], "test", number // len(names))


def session_plan(
    task: Task | str,
    chip: ChipSpec | str | None = None,
    *,
    agent: str = "source",
    seed: int = 0,
    evaluations: int = EVALUATIONS,
    terms: Terms | None = None,
    cases: Iterable[Case | str] | None = None,
    start: Kernel | str | Path | None = None,
    hidden: int | None = None,
) -> Plan:
    """The plan of a session. chip: None for `unfamiliar_chip(seed)`.

    cases: the public ones, all where None. start: evaluation 0, the task's reference where None.
    hidden: cases of the final judgement; None for as many as a run of `m890 optimize` has.
    Raises: TaskError, ChipError, LanguageError, RunError, TypeError, ValueError.
    """
    found = task_of(task)
    spec = unfamiliar_chip(seed) if chip is None else chip_of(chip)
    return Plan(
        found,
        cases_of(found, cases),
        spec,
        agent,
        seed,
        evaluations,
        kernel_of(found.start_on(spec) if start is None else start, spec),
        hidden_of(found) if hidden is None else hidden,
        terms or Terms(),
    )
