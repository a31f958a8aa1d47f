"""Hoisting: what a statement needs to leave a block that may not run."""

from __future__ import annotations

import pytest

from m890sim.kernel import print_kernel
from m890sim.language import parse
from m890sim.schedule.edit import EditError
from tests.schedule.motion_cases import body_of, edited, kernel_of


def test_guard_of_a_hoisted_instruction_is_no_deeper_than_the_language_allows() -> None:
    bound = "N"
    for number in range(30):
        bound = f"max({bound}, {number})"
    body = f"a = sram(8, 8, bf16)\nfor j in range({bound}):\n    load(a, x[i, :, :])"
    with pytest.raises(EditError, match="operators would nest deeper than 24"):
        edited(kernel_of(body), "hoist", "load")


def test_hoisted_extent_may_be_a_scalar_of_the_top() -> None:
    body = print_kernel(kernel_of("if K > 8:\n    a = sram(K, 8, bf16)\n    fill(a, 0.0)"))
    for value, legal in (("K - 8", False), ("K + 8", True)):
        top = f"    R = {value}\n    Q = R * 2\n"
        kernel = parse(
            body.replace("sram(K", "sram(Q").replace("    for i in", f"{top}    for i in")
        )
        if legal:
            assert "        a = sram(Q" in print_kernel(edited(kernel, "hoist", "a = sram"))
        else:
            with pytest.raises(EditError, match="extents of `a` would be negative"):
                edited(kernel, "hoist", "a = sram")


def test_products_that_stay_within_64_bits_are_hoisted() -> None:
    body = "k = N * 4\nfor j in range(N):\n    n = min(K, k - j * K) + N * K\n    m = n * 8"
    kernel = edited(kernel_of(body.replace("j * K", "i * K")), "hoist", "n =")
    assert body_of(kernel).index("n =") < body_of(kernel).index("for j")


def test_value_of_very_many_scalars_is_not_followed() -> None:
    chain = "n0 = N\n" + "".join(f"n{k} = n{k - 1} + 1\n" for k in range(1, 80))
    with pytest.raises(EditError, match="may leave 64 bits"):
        edited(kernel_of(chain + "for j in range(N):\n    m = n79 + 1"), "hoist", "m =")
