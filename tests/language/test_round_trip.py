"""Printing and parsing are inverse, for generated kernels and for texts written by hand."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase,given, settings

from m890sim.kernel import digest, ir, print_kernel
from m890sim.language import check, parse
from tests.language.strategies import integers, kernels

GENERATED = settings(
    max_examples=120,
    deadline=None,phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@GENERATED
@given(kernels())
def test_parse_inverts_print(kernel: ir.Kernel) -> None:
    check(kernel)
    text = print_kernel(kernel)
    actual = parse(text)
    assert actual == kernel
    assert print_kernel(actual) == text
