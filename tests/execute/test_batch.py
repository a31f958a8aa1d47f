"""Runs in batches beside runs item by item."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from m890sim.execute import batch, execute_kernel
from tests.execute.test_generated import PlainDomain, assert_same, program_of
from tests.generators import random_inputs

RUN = import_module("m890sim.execute.run")


@pytest.mark.parametrize("start", range(0, 100, 20))
def test_batches_agree_with_items_one_by_one(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = 0
    original = batch.run_batches

    for seed in range(start, start + 20):
        program = program_of(seed)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = execute_kernel(program.kernel, *launch, domain=PlainDomain(), batches=False)

        def counted(*arguments: object) -> object:
            nonlocal ran
            found = original(*arguments)  # type: ignore[arg-type]
            ran += 1
            return found

        monkeypatch.setattr(RUN, "run_batches", counted)
        actual = execute_kernel(program.kernel, *launch, domain=PlainDomain())
        assert_same(actual, expected)
        assert actual.instructions == expected.instructions
        for name, values in expected.outputs.items():
            assert values.tobytes() == actual.outputs[name].tobytes() or np.isnan(values).any()
    assert ran == 20
