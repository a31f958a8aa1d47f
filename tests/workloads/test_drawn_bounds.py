"""Lower bounds hold on drawn chips: for built-in kernels, scripts, and what agents find."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim import KernelSession
from m890sim.agents import AGENTS, run_agent
from m890sim.agents.registry import DEFAULT_AGENT
from m890sim.chip import FAMILIES, ChipSpec, draw_chip
from m890sim.errors import BindError, M890Error
from m890sim.session import run_script
from m890sim.workloads import TASKS, Case, Task, load_kernel, lower_bound_cycles, simulate
from m890sim.workloads.registry import KERNELS

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "scripts"
each_family = pytest.mark.parametrize("family", FAMILIES)


def smallest(task: Task, chip: ChipSpec) -> Case:
    """The case that the reference is done with first."""
    kernel = task.reference_on(chip)
    return min(task.cases, key=lambda case: simulate(kernel, case, chip).cycles)


def above_the_bound(session: KernelSession) -> bool:
    """Whether a session's kernel takes the lower bound or more on every case that it fits."""
    entry = session.evaluate()
    return entry.failed or all(
        found.cycles >= lower_bound_cycles(case, session.chip) > 0
        for found, case in zip(entry.cases, session.cases, strict=True)
    )


def check_built_in(chip: ChipSpec, cases: dict[str, tuple[Case, ...]]) -> None:
    """Asserts that no built-in kernel that fits takes fewer cycles than the lower bound."""
    fitting = 0
    for entry in KERNELS.values():
        kernel = load_kernel(entry.name, chip)
        for case in cases[entry.task]:
            try:
                cycles = simulate(kernel, case, chip).cycles
            except BindError:
                continue
            fitting += 1
            assert cycles >= lower_bound_cycles(case, chip), f"{entry.name}, {case.name}"
    assert fitting >= sum(map(len, cases.values()))  # the references at least


@each_family
def test_built_in_kernels_stay_above_the_lower_bound(family: str) -> None:
    chip = draw_chip(family, "test", 1)
    check_built_in(chip, {task.name: (smallest(task, chip),) for task in TASKS.values()})


@pytest.mark.long
@each_family
def test_built_in_kernels_stay_above_the_lower_bound_on_all_cases(family: str) -> None:
    for number in range(4):
        chip = draw_chip(family, "test", number)
        check_built_in(chip, {task.name: task.cases for task in TASKS.values()})


@each_family
@pytest.mark.parametrize("task", ["extend", "decode"])
def test_scripts_stay_above_the_lower_bound_as_far_as_they_fit(family: str, task: str) -> None:
    """Lines that fit nowhere on the chip are left out, the others give a kernel near the expert."""
    case = {"extend": "prefill-256", "decode": "decode-ragged"}[task]
    session = KernelSession(task, [case], draw_chip(family, "test", 0), verify="never")
    done = 0
    for line in (SCRIPTS / f"{task}.txt").read_text("utf-8").splitlines():
        before = session.position()
        try:
            run_script(session, line)
        except M890Error:
            session.go_to(before)
            continue
        assert above_the_bound(session)
        if session.log[-1].failed:
            session.go_to(before)
        else:
            done += session.position() != before
    assert done > 10 and session.best_speedup > 1.5


@each_family
def test_what_an_agent_finds_stays_above_the_lower_bound(family: str) -> None:
    for number, task in enumerate(("row_softmax", "matmul")):
        chip: ChipSpec = draw_chip(family, "test", number)
        cases = [TASKS[task].cases[0].name]
        session = KernelSession(task, cases, chip, verify="never", budget=20)
        run_agent(AGENTS[DEFAULT_AGENT], session, seed=number)
        session.load(session.best_kernel)
        assert session.best_speedup > 1 and above_the_bound(session)
