"""Sizes that are remembered for statements, against a walk over every node."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m890sim.errors import LimitError
from m890sim.kernel import ir
from m890sim.language import Limits, check_size, parse
from m890sim.language.measure import measure
from m890sim.language.sizes import measure_known
from m890sim.workloads import KERNELS, load_kernel
from tests.generators import random_program

LIMITS = st.builds(
    Limits,
    source_bytes=st.one_of(st.integers(1, 4_000), st.just(2**18)),
    nesting=st.integers(1, 6),
    nodes=st.one_of(st.integers(1, 600), st.just(10_000)),
    literal=st.sampled_from((1, 7, 64, 2**31)),
)


def found(judge: object, kernel: ir.Kernel, limits: Limits) -> str:
    try:
        judge(kernel, limits)  # type: ignore[operator]
    except LimitError as error:
        return str(error)
    return ""


@settings(max_examples=150)
@given(st.integers(0, 40), LIMITS)
def test_sizes_agree_with_a_walk_over_every_node(seed: int, limits: Limits) -> None:
    kernel = random_program(seed).kernel
    assert found(measure_known, kernel, limits) == found(measure, kernel, limits)


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_limits_of_a_kernel_are_met_exactly(name: str) -> None:
    kernel = load_kernel(name)
    for field, values in {
        "nodes": range(50, 3_000, 59),
        "nesting": range(1, 12),
        "literal": (1, 16, 17, 128, 4_096),
        "source_bytes": range(500, 9_000, 487),
    }.items():
        for value in values:
            limits = Limits(**{field: value})
            assert found(measure_known, kernel, limits) == found(measure, kernel, limits), limits


def test_a_shared_statement_counts_everywhere_it_stands() -> None:
    kernel = parse(
        "from m890sim.lang import *\n@kernel\ndef k(n: Size):\n"
        "    for i in cores(n):\n        if n:\n            fence()\n"
    )
    inner = kernel.body[0].body[0]  # type: ignore[union-attr]
    for depth in range(1, 9):
        kernel = dataclasses.replace(
            kernel, body=(dataclasses.replace(kernel.body[0], body=(inner,) * depth),)
        )
        inner = dataclasses.replace(inner, then=(inner, inner))  # type: ignore[type-var]
        for limits in (Limits(nesting=5), Limits(nodes=200), Limits(nodes=depth * 2**depth)):
            assert found(measure_known, kernel, limits) == found(measure, kernel, limits)


def test_what_only_code_can_build_is_refused() -> None:
    kernel = parse(
        "from m890sim.lang import *\n@kernel\ndef k(n: Size):\n    j = n\n"
        "    for i in cores(n):\n        fence()\n"
    )
    let: ir.Stmt = kernel.body[0]
    for _ in range(600):
        let = dataclasses.replace(let, value=let)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Let"):
        check_size(dataclasses.replace(kernel, body=(let,)))
