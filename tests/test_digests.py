"""Digests: the same for the same, different for anything that a result hangs on."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import m890sim
from m890sim.digests import digest_of
from m890sim.workloads import TASKS


def test_chip_digest_follows_the_numbers_and_not_the_name():
    chip = m890sim.get_chip("m890")
    assert chip.replace(name="other").digest == chip.digest
    assert chip.replace(sfu_elements_per_cycle=4096).digest != chip.digest


@pytest.mark.parametrize("name", TASKS)
def test_task_digest_follows_tolerance_and_cases(name):
    task = TASKS[name]
    assert dataclasses.replace(task, tolerance=0.5).digest != task.digest
    assert dataclasses.replace(task, cases=task.cases[:1]).digest != task.digest
    assert dataclasses.replace(task).digest == task.digest


def test_case_digest_follows_the_shape():
    case = TASKS["extend"].case("prefill-2048")
    assert dataclasses.replace(case, queries=(1,)).digest != case.digest


def test_digest_is_the_same_in_another_process():
    command = "import m890sim; print(m890sim.get_task('decode').digest)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == TASKS["decode"].digest


def test_digest_refuses_what_has_an_address():
    with pytest.raises(TypeError, match="plain data, not object"):
        digest_of({"key": object()})
