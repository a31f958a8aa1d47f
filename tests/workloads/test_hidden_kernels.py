"""References, experts and the kernels of the scripts are right on hidden cases too."""

from __future__ import annotations

from pathlib import Path

import pytest

from m890sim import execute, get_task, load_kernel, simulate
from m890sim.judge import row_errors
from m890sim.kernel.ir import Kernel
from m890sim.session import KernelSession, run_script
from m890sim.workloads import DISTRIBUTIONS, SUITE, TASKS, AttentionCase, get_kernel, ladder
from m890sim.workloads.case import Case
from m890sim.workloads.hidden import ELEMENTS, HEADS

SCRIPTS = Path(__file__).parents[2] / "docs" / "scripts"
REFERENCES = [task.reference_name for task in TASKS.values()]
EXPERTS = [task.expert_name for task in TASKS.values() if task.expert_name]
NAMES = [*REFERENCES, "attention_textbook", *EXPERTS]
NETS = tuple(DISTRIBUTIONS)
QUICK = 8  # hidden cases of a kernel: each group size of heads once
MANY = 80
STEPS = [entry.name for task in SUITE for entry in ladder(task)[1:-1]]


def task_of(name: str) -> str:
    """The task of a built-in kernel's name."""
    return get_kernel(name).task


def scripted(task: str) -> Kernel:
    """The kernel that the task's script of edits leaves."""
    session = KernelSession(task, verify="never")
    run_script(session, (SCRIPTS / f"{task}.txt").read_text("utf-8"))
    return session.kernel


def small(task: str, seed: int) -> list[Case]:
    """The hidden cases of the quick tests, without the large ones."""
    return [case for case in get_task(task).hidden_cases(QUICK, seed) if case.work < 2**19]


def check(kernel: Kernel, case: Case, distributions: tuple[str, ...], seed: int) -> None:
    """Fits the chip, and every row is right on each of the distributions."""
    task = get_task(case.task)
    simulate(kernel, case)
    for distribution in distributions:
        inputs = case.make_inputs(seed, distribution)
        expected = case.oracle(inputs)
        (output,) = task.outputs
        errors = row_errors(execute(kernel, case, inputs)[output], expected)
        assert errors.max() <= 0.01, f"{kernel.name}, {case.name}, {distribution}: {errors.max()}"


@pytest.mark.parametrize("name", NAMES)
def test_built_in_kernels_are_right_on_hidden_cases(name: str) -> None:
    for index, case in enumerate(small(task_of(name), 11)):
        check(load_kernel(name), case, (NETS[index % len(NETS)],), 0)


@pytest.mark.parametrize("task", ["extend", "decode"])
def test_kernels_of_the_scripts_are_right_on_hidden_cases(task: str) -> None:
    kernel = scripted(task)
    for index, case in enumerate(small(task, 12)):
        check(kernel, case, (NETS[index % len(NETS)],), 0)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_built_in_kernels_are_right_on_many_hidden_cases(name: str) -> None:
    for case in get_task(task_of(name)).hidden_cases(MANY, 13):
        check(load_kernel(name), case, NETS, 1)


@pytest.mark.long
@pytest.mark.parametrize("task", ["extend", "decode"])
def test_kernels_of_the_scripts_are_right_on_many_hidden_cases(task: str) -> None:
    kernel = scripted(task)
    for case in get_task(task).hidden_cases(MANY, 14):
        check(kernel, case, NETS, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_the_ladders_are_right_on_hidden_cases(name: str) -> None:
    for index, case in enumerate(get_task(task_of(name)).hidden_cases(48, 15)):
        check(load_kernel(name), case, (NETS[index % len(NETS)],), 1)


def shapes(task: str) -> list[Case]:
    """A small case of every pair of heads and of every width: these decide what memory is taken."""
    return [
        AttentionCase("shape", task, (150, 3), (17 if task == "extend" else 1, 1), *heads, d)
        for group in HEADS.values()
        for heads in group
        for d in ELEMENTS
    ]


@pytest.mark.parametrize("task", ["extend", "decode"])
def test_expert_and_script_fit_the_chip_with_all_heads(task: str) -> None:
    for kernel in (get_task(task).expert, scripted(task)):
        for case in shapes(task):
            simulate(kernel, case)


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
def test_steps_of_the_ladders_fit_the_chip_with_all_heads(name: str) -> None:
    for case in shapes(task_of(name)):
        simulate(load_kernel(name), case)
