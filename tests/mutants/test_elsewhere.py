"""The model of another project's tests passes right kernels, and some wrong ones."""

from __future__ import annotations

import pytest

from m890sim.judge.mutation import OPERATORS
from tests.mutants.bases import base
from tests.mutants.elsewhere import passes


@pytest.mark.parametrize(
    "name", [pytest.param("attention_reference", marks=pytest.mark.long), "decode_reference"]
)
def test_right_kernels_pass(name):
    assert passes(base(name), "decode" if name.startswith("decode") else "extend")


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("max_missing", True), ("max_before_scale", True), ("prefix_missing", False)],
)
def test_wrong_kernels_pass_where_the_inputs_do_not_show_it(operator, expected):
    kernel = OPERATORS[operator].everywhere(base("attention_reference"))
    assert passes(kernel, "extend") is expected
