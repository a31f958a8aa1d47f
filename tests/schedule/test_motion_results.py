"""Moving statements leaves results as they were: in generated kernels and in built-in ones."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from m890sim import execute, load_kernel
from m890sim.execute import run_kernel
from m890sim.kernel import ir, print_kernel
from m890sim.language import check, parse
from m890sim.schedule.core.tree import sites
from m890sim.schedule.edit import DEFAULT_CONTEXT, Argument, Context, EditError, Site
from m890sim.workloads import KERNELS, LEVELS
from tests.execute.pipelined import assert_same_dataflow
from tests.execute.test_generated import PlainDomain
from tests.generators import random_inputs, random_program
from tests.schedule.motion_cases import SPECS, TINY


def legal(kernel: ir.Kernel, context: Context, rng: random.Random, most: int) -> list:
    """(name, site, argument, changed kernel): at most so many legal edits of each kind."""
    found = []
    for name, spec in SPECS.items():
        places: list[tuple[Site, Argument]] = [
            (site, argument)
            for site, stmt in sites(kernel)
            for argument in spec.arguments(kernel, site, stmt, context)
        ]
        rng.shuffle(places)
        left = most
        for site, argument in places:
            try:
                changed = spec.rewrite(kernel, site, argument, context)
            except EditError:
                continue
            found.append((name, site, argument, changed))
            left -= 1
            if not left:
                break
    return found


STAGE_EDITS = ("pipeline", "stage_later", "stage_earlier", "hoist", "sink")


@pytest.mark.parametrize("start", range(0, 12, 4))
def test_edits_of_generated_kernels_keep_results(start: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(start, start + 4):
        program = random_program(seed)
        context = Context(queues=program.chip.dma_queues)
        launch = (program.symbols, program.tables, program.scalars, random_inputs(program))
        expected = run_kernel(program.kernel, *launch, domain=PlainDomain())
        for name, site, argument, changed in legal(program.kernel, context, random.Random(seed), 2):
            counts[name] += 1
            message = f"{name}{site} {argument}\n{program.describe()}"
            check(changed)
            assert parse(print_kernel(changed)) == changed, message
            actual = run_kernel(changed, *launch, domain=PlainDomain())
            assert actual.keys() == expected.keys()
            for output, values in expected.items():
                np.testing.assert_array_equal(actual[output], values, message)
            if name in STAGE_EDITS and counts[name] % 3 == 0:
                assert_same_dataflow((changed, *launch), message)
    assert len(counts) >= 6


@pytest.mark.parametrize(
    "name", [*list(KERNELS)[::6], *(task.reference_name for task in LEVELS.values())]
)
def test_edits_of_built_in_kernels_keep_results(name: str) -> None:
    case = TINY[KERNELS[name].task]
    kernel = load_kernel(name)
    expected = execute(kernel, case)
    for edit, site, argument, changed in legal(kernel, DEFAULT_CONTEXT, random.Random(1), 1):
        check(changed)
        assert parse(print_kernel(changed)) == changed
        for output, values in execute(changed, case).items():
            message = f"{edit}{site} {argument}"
            np.testing.assert_array_equal(values, expected[output], message)
