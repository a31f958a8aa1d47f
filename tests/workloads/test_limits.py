"""Limits on work reach every public way to run a kernel."""

from __future__ import annotations

import pytest

import m890sim
from m890sim.errors import LimitError
from m890sim.language import Limits

KERNEL = "vector_add_reference"
CASE = m890sim.get_task("vector_add").cases[1]
SMALL = Limits(memory_bytes=2**16)


def test_execute_takes_limits() -> None:
    kernel = m890sim.load_kernel(KERNEL)
    with pytest.raises(LimitError, match=r"limits=Limits\(memory_bytes=\.\.\.\)") as caught:
        m890sim.execute(kernel, CASE, limits=SMALL)
    assert caught.value.code == "E509"
    assert m890sim.execute(kernel, CASE, limits=Limits(memory_bytes=2**24))["z"].any()


def test_simulate_takes_limits() -> None:
    kernel = m890sim.load_kernel(KERNEL)
    with pytest.raises(LimitError, match=r"limits=Limits\(instructions=\.\.\.\)") as caught:
        m890sim.simulate(kernel, CASE, limits=Limits(instructions=10))
    assert caught.value.code == "E505"


@pytest.mark.parametrize("rows", [None, 4])
def test_evaluate_takes_limits(rows: int | None) -> None:
    given = {"cases": [CASE], "rows": rows, "distributions": ["normal"]}
    found = m890sim.evaluate(KERNEL, "vector_add", limits=SMALL, **given)
    assert not found.cases[0].correct and "E509" in found.cases[0].message
    assert m890sim.evaluate(KERNEL, "vector_add", **given).correct
