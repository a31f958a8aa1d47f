"""The judge's nets, one by one: which of them catches a wrong kernel."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim import KernelSession
from m890sim.agents.plan import gate_settings
from m890sim.errors import M890Error
from m890sim.judge import evaluate
from m890sim.judge.equivalence import prove
from m890sim.judge.watch import check_maxima
from m890sim.kernel.ir import Kernel
from m890sim.workloads import DISTRIBUTIONS, Case, get_task
from tests.mutants.bases import SMALL

HIDDEN_CASES, HIDDEN_SEED = 12, 7
HIDDEN_ROWS = 64
SEED = 0

STRUCTURE, TRAINING, HIDDEN = "structure", "training gate", "hidden cases"
ALGEBRA, MAXIMA = "equivalence", "maxima"
# In the order of a table's columns; from cheap to dear but for the training gate.
NETS = (STRUCTURE, *DISTRIBUTIONS, MAXIMA, ALGEBRA, HIDDEN, TRAINING)


@dataclass(frozen=True)
class Catch:
    """A net that caught a kernel, and on which case."""

    net: str
    case: str


def numbers(kernel: Kernel, task: str, cases: tuple[Case, ...], rows: int | None) -> set[Catch]:
    """Structure and distributions that catch the kernel, on the first case where any does."""
    found: dict[str, Catch] = {}
    for case in cases:
        if found:
            break
        result = evaluate(kernel, task, cases=[case], seed=SEED, rows=rows, thorough=True).cases[0]
        nets = [STRUCTURE] if result.trap else []
        for check in result.checks:
            if check.message:
                nets.append(STRUCTURE if "not written" in check.message else check.distribution)
        for net in nets:
            found.setdefault(net, Catch(net, case.name))
    return set(found.values())


def cases_of(task: str) -> dict[str, Case]:
    """Small, public and hidden cases by name."""
    hidden = get_task(task).hidden_cases(HIDDEN_CASES, HIDDEN_SEED)
    return {case.name: case for case in (*SMALL[task], *get_task(task).cases, *hidden)}


def catches(kernel: Kernel, task: str, net: str, case: Case | None = None) -> str:
    """The name of the case on which a net catches the kernel; "" where it does not.

    case: the one to try; None for the net's own ones.
    """
    chosen = get_task(task)
    if net == TRAINING:
        session = KernelSession(
            chosen, None if case is None else (case,), verify="always", **gate_settings()
        )
        try:
            session.load(kernel)
        except M890Error:
            return chosen.cases[0].name
        entry = session.evaluate()
        return "" if entry.correct else entry.message.partition(":")[0]
    if net == HIDDEN:
        cases = chosen.hidden_cases(HIDDEN_CASES, HIDDEN_SEED) if case is None else (case,)
        for each in cases:
            if not evaluate(kernel, task, cases=[each], seed=SEED, rows=HIDDEN_ROWS).correct:
                return each.name
        return ""
    for each in SMALL[task] if case is None else (case,):
        if net == ALGEBRA:
            wrong = prove(kernel, chosen, each, seed=SEED, draws=1).answer == "different"
        elif net == MAXIMA:
            wrong = not check_maxima(kernel, chosen, each, SEED).passed
        elif net == STRUCTURE:
            wrong = any(catch.net == net for catch in numbers(kernel, task, (each,), 1))
        else:
            done = evaluate(kernel, task, cases=[each], seed=SEED, distributions=(net,))
            wrong = not done.correct
        if wrong:
            return each.name
    return ""
