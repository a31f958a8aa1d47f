"""The further tasks: each reference is right on public and hidden cases, and each has a bound."""

from __future__ import annotations

import pytest

import m890sim
from m890sim.chip import FAMILIES, get_chip
from m890sim.kernel import print_kernel
from m890sim.workloads import KERNELS, TASKS, lower_bound_cycles
from m890sim.workloads.more import MORE, reference_of, task_of_kernel


@pytest.mark.parametrize("name", MORE)
def test_reference_is_right_and_above_the_bound(name):
    task = m890sim.get_task(name)
    found = m890sim.judge_kernel(f"{name}_reference", name, hidden=3, seed=11, rows=40)
    assert [gate.reason for gate in found.gates if not gate.passed] == []
    for case in found.evaluation.cases:
        bound = lower_bound_cycles(task.case(case.case), "m890")
        assert bound == case.lower_bound_cycles <= case.cycles
    assert task.code == ""  # the package's version covers it
    assert task.origin == ""


@pytest.mark.parametrize("name", MORE)
def test_names_lead_to_the_task_and_its_reference(name):
    kernel = m890sim.load_kernel(f"{name}_reference")
    assert kernel == m890sim.get_task(name).reference
    assert task_of_kernel(kernel.name) == name
    assert print_kernel(kernel) == reference_of(name).read_text(encoding="utf-8")
    assert name not in TASKS
    assert kernel.name not in KERNELS


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", MORE)
def test_reference_is_right_and_above_the_bound_on_drawn_chips(name, family):
    task = m890sim.get_task(name)
    chip = get_chip(f"{family}:test:3")
    found = m890sim.evaluate(
        task.reference_on(chip), task, chip, distributions=["normal", "needle"], rows=8
    )
    assert found.correct
    for case in (*task.cases, *task.hidden_cases(4, 7)):
        cycles = m890sim.simulate(task.reference_on(chip), case, chip).cycles
        assert 0 < lower_bound_cycles(case, chip) <= cycles


@pytest.mark.long
@pytest.mark.parametrize("name", MORE)
def test_reference_is_right_on_many_hidden_cases(name):
    found = m890sim.judge_kernel(f"{name}_reference", name, hidden=200, seed=23)
    assert [gate.reason for gate in found.gates if not gate.passed] == []
