"""What is measured on one chip: kernels of others, a search of its own, what each move earns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from m890sim.agents import AGENTS, run_agent
from m890sim.agents.annealing import Annealing
from m890sim.agents.plan import gate_settings
from m890sim.chip import get_chip
from m890sim.digests import digest_of
from m890sim.errors import M890Error
from m890sim.kernel import print_kernel
from m890sim.kernel.ir import Kernel
from m890sim.language import parse
from m890sim.schedule import EDITS, EditError
from m890sim.schedule.macros import MACROS, MacroActions
from m890sim.session import KernelSession, Memory, run_script
from m890sim.session.edits import context_of
from m890sim.timing import TIMING_VERSION
from m890sim.workloads import Task, get_task

from .rows import Moves, Row

ROOT = Path(__file__).resolve().parents[2]
CLIMB = 8  # actions that are made before moves are ranked again
SEED = 0


def setting_of(task: Task, evaluations: int) -> str:
    """Digest of what a row hangs on beside its chip."""
    parts = [TIMING_VERSION, task.digest, list(EDITS), len(MACROS), evaluations, Annealing.name]
    return digest_of(parts)[:12]


def measure(
    task_name: str, chip_name: str, evaluations: int, best: str = "", climbed: tuple[int, ...] = ()
) -> tuple[Row, str]:
    """The row of a chip, and the text of the best kernel found on it.

    best, climbed: of m890, its best kernel and a greedy climb's actions; nothing where the chip is
    m890.
    """
    begin = time.process_time()
    task, chip = get_task(task_name), get_chip(chip_name)
    memory = Memory()
    timing = KernelSession(task, chip=chip, verify="never", memory=memory)
    assert timing.evaluate().speedup == 1.0
    search = KernelSession(task, chip=chip, budget=evaluations, **gate_settings(), memory=memory)
    run_agent(AGENTS[Annealing.name], search, SEED)
    own = print_kernel(search.best_kernel or task.reference_on(chip))
    actions = climbed if best else climb(timing)
    row = Row(
        task=task.name,
        chip=chip.name,
        digest=chip.digest,
        setting=setting_of(task, evaluations),
        evaluations=evaluations,
        bound=bound_of(timing),
        agent=search.best_speedup,
        expert=speedup_of(timing, task.expert) if task.expert_name else None,
        script=script_speedup(timing, task),
        home=speedup_of(timing, parse(best or own)),
        climbed=() if best else actions,
        moves=moves_from(timing, ()),
        later=moves_from(timing, actions),
    )
    row.seconds = round(time.process_time() - begin, 1)
    return row, own


def speedups_of(
    task_name: str, chip_name: str, kernels: Mapping[str, str]
) -> dict[str, float | None]:
    """What kernels of other chips reach on this one, by chip; None where one does not fit."""
    session = KernelSession(task_name, chip=chip_name, verify="never")
    return {name: speedup_of(session, parse(text)) for name, text in kernels.items()}


def speedup_of(session: KernelSession, kernel: Kernel) -> float | None:
    """Over the reference, where the kernel fits the chip on every case."""
    try:
        session.load(kernel)
    except M890Error:
        return None
    entry = session.evaluate()
    return None if entry.failed else entry.speedup


def script_speedup(session: KernelSession, task: Task) -> float | None:
    """Of the task's script; None where there is none, or one of its lines fits nowhere."""
    path = ROOT / "docs" / "scripts" / f"{task.name}.txt"
    if not path.exists():
        return None
    session.load(task.start_on(session.chip))
    try:
        run_script(session, path.read_text("utf-8"))
    except M890Error:
        return None
    entry = session.evaluate()
    return None if entry.failed else entry.speedup


def bound_of(session: KernelSession) -> float:
    """Geometric mean over the cases of reference cycles over lower bound; NaN without bounds."""
    logs = [
        math.log(case["reference_cycles"] / case["lower_bound_cycles"])
        for case in session.report()["cases"]
        if case["lower_bound_cycles"]
    ]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def climb(session: KernelSession) -> tuple[int, ...]:
    """The macro actions of a greedy climb from the reference: each earns the most there is."""
    made: tuple[int, ...] = ()
    for _ in range(CLIMB):
        moves = moves_from(session, made)
        best = max(moves, key=lambda action: (moves[action], -action))
        if moves[best] <= 0:
            break
        made += (best,)
    return made


def moves_from(session: KernelSession, before: Iterable[int]) -> Moves:
    """What each legal macro action earns when some actions have been made.

    Of those, what finds nothing to do on the chip, or makes a kernel that does not fit it, is left
    out.
    """
    session.load(session.task.start_on(session.chip))
    kernel = session.kernel
    for action in before:
        try:
            session.perform(action)
        except EditError:
            continue
        if session.evaluate().failed:
            session.load(kernel)
        kernel = session.kernel
    base = session.evaluate()
    macros = MacroActions(context_of(session.task, session.chip))
    found = {}
    for action in macros.legal(kernel):
        session.load(kernel)
        session.perform(action)
        entry = session.evaluate()
        if not entry.failed:
            found[action] = round(math.log2(entry.speedup / base.speedup), 6)
    return found
